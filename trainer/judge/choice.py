"""Which checkpoint to use, and when to stop: rules over records, so that they can be checked afterwards.

A checkpoint is feasible if it makes no more copies than held-out pictures are, beyond what its number
of pictures can show, and if the validation loss is not rising at high noise. Among the feasible ones
the lowest KID against held-out pictures wins, or the best classifier trained on their pictures
(Ravuri & Vinyals, arXiv 1905.10887); within one standard error of it, the earliest.
"""

import itertools
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from advisor.evaluation import CheckpointEvaluation, Choice, Compared, Judgement, Rejected, Select
from advisor.records import Claim, Note
from trainer.amounts import NUM_BUCKETS
from trainer.judge.intervals import Z_95, paired_error, standard_error, wilson
from trainer.notes import note

RISE_P = 0.01
FLAT_FRAC = 0.2
FLAT_GAIN = 0.005
_MIN_BUCKET_ITEMS = 5


# ---- feasible -----------------------------------------------------------------------------------


def copies_allowance(num_generated: int, control: float = 0.0) -> float:
    """By how much the upper bound of the share of copies may lie above the share among held-out pictures.

    No copy among n pictures already has an upper bound of 1.5 % (n = 256) or 0.4 % (n = 1,000); the
    allowance is about a third more than what the control's own share would have among n, hence 2 % and
    1 % where it is 0, so that a clean checkpoint can pass.
    """
    return max(0.01, 1.35 * (wilson(round(control * num_generated), num_generated)[1] - control))


def copying(judgement: Judgement | None) -> Note | None:
    """Why these pictures are too often copies; ``None`` if they are not, or it is not known."""
    if judgement is None or judgement.copies is None:
        return None
    worst = max((judgement.copies.in_pca, judgement.copies.in_pixels), key=_excess)
    allowance = copies_allowance(judgement.num_generated, worst.real.value or 0.0)
    if _excess(worst) <= allowance:
        return None
    return note(
        "checkpoint_copies",
        share=worst.generated.value,
        high=worst.generated.high,
        control=worst.real.value or 0.0,
        allowance=allowance,
        count=judgement.num_generated,
    )


def _excess(compared: Compared) -> float:
    return (compared.generated.high or 0.0) - (compared.real.value or 0.0)


