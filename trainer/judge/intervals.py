"""How sure a figure is: intervals of shares, of paired differences, and by half-sampling."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from advisor.records import Claim

Z_95 = 1.959964
NUM_HALVES = 100


def wilson(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, JASA 22, 1927): right also where the count is 0 or everything."""
    share, spread = count / total, Z_95**2 / total
    centre = (share + spread / 2) / (1 + spread)
    margin = Z_95 * math.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    low = 0.0 if count == 0 else max(0.0, centre - margin)
    return low, 1.0 if count == total else min(1.0, centre + margin)


def share(hits: NDArray[np.bool_]) -> Claim:
    """The share of hits with its Wilson interval; unknown where there is nothing to count."""
    count, total = int(hits.sum()), len(hits)
    if not total:
        return Claim(value=None, basis="measured", source="nothing to count")
    low, high = wilson(count, total)
    return Claim(
        value=count / total, low=low, high=high, basis="measured", source=f"{count} of {total}, Wilson 95 % interval"
    )


def paired_difference(after: NDArray[np.bool_], before: NDArray[np.bool_]) -> Claim:
    """How much more often the same items are right, with the interval of Agresti & Min (2005).

    Half a discordant item is added to each side, so that two equal classifiers are not called equal for
    certain.
    """
    total, won, lost = len(after), int((after & ~before).sum()), int((before & ~after).sum())
    source = f"{won} items won, {lost} lost of {total}, paired 95 % interval"
    more, less, size = won + 0.5, lost + 0.5, total + 2
    centre = (more - less) / size
    margin = Z_95 * math.sqrt(more + less - (more - less) ** 2 / size) / size
    value = (won - lost) / total
    low, high = min(value, centre - margin), max(value, centre + margin)
    return Claim(value=value, low=low, high=high, basis="measured", source=source)


def half_samples(of_half: Callable[[np.random.Generator], float], *, seed: int) -> NDArray[np.float64]:
    """A figure of random halves of the items; the same seed and number of items give the same halves."""
    random = np.random.Generator(np.random.PCG64(seed))
    return np.array([of_half(random) for _ in range(NUM_HALVES)])


def with_halves(value: float, halves: NDArray[np.float64], num_items: int) -> Claim:
    """A figure with the interval that its values on random halves of the items give.

    Two halves share half of what they know: for a mean over items the spread of a half's value around
    that of all items is the standard error of the latter (balanced half-samples, McCarthy 1969).
    """
    error = float(np.sqrt(np.mean((halves - value) ** 2)))
    return Claim(
        value=value,
        low=value - Z_95 * error,
        high=value + Z_95 * error,
        basis="measured",
        source=f"{num_items} items, 95 % interval from {NUM_HALVES} half-samples",
    )


def paired_error(first: Sequence[float], second: Sequence[float], difference: float) -> float | None:
    """Standard error of the difference of two figures whose halves are of the same items; ``None`` if they are not."""
    if not first or len(first) != len(second):
        return None
    return float(np.sqrt(np.mean((np.array(first) - np.array(second) - difference) ** 2)))


def half_of(total: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of a random half of the items."""
    chosen: NDArray[np.int64] = random.permutation(total)[: total // 2]
    return chosen


def standard_error(claim: Claim) -> float:
    """Half the width of a 95 % interval, in standard errors; 0 where there is no interval."""
    if claim.low is None or claim.high is None:
        return 0.0
    return (claim.high - claim.low) / (2 * Z_95)
