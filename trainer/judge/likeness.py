"""How near a set of generated pictures is to the real ones: KID, precision, recall, coverage, diversity.

Shapes: N generated, T training, V held-out pictures, D features.
"""

import numpy as np
from numpy.typing import NDArray

from advisor.evaluation import Compared, Likeness
from advisor.records import Claim
from trainer.judge.intervals import half_of, half_samples, share, with_halves
from trainer.judge.spaces import Features

NUM_NEIGHBOURS = 5
MIN_ITEMS = 20  # fewer make no distribution to compare with
MAX_ITEMS = 1500  # a kernel matrix of so many pictures fits anywhere
_UNKNOWN = Claim(value=None, basis="measured", source="too few held-out items")


def kernel(a_ND: Features, b_ND: Features) -> NDArray[np.float64]:
    """The cubic polynomial kernel of Binkowski et al., arXiv 1801.01401: ``(a . b / D + 1)^3``."""
    product: NDArray[np.float64] = (a_ND @ b_ND.T / a_ND.shape[1] + 1) ** 3
    return product


class KernelDistance:
    """Kernel distance (KID) between two sets, unbiased: it is around 0, and may be below, for equal ones."""

    def __init__(self, a_ND: Features, b_ND: Features) -> None:
        self._aa, self._bb, self._ab = kernel(a_ND, a_ND), kernel(b_ND, b_ND), kernel(a_ND, b_ND)

    def claim(self, seed: int = 0) -> Claim:
        """The distance with its interval."""
        return with_halves(self.value, self.halves(seed), min(self._ab.shape))

    @property
    def value(self) -> float:
        """The distance between all of both sets."""
        num_a, num_b = self._ab.shape
        return self._among(np.ones(num_a, dtype=bool), np.ones(num_b, dtype=bool))

    def halves(self, seed: int) -> NDArray[np.float64]:
        """The distance between halves of both sets; the same halves for sets of the same sizes."""
        num_a, num_b = self._ab.shape

        def of_half(random: np.random.Generator) -> float:
            return self._among(_as_mask(half_of(num_a, random), num_a), _as_mask(half_of(num_b, random), num_b))

        return half_samples(of_half, seed=seed)

    def _among(self, a_N: NDArray[np.bool_], b_N: NDArray[np.bool_]) -> float:
        num_a, num_b = int(a_N.sum()), int(b_N.sum())
        a_weight, b_weight = a_N.astype(float), b_N.astype(float)
        within_a = (a_weight @ self._aa @ a_weight - np.diag(self._aa) @ a_weight) / (num_a * (num_a - 1))
        within_b = (b_weight @ self._bb @ b_weight - np.diag(self._bb) @ b_weight) / (num_b * (num_b - 1))
        return float(within_a + within_b - 2 * (a_weight @ self._ab @ b_weight) / (num_a * num_b))


def _as_mask(numbers: NDArray[np.int64], total: int) -> NDArray[np.bool_]:
    mask = np.zeros(total, dtype=bool)
    mask[numbers] = True
    return mask


class Neighbourhoods:
    """Balls around each picture of a set that reach to its fifth nearest neighbour in the set.

    Kynkaanniemi et al., arXiv 1904.06991 (precision, recall); Naeem et al., arXiv 2002.09797 (coverage).
    """

    def __init__(self, centre_ND: Features) -> None:
        from sklearn.neighbors import NearestNeighbors  # scikit-learn takes a second to import

        count = min(NUM_NEIGHBOURS + 1, len(centre_ND))  # a picture is its own nearest neighbour
        self._centre_ND = centre_ND
        search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(centre_ND)
        self._radius_N = search.kneighbors(centre_ND)[0][:, -1]

    def _is_inside(self, x_ND: Features) -> NDArray[np.bool_]:
        from sklearn.metrics import pairwise_distances

        inside: NDArray[np.bool_] = pairwise_distances(x_ND, self._centre_ND) <= self._radius_N
        return inside

    def holds(self, x_ND: Features) -> NDArray[np.bool_]:
        """Which of the pictures lie in any of the balls."""
        found: NDArray[np.bool_] = np.any(self._is_inside(x_ND), axis=1)
        return found

    def is_reached(self, x_ND: Features) -> NDArray[np.bool_]:
        """Which of the balls hold any of the pictures."""
        found: NDArray[np.bool_] = np.any(self._is_inside(x_ND), axis=0)
        return found


