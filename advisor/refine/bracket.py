"""Where to look before the optimum lies between two tried learning rates: a factor of 2 beyond the best.

Pure. Within the bracket the sampler takes over; outside of it, it would have to guess.
"""

import math
from collections.abc import Mapping

STEP = 2.0
_SAME = 1.05  # two learning rates closer than this are one
_MAX_AHEAD = 2  # steps beyond the best that may be under way at once, for several workers


def next_outside(tried: Mapping[float, float | None], running: "set[float]", low: float, high: float) -> float | None:
    """The learning rate to try next while the best one is the largest or smallest tried; ``None`` once it is between.

    Args:
        tried: finished learning rates with their losses (``None``: diverged).
        running: learning rates that are being tried now.
        low: no learning rate may be lower.
        high: no learning rate may be higher.
    """
    losses = {lr: math.inf if loss is None else loss for lr, loss in tried.items()}
    if not losses:
        return None
    best = min(losses, key=losses.__getitem__)
    if math.isinf(losses[best]):  # everything diverged: only a lower one can help
        return _beyond(min(losses), 1 / STEP, running, low, high)
    if not any(lr > best * _SAME for lr in losses) and (found := _beyond(best, STEP, running, low, high)):
        return found
    if not any(lr * _SAME < best for lr in losses):
        return _beyond(best, 1 / STEP, running, low, high)
    return None


def _beyond(best: float, factor: float, running: "set[float]", low: float, high: float) -> float | None:
    """The nearest step beyond the best that nobody is on."""
    for k in range(1, _MAX_AHEAD + 1):
        lr = best * factor**k
        if not low / _SAME <= lr <= high * _SAME:
            return None
        if not any(max(lr / one, one / lr) < _SAME for one in running):
            return min(max(lr, low), high)
    return None
