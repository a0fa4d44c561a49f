"""Are the classes told apart, and what are the pictures good for? A classifier judges both.

The classifier is the better of two on training pictures alone (three folds): a support vector machine,
or linear discriminants with a shrunk covariance, which see small differences in large variation.

Shapes: N generated, T training, V held-out pictures, D features.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.evaluation import ClassifierAccuracy, Compared, Confusion, Separability
from trainer.judge.intervals import paired_difference, share
from trainer.judge.spaces import Features

_FOLDS = 3
_MAX_FIT_ITEMS = 6000  # a support vector machine's time grows with the square
_MAX_CONFUSIONS = 3
SVM = "support vector machine (RBF kernel, C = 10)"
LDA = "linear discriminants (shrunk covariance)"


def make_classifier(name: str) -> Any:
    """A classifier that is not trained yet."""
    if name == SVM:
        from sklearn.svm import SVC  # scikit-learn takes a second to import, and only evaluation needs it

        return SVC(C=10)
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")


def better_classifier(train_TD: Features, label_T: NDArray[np.int64]) -> str:
    """Which of the two does better on parts of the training pictures that it did not see."""
    sizes = np.bincount(label_T)
    if sizes[sizes > 0].min() < 2 * _FOLDS:
        return SVM
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    scores = {name: cross_val_score(make_classifier(name), train_TD, label_T, cv=folds).mean() for name in (SVM, LDA)}
    return max(scores, key=scores.__getitem__)


class ClassCheck:
    """A classifier of real pictures, ready to judge generated ones."""

    def __init__(
        self,
        train: tuple[Features, NDArray[np.int64]],
        held_out: tuple[Features, NDArray[np.int64]],
        classes: tuple[str, ...],
        features: str,
    ) -> None:
        chosen = np.random.Generator(np.random.PCG64(0)).permutation(len(train[0]))[:_MAX_FIT_ITEMS]
        self._train_TD, self._label_T = train[0][chosen], train[1][chosen]
        self._held_out_VD, self._label_V = held_out
        self._classes = classes
        self._kind = better_classifier(self._train_TD, self._label_T)
        self._name = f"{self._kind} on {features}"
        self._fitted = self._fit(self._train_TD, self._label_T)
        self._real_right_V = self._right(self._fitted)

    def _fit(self, x_ND: Features, label_N: NDArray[np.int64]) -> Any:
        return make_classifier(self._kind).fit(x_ND, label_N)

    def _right(self, fitted: Any) -> NDArray[np.bool_]:
        right: NDArray[np.bool_] = fitted.predict(self._held_out_VD) == self._label_V
        return right

    def separability(self, x_ND: Features, label_N: NDArray[np.int64]) -> Separability:
        """How often the class that was asked for is recognised."""
        judged_N = self._fitted.predict(x_ND)
        return Separability(
            classifier=self._name,
            accuracy=Compared(generated=share(judged_N == label_N), real=share(self._real_right_V)),
            chance=1 / len(self._classes),
            confusions=self._confusions(label_N, judged_N),
        )

    def _confusions(self, label_N: NDArray[np.int64], judged_N: NDArray[np.int64]) -> tuple[Confusion, ...]:
        wrong = np.flatnonzero(judged_N != label_N)
        pairs, counts = np.unique(np.stack([label_N[wrong], judged_N[wrong]]), axis=1, return_counts=True)
        return tuple(
            Confusion(
                asked=self._classes[pairs[0, k]],
                judged=self._classes[pairs[1, k]],
                share_frac=float(counts[k] / (label_N == pairs[0, k]).sum()),
            )
            for k in np.argsort(-counts, kind="stable")[:_MAX_CONFUSIONS]
        )

    def accuracy(self, x_ND: Features, label_N: NDArray[np.int64]) -> ClassifierAccuracy | None:
        """Accuracies of the same classifier trained on real, on generated, and on both kinds of pictures.

        ``None`` if not every class was generated: that would not be a fair contest.
        """
        if len(np.unique(label_N)) < len(self._classes) or np.bincount(label_N).min() < 2:
            return None
        both_right_V = self._right(
            self._fit(np.concatenate([self._train_TD, x_ND]), np.concatenate([self._label_T, label_N]))
        )
        return ClassifierAccuracy(
            classifier=self._name,
            num_test_items=len(self._label_V),
            real_only=share(self._real_right_V),
            synthetic_only=share(self._right(self._fit(x_ND, label_N))),
            real_and_synthetic=share(both_right_V),
            gain=paired_difference(both_right_V, self._real_right_V),
        )