class LikenessCheck:
    """Compares generated pictures with training and held-out ones, in one space of features."""

    def __init__(
        self,
        train: tuple[Features, NDArray[np.int64]],
        held_out_VD: Features,
        classes: tuple[str, ...],
        features: str,
    ) -> None:
        random = np.random.Generator(np.random.PCG64(0))
        chosen = random.permutation(len(train[0]))[:MAX_ITEMS]
        self._train_TD, self._label_T = train[0][chosen], train[1][chosen]
        self._held_out_VD = held_out_VD[random.permutation(len(held_out_VD))[:MAX_ITEMS]]
        self._classes, self._features = classes, features
        self._has_control = min(len(self._held_out_VD), len(self._train_TD)) >= MIN_ITEMS
        self._floor = KernelDistance(self._train_TD, self._held_out_VD).claim(seed=1) if self._has_control else _UNKNOWN

    def judge(self, x_ND: Features, label_N: NDArray[np.int64]) -> Likeness | None:
        """All figures; ``None`` for less than twenty pictures of either kind."""
        if min(len(x_ND), len(self._train_TD)) < MIN_ITEMS:
            return None
        kept_ND, kept_label_N = x_ND[:MAX_ITEMS], label_N[:MAX_ITEMS]
        precision, recall, coverage = self._neighbours(kept_ND)
        diversity, narrowest = self._diversity(kept_ND, kept_label_N)
        kid, halves = self._kid_held_out(kept_ND)
        return Likeness(
            features=self._features,
            kid_held_out=kid,
            kid_halves=halves,
            kid_train=KernelDistance(kept_ND, self._train_TD).claim(seed=3),
            kid_floor=self._floor,
            precision=precision,
            recall=recall,
            coverage=coverage,
            diversity=diversity,
            narrowest_class=narrowest,
        )

    def _kid_held_out(self, x_ND: Features) -> tuple[Claim, tuple[float, ...]]:
        if not self._has_control:
            return _UNKNOWN, ()
        distance = KernelDistance(x_ND, self._held_out_VD)
        halves = distance.halves(seed=2)
        claim = with_halves(distance.value, halves, min(len(x_ND), len(self._held_out_VD)))
        return claim, tuple(round(half, 6) for half in halves.tolist())

    def _neighbours(self, x_ND: Features) -> tuple[Compared, Compared, Compared]:
        """Against held-out pictures, with as many training pictures as a control."""
        if not self._has_control:
            unknown = Compared(generated=_UNKNOWN, real=_UNKNOWN)
            return unknown, unknown, unknown
        held_out = Neighbourhoods(self._held_out_VD)
        count = min(len(x_ND), len(self._train_TD))  # recall and coverage grow with the number of pictures
        made, real = (Neighbourhoods(one[:count]) for one in (x_ND, self._train_TD))
        return (
            Compared(generated=share(held_out.holds(x_ND[:count])), real=share(held_out.holds(self._train_TD[:count]))),
            Compared(generated=share(made.holds(self._held_out_VD)), real=share(real.holds(self._held_out_VD))),
            Compared(
                generated=share(held_out.is_reached(x_ND[:count])),
                real=share(held_out.is_reached(self._train_TD[:count])),
            ),
        )

    def _diversity(self, x_ND: Features, label_N: NDArray[np.int64]) -> tuple[Claim, str | None]:
        """Mean over classes of (mean distance of two generated pictures / of two training pictures)."""
        classes = [k for k in np.unique(label_N) if min((label_N == k).sum(), (self._label_T == k).sum()) >= 4]
        if not classes:
            return Claim(value=None, basis="measured", source="fewer than four items a class"), None
        made = [_distances(x_ND[label_N == k]) for k in classes]
        real = [_mean_distance(_distances(self._train_TD[self._label_T == k])) for k in classes]
        ratios = [_mean_distance(d) / r if r else 1.0 for d, r in zip(made, real, strict=True)]

        def of_half(random: np.random.Generator) -> float:
            halves = (d[np.ix_(half, half)] for d in made for half in [half_of(len(d), random)])
            return float(np.mean([_mean_distance(d) / r if r else 1.0 for d, r in zip(halves, real, strict=True)]))

        claim = with_halves(float(np.mean(ratios)), half_samples(of_half, seed=4), len(x_ND))
        return claim, self._classes[classes[int(np.argmin(ratios))]]


def _distances(x_ND: Features) -> NDArray[np.float64]:
    from sklearn.metrics import pairwise_distances

    found: NDArray[np.float64] = pairwise_distances(x_ND)
    return found


def _mean_distance(distances: NDArray[np.float64]) -> float:
    """Of two different ones."""
    count = len(distances)
    return float(distances.sum() / (count * (count - 1)))
