"""From finished trainings to a conclusion. Pure: nothing is trained, stored or printed here."""

import math
import statistics
from collections.abc import Mapping, Sequence

from advisor.records import Finalist, SearchTrial
from advisor.refine.records import Entry

NUM_ERRORS = 2.0  # a difference below two standard errors is none
# A learning rate 1.5 times off the optimum costs 0.5 to 1.1 % (docs/methods.md): a smaller gain is no other optimum.
MIN_GAIN = 0.005
# On the digits the optimum of 40 % of the run was half that of the whole run (benchmarks/refine.py), and elsewhere
# 1.3 times it at 60 % (docs/methods.md): what is closer than this is not told apart by short trainings.
SHORT_RUN_FACTOR = 2.0
_NEAR_OCTAVES = 2.0  # where a parabola describes the loss
_DISTINCT = 2**0.25  # finalists are further apart than this: closer ones cannot be told apart


def counted(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The attempt at each slot that counts: the first that ended. No slot counts twice."""
    ended: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda one: one.number):
        if entry.slot is not None and entry.state in ("finished", "stopped_early"):
            ended.setdefault(entry.slot, entry)
    return tuple(ended.values())


def num_retried(entries: Sequence[Entry]) -> int:
    """How many attempts at a slot failed and were made again."""
    return sum(entry.slot is not None and entry.state == "failed" for entry in entries)


def trials_of(entries: Sequence[Entry]) -> tuple[SearchTrial, ...]:
    """The search as a list of learning rates and losses, the lowest learning rate first."""
    found = [
        SearchTrial(lr=entry.lr, loss=entry.loss, stopped_early=entry.state == "stopped_early")
        for entry in counted(entries)
        if entry.lr is not None
    ]
    return tuple(sorted(found, key=lambda one: one.lr))


def finalists_of(trials: Sequence[SearchTrial], start_lr: float, count: int) -> tuple[float, ...]:
    """The start, and the best learning rates of the search that are distinct from it and from each other."""
    chosen = [start_lr]
    ended = [(one.loss, one.lr) for one in trials if one.loss is not None and not one.stopped_early]
    for _, lr in sorted(ended):
        if len(chosen) <= count and all(max(lr / one, one / lr) > _DISTINCT for one in chosen):
            chosen.append(lr)
    return tuple(chosen)


def judge(losses: Mapping[float, Sequence[float | None]], start_lr: float) -> tuple[Finalist, ...]:
    """Every finalist beside the start: gain in mean loss, paired by seed, with two standard errors.

    The error of a paired difference is pooled over all finalists: what remains of log loss after the effects of
    learning rate and seed, ``s^2`` with ``(k - 1)(n - 1)`` degrees of freedom; a difference of two means over n
    seeds has the variance ``2 s^2 / n`` (two-way layout without replication).
    """
    error = _standard_error(losses)
    start = losses[start_lr]
    return tuple(_finalist(lr, losses[lr], start, error, is_start=lr == start_lr) for lr in losses)


def _finalist(
    lr: float, own: Sequence[float | None], start: Sequence[float | None], error: float | None, *, is_start: bool
) -> Finalist:
    pairs = [math.log(x / y) for x, y in zip(own, start, strict=True) if x is not None and y is not None]
    if is_start or error is None or len(pairs) < len(start):
        return Finalist(lr=lr, losses=tuple(own), gain=None, gain_low=None, gain_high=None)
    mean = statistics.fmean(pairs)
    return Finalist(
        lr=lr,
        losses=tuple(own),
        gain=-math.expm1(mean),
        gain_low=-math.expm1(mean + NUM_ERRORS * error),
        gain_high=-math.expm1(mean - NUM_ERRORS * error),
    )


def _standard_error(losses: Mapping[float, Sequence[float | None]]) -> float | None:
    """Of the difference of two mean log losses; ``None`` if too few trainings ended."""
    rows = [[math.log(x) for x in row if x is not None] for row in losses.values() if None not in row]
    if len(rows) < 2 or len(rows[0]) < 2:
        return None
    num_rows, num_seeds = len(rows), len(rows[0])
    means = [statistics.fmean(row) for row in rows]
    seeds = [statistics.fmean(column) for column in zip(*rows, strict=True)]
    total = statistics.fmean(means)
    squares = sum(
        (value - means[i] - seeds[j] + total) ** 2 for i, row in enumerate(rows) for j, value in enumerate(row)
    )
    return math.sqrt(2 * squares / ((num_rows - 1) * (num_seeds - 1)) / num_seeds)


def least_gain(trials: Sequence[SearchTrial], proxy_frac: float) -> float:
    """The gain from which on another learning rate is believed to be better for the whole run, too.

    The optimum of a shortened training may lie off that of the run, by about a factor of 2 to either side. A start at
    the run's optimum may then seem worse by the curvature of log loss over log2 of the learning rate, times the square
    of that shift; the curvature is that of the search's own trainings.
    """
    ended = [
        (math.log2(one.lr), math.log(one.loss)) for one in trials if one.loss is not None and not one.stopped_early
    ]
    if not ended or proxy_frac >= 1:
        return MIN_GAIN
    best = min(ended, key=lambda point: point[1])
    near = [(x - best[0], y - best[1]) for x, y in ended if abs(x - best[0]) <= _NEAR_OCTAVES]
    return max(MIN_GAIN, _curvature(near) * math.log2(SHORT_RUN_FACTOR) ** 2)


def _curvature(points: Sequence[tuple[float, float]]) -> float:
    """Of the parabola through the origin that fits best: least squares of ``y = a x + c x^2``; 0 if there is none."""
    s2, s3, s4 = (sum(x**k for x, _ in points) for k in (2, 3, 4))
    xy, xxy = sum(x * y for x, y in points), sum(x * x * y for x, y in points)
    determinant = s2 * s4 - s3 * s3
    return 0.0 if determinant < 1e-9 else max(0.0, (s2 * xxy - s3 * xy) / determinant)


def winner(finalists: Sequence[Finalist], start_lr: float, min_gain: float = MIN_GAIN) -> Finalist | None:
    """The finalist with the largest gain, if even the low end of its interval is above ``min_gain``."""
    start = next(one for one in finalists if one.lr == start_lr)
    if all(loss is None for loss in start.losses):  # what was advised diverges: anything that trains is better
        ended = [one for one in finalists if None not in one.losses]
        return min(ended, key=lambda one: statistics.fmean(x for x in one.losses if x is not None), default=None)
    clear = [one for one in finalists if one.gain_low is not None and one.gain_low > min_gain]
    return max(clear, key=lambda one: one.gain or 0, default=None)
