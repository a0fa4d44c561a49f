"""Gradient noise scale in samples, from the squared gradient norms of many optimizer steps.

A step with n micro-batches gives ``L``, the mean of their squared gradient norms, and ``T``, the squared norm of
their mean. Without bias, ``|G|^2 = (n T - L) / (n - 1)`` and ``S = B (L - T) / (n - 1)``; the noise scale is the
ratio of their means over many steps, never the mean of ratios: McCandlish et al., arXiv 1812.06162, appendix A.1.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from advisor.records import NoiseScale, record

MIN_STEPS = 100
MAX_INTERVAL_RATIO = 10.0

_BLOCK_STEPS = 10  # neighbouring steps are alike
_NUM_RESAMPLES = 1000
_Z = NormalDist().inv_cdf(0.975)

Floats: TypeAlias = npt.NDArray[np.float64]


class NoNoiseScaleError(Exception):
    """The steps that were seen do not determine a noise scale; the message says why."""


@record
class StepMoments:
    """What one step says: unbiased estimates of ``|G|^2`` and of ``S``, the variance of one sample's gradient."""

    squared_norm: float
    sample_variance: float


def step_moments(of_micro_batches: float, of_step: float, num_micro_batches: int, micro_batch: int) -> StepMoments:
    """Unbiased estimates from the mean squared norm of the micro-batches' gradients and that of their mean."""
    n, batch = num_micro_batches, num_micro_batches * micro_batch
    return StepMoments(
        squared_norm=(n * of_step - of_micro_batches) / (n - 1),
        sample_variance=batch * (of_micro_batches - of_step) / (n - 1),
    )


def estimate_noise_scale(moments: Sequence[StepMoments], *, seed: int = 0) -> NoiseScale:
    """The ratio of the means over all steps, with a 95 % interval by a bootstrap over blocks of steps.

    Raises:
        NoNoiseScaleError: if there are fewer than 100 steps, if the gradient cannot be told from its noise, or
            if the interval spans more than a factor of ten.
    """
    num_steps = len(moments)
    if num_steps < MIN_STEPS:
        raise NoNoiseScaleError(f"{num_steps} steps were measured; {MIN_STEPS} are needed")
    squared = np.array([[one.squared_norm, one.sample_variance] for one in moments])
    norms, variances = _resampled_means(squared, seed).T
    if np.quantile(norms, 0.025) <= 0:
        raise NoNoiseScaleError("the gradient cannot be told from its noise: measure with a larger batch, or longer")
    if np.quantile(variances, 0.025) <= 0:
        raise NoNoiseScaleError("the gradients of the micro-batches do not differ: no noise was seen")
    mean_norm, mean_variance = (float(x) for x in squared.mean(axis=0))
    value = mean_variance / mean_norm
    positive = variances[norms > 0] / norms[norms > 0]
    low, high = _widened(np.quantile(positive, [0.025, 0.975]) / value, num_steps)
    if high / low > MAX_INTERVAL_RATIO:
        raise NoNoiseScaleError(
            f"the noise scale is only known to lie between {value * low:.3g} and {value * high:.3g} samples"
        )
    return NoiseScale(value=value, low=value * low, high=value * high, n=num_steps)


def _resampled_means(rows: Floats, seed: int) -> Floats:
    """Means over resampled blocks of neighbouring rows; the last row's neighbour is the first."""
    num_rows = len(rows)
    num_blocks = math.ceil(num_rows / _BLOCK_STEPS)
    starts = np.random.default_rng(seed).integers(0, num_rows, (_NUM_RESAMPLES, num_blocks))
    sums = np.cumsum(np.concatenate([np.zeros((1, rows.shape[1])), rows, rows[: _BLOCK_STEPS - 1]]), axis=0)
    return np.asarray((sums[starts + _BLOCK_STEPS] - sums[starts]).sum(axis=1) / (num_blocks * _BLOCK_STEPS))


def _widened(ratios: Floats, num_steps: int) -> tuple[float, float]:
    """The interval as few blocks deserve it: Student's quantile (Cornish-Fisher) for the normal one, on a log scale."""
    freedom = math.ceil(num_steps / _BLOCK_STEPS) - 1
    student = _Z + (_Z**3 + _Z) / (4 * freedom)
    power = student / _Z * math.sqrt((freedom + 1) / freedom)
    low, high = (float(x) for x in ratios)
    return min(1.0, low) ** power, max(1.0, high) ** power
