"""The tests behind the alarms. Each gives a statistic whose chance under a healthy run is known.

Shapes: S steps, V validation tuples, K buckets of equal width in time, N items.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from advisor.records import record
from trainer.amounts import NUM_BUCKETS

_MAD_TO_SIGMA = 1.4826  # the median absolute deviation of a normal distribution, in standard deviations

Floats = NDArray[np.float64]


def bucket_of(time: NDArray[np.int64], num_times: int) -> NDArray[np.int64]:
    """Which of the eight equal shares of the noise schedule a time falls into; 0 has the least noise."""
    buckets: NDArray[np.int64] = np.clip(time * NUM_BUCKETS // num_times, 0, NUM_BUCKETS - 1)
    return buckets


def bucket_means(values: Floats, bucket: NDArray[np.int64]) -> Floats:
    """Mean of the values of each bucket; NaN where there is none: ``[K]``."""
    count = np.bincount(bucket, minlength=NUM_BUCKETS)
    total = np.bincount(bucket, weights=values, minlength=NUM_BUCKETS)
    means: Floats = np.divide(total, count, out=np.full(NUM_BUCKETS, math.nan), where=count > 0)
    return means


# ---- pairs --------------------------------------------------------------------------------------


@record
class Paired:
    """Mean difference of pairs, and how many standard errors it is away from zero."""

    mean: float
    standard_error: float
    n: int

    @property
    def z(self) -> float:
        """Student's statistic as standard deviations of a normal distribution of the same chance.

        Wallace's approximation (Ann. Math. Statist. 30, 1959); with few pairs a large t means less.
        """
        if not 0 < self.standard_error < math.inf:
            return 0.0 if self.mean == 0 or self.n < 2 else math.copysign(math.inf, self.mean)
        t, degrees = self.mean / self.standard_error, self.n - 1
        size = (8 * degrees + 1) / (8 * degrees + 3) * math.sqrt(degrees * math.log1p(t * t / degrees))
        return math.copysign(size, t)


def paired(after: Floats, before: Floats) -> Paired:
    """``after - before``, tuple by tuple: what both share, the draw of picture and noise, cancels.

    A pair that is not finite counts as no pair.
    """
    difference = after - before
    difference = difference[np.isfinite(difference)]
    n = len(difference)
    if n < 2:
        return Paired(mean=float(difference.sum()), standard_error=math.inf, n=n)
    return Paired(mean=float(difference.mean()), standard_error=float(difference.std(ddof=1) / math.sqrt(n)), n=n)


def final_error(now: Floats, before: Floats, samples: int, samples_before: int, total: int, z: float) -> float:
    """Lowest plausible error at the end of the run: the power law through the last two points, less ``z`` errors.

    Learning curves of this kind are close to power laws in samples; a curve that has not begun to bend is
    taken at its own pace. The uncertainty is that of the paired difference.
    """
    fastest = max(1e-12, float(now.mean()) - z * paired(now, before).standard_error)
    ratio = min(1.0, fastest / float(before.mean()))
    doublings = math.log(total / samples) / math.log(samples / samples_before)
    return fastest * math.pow(ratio, doublings)


# ---- series -------------------------------------------------------------------------------------


def spikes(norm_S: Floats, factor: float) -> NDArray[np.int64]:
    """Steps whose log gradient norm is above the median by ``factor`` robust standard deviations."""
    known = np.log(np.maximum(norm_S, 1e-30))
    middle = np.median(known)
    spread = _MAD_TO_SIGMA * np.median(np.abs(known - middle))
    return np.flatnonzero(known > middle + factor * spread) if spread > 0 else np.empty(0, np.int64)


@record
class Dispersion:
    """How block means vary: ``factor`` times what independent draws would give, by ``swing`` beyond that.

    ``swing`` is a standard deviation, relative to the mean.
    """

    factor: float
    swing: float
    num_blocks: int

    @property
    def chance(self) -> float:
        """Chance that independent draws vary as much."""
        return chance_of(self.factor, self.num_blocks - 3)


def overdispersion(standardised_S: Floats, variance_S: Floats, block: int) -> Dispersion | None:
    """Compare the means of blocks of steps with what draws alone would do; ``None`` for fewer than 5 blocks.

    The mean of a block of independent steps has the variance of a step divided by the block's length; the
    quotient is 1 up to chance, whatever the loss's distribution over times is. A parabola is taken out
    first, for a loss is expected to fall, and ever more slowly.

    Args:
        standardised_S: mean over the batch of each sample's loss divided by its bucket's mean.
        variance_S: variance of that mean, from the spread inside the batch.
        block: steps in a block.
    """
    num_blocks = len(standardised_S) // block
    if num_blocks < 5:
        return None
    used = standardised_S[-num_blocks * block :].reshape(num_blocks, block)
    means, place = used.mean(axis=1), np.arange(num_blocks)
    residual = means - np.polyval(np.polyfit(place, means, 2), place)
    expected = float(variance_S[-num_blocks * block :].mean()) / block
    factor = float(residual @ residual / (num_blocks - 3) / expected)
    swing = math.sqrt(max(0.0, factor - 1) * expected) / float(means.mean())
    return Dispersion(factor=factor, swing=swing, num_blocks=num_blocks)


def chance_of(factor: float, degrees: int) -> float:
    """Chance that a variance comes out ``factor`` times too large: chi square, by Wilson and Hilferty's cube root."""
    if degrees < 1 or factor <= 0:
        return 1.0
    spread = 2 / (9 * degrees)
    return 0.5 * math.erfc((factor ** (1 / 3) - (1 - spread)) / math.sqrt(2 * spread))


def trend(values: Sequence[float]) -> tuple[float, float]:
    """Median slope per place (Theil and Sen), and Mann and Kendall's statistic of whether there is one."""
    series = np.asarray(values, dtype=float)
    n = len(series)
    first, second = np.triu_indices(n, 1)
    differences = series[second] - series[first]
    slope = float(np.median(differences / (second - first)))
    score = float(np.sign(differences).sum())
    deviation = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    return slope, score / deviation


# ---- labels and order ---------------------------------------------------------------------------


def between_classes(x_Nd: Floats, label_N: NDArray[np.int64]) -> float:
    """Variance between the class means over that inside classes: 1 where labels are unrelated to the items.

    The multivariate F of Anderson's permutation test (Austral Ecology 26, 2001), with Euclidean distance.
    """
    classes, member_N, count_C = np.unique(label_N, return_inverse=True, return_counts=True)
    total_Cd = np.zeros((len(classes), x_Nd.shape[1]))
    np.add.at(total_Cd, member_N, x_Nd)
    centred_Cd = total_Cd / count_C[:, None] - x_Nd.mean(axis=0)
    between = float(count_C @ np.square(centred_Cd).sum(axis=1))
    within = float(np.square(x_Nd - x_Nd.mean(axis=0)).sum()) - between
    return (between / (len(classes) - 1)) / max(within / (len(x_Nd) - len(classes)), 1e-30)


def rank_correlation(place_a_N: NDArray[np.int64], place_b_N: NDArray[np.int64]) -> float:
    """Spearman's correlation of two orders of the same items, in standard deviations of two random orders."""
    n = len(place_a_N)
    return float(np.corrcoef(place_a_N, place_b_N)[0, 1] * math.sqrt(n - 1))