def rising(history: Sequence[CheckpointEvaluation]) -> Note | None:
    """Why the newest of these checkpoints has overfitted: a noise bucket of the upper half rose twice running."""
    losses = [np.array(one.validation_losses) for one in history[-3:]]
    if len(losses) < 3 or len({len(one) for one in losses}) != 1:
        return None
    parts = [np.array_split(one, NUM_BUCKETS)[NUM_BUCKETS // 2 :] for one in losses]
    for bucket, (first, second, third) in enumerate(zip(*parts, strict=True), start=NUM_BUCKETS // 2):
        if len(first) < _MIN_BUCKET_ITEMS:
            return None
        chances = _rise_p(first, second), _rise_p(second, third)
        if max(chances) < RISE_P:
            return note(
                "checkpoint_rising", bucket=bucket + 1, buckets=NUM_BUCKETS, p=f"{max(chances):.2g}", limit=RISE_P
            )
    return None


def _rise_p(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    from scipy.stats import ttest_rel  # comes with scikit-learn, and takes as long to import

    if np.array_equal(before, after):
        return 1.0
    return float(ttest_rel(after, before, alternative="greater").pvalue)


def rejected(checkpoints: Sequence[CheckpointEvaluation]) -> tuple[Rejected, ...]:
    """Every checkpoint that is not feasible, and why; they are in the order of training."""
    found = []
    for k, one in enumerate(checkpoints):
        reason = copying(one.plain) or rising(checkpoints[: k + 1])
        if reason is not None:
            found.append(Rejected(samples=one.samples, reason=reason))
    return tuple(found)


# ---- the best -----------------------------------------------------------------------------------


def choose(
    checkpoints: Sequence[CheckpointEvaluation], select: Select = "kid", *, kept: Collection[int] | None = None
) -> Choice | None:
    """The checkpoint to use, with the reason; ``None`` if none was evaluated.

    Args:
        checkpoints: what was found, in the order of training.
        select: the figure that decides among the feasible.
        kept: samples of those that are still there to be used; else all are.
    """
    there = [one for one in checkpoints if kept is None or one.samples in kept]
    if not there:
        return None
    refused = rejected(checkpoints)
    bad = {one.samples for one in refused}
    feasible = [one for one in there if one.samples not in bad]
    if not feasible:
        least = min(there, key=_copied)
        reason = note("choice_none_feasible", samples=least.samples, count=len(there), share=_copied(least))
        return Choice(samples=least.samples, select=select, reason=reason, rejected=refused)
    samples, reason = _best(feasible, select, len(there))
    return Choice(samples=samples, select=select, reason=reason, rejected=refused)


def _copied(checkpoint: CheckpointEvaluation) -> float:
    copies = checkpoint.plain.copies if checkpoint.plain else None
    shares = (copies.in_pca.generated.value, copies.in_pixels.generated.value) if copies else ()
    return max((one for one in shares if one is not None), default=0.0)


def _best(feasible: Sequence[CheckpointEvaluation], select: Select, total: int) -> tuple[int, Note]:
    if select == "classifier":
        chosen = _best_classifier(feasible)
        if chosen is not None:
            right = synthetic_accuracy(chosen).value
            return chosen.samples, note("choice_classifier", value=right, feasible=len(feasible), count=total)
    chosen = _lowest_kid(feasible)
    if chosen is not None:
        distance = f"{kid(chosen).value:.4f}"
        return chosen.samples, note("choice_kid", value=distance, feasible=len(feasible), count=total)
    validated = [one for one in feasible if one.validation_losses]
    if validated:
        chosen = min(validated, key=lambda one: float(np.mean(one.validation_losses)))
        return chosen.samples, note("choice_validation", feasible=len(feasible), count=total)
    return feasible[-1].samples, note("choice_last", feasible=len(feasible), count=total)


def _lowest_kid(checkpoints: Sequence[CheckpointEvaluation]) -> CheckpointEvaluation | None:
    """The earliest whose KID is within one standard error of the lowest."""
    known = [(one, one.plain) for one in checkpoints if one.plain is not None and kid(one).value is not None]
    if not known:
        return None
    best = min((plain for _, plain in known), key=lambda plain: kid_of(plain).value or 0.0)
    return next(one for one, plain in known if is_kid_near(plain, best, errors=1.0))


def is_kid_near(judgement: Judgement, best: Judgement, *, errors: float) -> bool:
    """Whether a KID is above the best one by no more than so many standard errors of their difference.

    Both are distances from the same held-out pictures, and made from the same noise where there are as
    many: the error of the difference is then taken from common halves, and is far below that of each.
    """
    first, second = judgement.likeness, best.likeness
    if first is None or second is None or first.kid_held_out.value is None or second.kid_held_out.value is None:
        return False
    difference = first.kid_held_out.value - second.kid_held_out.value
    is_paired = judgement.num_generated == best.num_generated
    error = paired_error(first.kid_halves, second.kid_halves, difference) if is_paired else None
    return difference <= errors * (standard_error(second.kid_held_out) if error is None else error)


def _best_classifier(checkpoints: Sequence[CheckpointEvaluation]) -> CheckpointEvaluation | None:
    """The earliest whose accuracy is within one standard error of the highest."""
    known = [one for one in checkpoints if synthetic_accuracy(one).value is not None]
    if not known:
        return None
    best = max((synthetic_accuracy(one) for one in known), key=lambda claim: claim.value or 0.0)
    limit = (best.value or 0.0) - standard_error(best)
    return next(one for one in known if (synthetic_accuracy(one).value or 0.0) >= limit)


_UNKNOWN = Claim(value=None, basis="measured", source="not evaluated")


def kid(checkpoint: CheckpointEvaluation) -> Claim:
    """Distance of its plain pictures from held-out ones."""
    return kid_of(checkpoint.plain) if checkpoint.plain else _UNKNOWN


def kid_of(judgement: Judgement) -> Claim:
    """Distance from held-out pictures."""
    return judgement.likeness.kid_held_out if judgement.likeness else _UNKNOWN


def synthetic_accuracy(checkpoint: CheckpointEvaluation) -> Claim:
    """Accuracy on held-out pictures of a classifier trained on its plain pictures alone."""
    accuracy = checkpoint.plain.accuracy if checkpoint.plain else None
    return accuracy.synthetic_only if accuracy else _UNKNOWN


# ---- stopping -----------------------------------------------------------------------------------


def stop_reason(checkpoints: Sequence[CheckpointEvaluation], total_samples: int) -> Note | None:
    """Why training may stop here: twice running not feasible, or nothing improved over a fifth of the run."""
    bad = {one.samples for one in rejected(checkpoints)}
    if len(checkpoints) >= 2 and all(one.samples in bad for one in checkpoints[-2:]):
        return note("stop_infeasible", before=checkpoints[-2].samples, samples=checkpoints[-1].samples)
    newest = checkpoints[-1] if checkpoints else None
    earlier = (one for one in checkpoints if newest and newest.samples - one.samples >= FLAT_FRAC * total_samples)
    before = next(itertools.chain(reversed(list(earlier)), [None]), None)
    if newest is None or before is None or not (_is_loss_flat(before, newest) and _is_kid_flat(before, newest)):
        return None
    return note("stop_flat", before=before.samples, samples=newest.samples, limit=FLAT_GAIN)


def _is_loss_flat(before: CheckpointEvaluation, after: CheckpointEvaluation) -> bool:
    """The 95 % interval of the paired relative change lies within half a percent."""
    first, second = np.array(before.validation_losses), np.array(after.validation_losses)
    if len(first) != len(second) or len(first) < 2:
        return False
    change = (second - first) / first.mean()
    margin = Z_95 * float(change.std(ddof=1)) / np.sqrt(len(change))
    return bool(abs(change.mean()) + margin <= FLAT_GAIN)


def _is_kid_flat(before: CheckpointEvaluation, after: CheckpointEvaluation) -> bool:
    first, second = before.plain, after.plain
    return first is not None and second is not None and is_kid_near(first, second, errors=Z_95)
