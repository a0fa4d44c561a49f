"""Between which bounds the validation loss of a run will be at milestones that it has not reached.

No law gives the loss of new data, but a run that has begun brackets its own end: at best the loss goes
on falling at its pace so far, a straight line in the logarithms of loss and samples; at worst it falls
no further. Both ends are widened by a moving-block bootstrap (Künsch, Annals of Statistics 17, 1989)
of what lies beside that line, for neighbouring validations are not independent. A fitted law with a
floor (Hoffmann et al., arXiv 2203.15556) was tried instead: its band was narrower and failed too often.
"""

import math
import random
from collections.abc import Sequence

from advisor.records import Claim

FAR = 2.0  # times the samples so far: beyond that nothing was checked
# What was found with the curves of tests/golden/loss_curves.json, which a test repeats: each validation within
# ``FAR`` of an earlier one, as seen from there.
NUM_CURVES, NUM_LATER, NUM_INSIDE = 6, 396, 395
_START_FRAC = 0.3  # of the samples so far: what came before was warm-up and a steeper fall
_MIN_POINTS = 6
_BLOCK, _ROUNDS, _TAIL_FRAC = 3, 200, 0.05

Curve = Sequence[tuple[int, float]]


def outlook(curve: Curve, samples: int) -> Claim | None:
    """The bounds of the loss after so many samples; ``None`` where the curve cannot tell.

    ``curve`` holds the samples seen and the loss of each validation so far, in order.
    """
    recent = [(n, loss) for n, loss in curve if n >= _START_FRAC * curve[-1][0]] if curve else []
    if len(recent) < _MIN_POINTS or not recent[-1][0] < samples <= FAR * recent[-1][0]:
        return None
    if not all(math.isfinite(loss) and loss > 0 for _, loss in recent):
        return None
    x, y = [math.log(n) for n, _ in recent], [math.log(loss) for _, loss in recent]
    if _line(x, y)[1] >= 0:  # it does not fall: there is no pace to go on at
        return None
    falling, staying = _bounds(x, y, math.log(samples))
    source = f"metrics.jsonl: {len(recent)} validations, going on at their pace or falling no further"
    return Claim(value=None, low=math.exp(falling), high=math.exp(staying), basis="predicted", source=source)


def _bounds(x: list[float], y: list[float], at: float) -> tuple[float, float]:
    """The low end of the line prolonged, and the high end of where it stands now."""
    level, slope = _line(x, y)
    fitted = [level + slope * one for one in x]
    spread = math.sqrt(len(x) / (len(x) - 2))  # two parameters were fitted: what is left is too small by it
    left = [spread * (one - expected) for one, expected in zip(y, fitted)]
    draw, ends = random.Random(0), []
    for _ in range(_ROUNDS):
        again = [expected + rest for expected, rest in zip(fitted, _blocks(left, draw))]
        level, slope = _line(x, again)
        ends.append((level + slope * at, level + slope * x[-1]))
    cut = int(_TAIL_FRAC * _ROUNDS)
    return sorted(end for end, _ in ends)[cut], sorted(now for _, now in ends)[-1 - cut]


def _blocks(left: list[float], draw: random.Random) -> list[float]:
    """As many values again, drawn in runs of neighbours; the end goes on at the beginning."""
    drawn: list[float] = []
    while len(drawn) < len(left):
        start = draw.randrange(len(left))
        drawn += [left[(start + k) % len(left)] for k in range(_BLOCK)]
    return drawn[: len(left)]


def _line(x: list[float], y: list[float]) -> tuple[float, float]:
    """Level and slope of the least-squares line."""
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    slope = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y)) / math.fsum((a - mean_x) ** 2 for a in x)
    return mean_y - slope * mean_x, slope
