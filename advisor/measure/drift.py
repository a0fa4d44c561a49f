"""Whether step times stood still while they were measured: a trend over the rounds, and rounds that resemble the last.

Both spoil intervals that take the rounds for independent draws. A trend has a cause outside of the step: a card that
gets hot, another program that began or ended.
"""

import itertools
import math
import statistics
from collections.abc import Sequence

from advisor.records import record

MIN_ROUNDS_TO_TELL = 8  # below, the interval of a trend holds nearly every slope, and hardly anything is clear
MIN_CHANGE_FRAC = 0.05  # what changes less than a setting must gain to be recommended is not worth a word
_CONFIDENCE = 0.98


@record
class Drift:
    """Change of the step time from the first round to the last, as a share, with its 98 % interval."""

    change_frac: float
    low_frac: float
    high_frac: float
    num_rounds: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out no change at all, and the change is large enough to matter."""
        return self.low_frac * self.high_frac > 0 and abs(self.change_frac) >= MIN_CHANGE_FRAC


def clear_drift(groups: Sequence[Sequence[Sequence[float]]]) -> Drift | None:
    """The largest clear drift of groups of settings that were timed in turns; ``None`` if there is none."""
    found = [drift for drift in map(drift_of, groups) if drift is not None and drift.is_clear]
    return max(found, key=lambda drift: abs(drift.change_frac), default=None)


def drift_of(durations_s: Sequence[Sequence[float]]) -> Drift | None:
    """The trend that all settings of a group share; ``None`` where there are too few rounds to tell.

    Every setting counts by its ratio to its own median, and a setting that failed on the way does not count. The
    slope is the median of all slopes between two rounds; its interval is Sen's (1968, JASA 63, eq. 2.6), with the
    variance of Kendall's S multiplied as Yue and Wang (2004, Water Resources Management 18) do for what is left of
    autocorrelation without the trend.
    """
    num_rounds = max(map(len, durations_s), default=0)
    complete = [values for values in durations_s if len(values) == num_rounds and min(values, default=0) > 0]
    if num_rounds < MIN_ROUNDS_TO_TELL or not complete:
        return None
    shared = _shared_log(complete)
    slopes = sorted(
        (later - earlier) / (j - i) for (i, earlier), (j, later) in itertools.combinations(enumerate(shared), 2)
    )
    slope = statistics.median(slopes)
    left = [value - slope * k for k, value in enumerate(shared)]
    variance = num_rounds * (num_rounds - 1) * (2 * num_rounds + 5) / 18 * variance_factor(left, min_deviations=0)
    z = statistics.NormalDist().inv_cdf((1 + _CONFIDENCE) / 2)
    rank = math.floor((len(slopes) - z * math.sqrt(variance)) / 2)
    if rank < 1:
        return None
    change, low, high = (math.expm1(x * (num_rounds - 1)) for x in (slope, slopes[rank - 1], slopes[-rank]))
    return Drift(change_frac=change, low_frac=low, high_frac=high, num_rounds=num_rounds)


def _shared_log(settings: Sequence[Sequence[float]]) -> list[float]:
    """Mean over the settings of the logarithm of each round's time over the setting's median."""
    medians = [statistics.median(values) for values in settings]
    ratios = [[math.log(value / middle) for value in row] for row, middle in zip(settings, medians, strict=True)]
    return [statistics.fmean(column) for column in zip(*ratios, strict=True)]


def variance_factor(values: Sequence[float], *, min_deviations: float = 2.0) -> float:
    """By what the variance of a mean is larger than that of independent draws: ``(1 + r) / (1 - r)``, 1 to n.

    1 unless the lag-1 autocorrelation r is ``min_deviations`` of its standard errors above zero and there are enough
    values to tell. Short series show less correlation than there is: it is a lower bound.
    """
    n = len(values)
    if n < MIN_ROUNDS_TO_TELL:
        return 1.0
    r = lag1_autocorrelation(values)
    return min(float(n), (1 + r) / (1 - r)) if r > min_deviations / math.sqrt(n) else 1.0


def lag1_autocorrelation(values: Sequence[float]) -> float:
    """How much each value resembles the one before it, -1 to 1; 0 for values that are all alike."""
    mean = statistics.fmean(values)
    apart = [value - mean for value in values]
    total = math.fsum(x * x for x in apart)
    return math.fsum(x * y for x, y in itertools.pairwise(apart)) / total if total > 0 else 0.0
