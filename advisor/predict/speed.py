"""Step time as ``t(b, a) = a (alpha + beta b) + gamma``, fitted to measured settings, or a reason why not.

``alpha`` is what a micro-batch costs however small it is, ``beta`` a sample, ``gamma`` an optimizer step (clipping,
optimizer, EMA). The form for one device of AdaptDL's throughput model (Pollux, arXiv 2008.12260, section 4.1).
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from advisor.records import Claim, Measurement, Speed, StepTime, record

MIN_POINTS = 4  # one more than there are coefficients, or nothing could contradict the fit
MAX_LOG_RMSE = 0.15
KNEE_FRAC = 0.95

_SOURCE = "least squares on the logarithm of the measured step times, t(b, a) = a (alpha + beta b) + gamma"
_CONFIDENCE_Z = NormalDist().inv_cdf(0.975)
_MAX_ITERATIONS = 100
_ROUNDING = 1e-9  # what is left of a zero
_MIN_SINGULAR_RATIO = 1e-6  # below, two coefficients cannot be told apart

Floats: TypeAlias = npt.NDArray[np.float64]


class NoSpeedFitError(Exception):
    """The model does not hold, or the settings that were timed cannot tell its coefficients apart."""


@record
class TimedSetting:
    """A setting and how long its optimizer step took."""

    micro_batch: int
    accumulation: int
    step_s: StepTime


@record
class SpeedFit:
    """Coefficients in seconds with 95 % intervals, and how well they explain what was timed."""

    alpha: Claim
    beta: Claim
    gamma: Claim
    log_rmse: float
    micro_batches: tuple[int, ...]
    covariance: tuple[tuple[float, ...], ...]

    def step_time(self, micro_batch: int, accumulation: int) -> Claim:
        """Seconds of an optimizer step at any setting; the interval widens away from what was timed."""
        row = _design([micro_batch], [accumulation])[0]
        value = float(row @ self._coefficients)
        log_error = math.sqrt(max(0.0, float(row @ np.array(self.covariance) @ row))) / value
        spread = math.exp(_CONFIDENCE_Z * max(log_error, self.log_rmse))
        return Claim(value=value, low=value / spread, high=value * spread, basis="predicted", source=_SOURCE)

    def knee(self) -> int | None:
        """The smallest micro-batch with 95 % of the throughput of the largest that was timed.

        ``b / (alpha + beta b)`` rises with ``b`` for ever, so what is reachable ends where measuring did.
        ``None`` if a micro-batch takes no time that could be seen.
        """
        alpha, beta, gamma = (float(x) for x in self._coefficients)
        smallest, largest = min(self.micro_batches), max(self.micro_batches)
        if alpha + beta <= _ROUNDING * gamma:
            return None
        exact = KNEE_FRAC * alpha * largest / (alpha + (1 - KNEE_FRAC) * beta * largest)
        return min(largest, max(smallest, math.ceil(exact * (1 - 1e-9))))

    def summary(self) -> Speed:
        """The fit as an advice holds it."""
        alpha, beta, gamma = (float(x) for x in self._coefficients)
        return Speed(
            alpha_s=alpha,
            beta_s=beta,
            gamma_s=gamma,
            log_rmse=self.log_rmse,
            knee_micro_batch=self.knee(),
            alpha_interval_s=_interval(self.alpha),
            beta_interval_s=_interval(self.beta),
            gamma_interval_s=_interval(self.gamma),
        )

    @property
    def _coefficients(self) -> Floats:
        return np.array([self.alpha.value, self.beta.value, self.gamma.value], dtype=np.float64)


def fit_measurements(measurements: Sequence[Measurement]) -> SpeedFit:
    """The fit to all settings that were timed.

    Raises:
        NoSpeedFitError: saying why there is none.
    """
    return fit_speed(
        [
            TimedSetting(micro_batch=one.micro_batch, accumulation=one.accumulation, step_s=one.step_s)
            for one in measurements
            if one.outcome == "ok" and one.step_s is not None
        ]
    )


def fit_speed(timed: Sequence[TimedSetting]) -> SpeedFit:
    """Coefficients that are not negative, by least squares on ``log t``.

    Raises:
        NoSpeedFitError: if fewer than 4 different settings were timed, if they cannot tell the coefficients
            apart (all with the same accumulation, for instance), or if the fit misses by more than 0.15.
    """
    layouts = {(one.micro_batch, one.accumulation) for one in timed}
    if len(layouts) < MIN_POINTS:
        raise NoSpeedFitError(f"{len(layouts)} different settings were timed; {MIN_POINTS} are needed")
    times_s = np.array([one.step_s.median for one in timed])
    if not np.all((times_s > 0) & np.isfinite(times_s)):
        raise NoSpeedFitError("a step took no time that could be measured")
    design = _design([one.micro_batch for one in timed], [one.accumulation for one in timed])
    _require_separable(design / times_s[:, None])
    unit_s = float(np.exp(np.log(times_s).mean()))  # coefficients near 1, whatever the unit of time
    coefficients = _minimize(design, times_s / unit_s) * unit_s
    residuals = np.log(times_s) - np.log(design @ coefficients)
    log_rmse = float(np.sqrt(np.mean(residuals**2)))
    if log_rmse > MAX_LOG_RMSE:
        raise NoSpeedFitError(f"the model misses the measured times by {log_rmse:.2f} (log-RMSE), above {MAX_LOG_RMSE}")
    covariance = _covariance(design / (design @ coefficients)[:, None], residuals, [one.step_s for one in timed])
    alpha, beta, gamma = (
        _claim(float(value), math.sqrt(variance)) for value, variance in zip(coefficients, np.diag(covariance))
    )
    return SpeedFit(
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        log_rmse=log_rmse,
        micro_batches=tuple(sorted({one.micro_batch for one in timed})),
        covariance=tuple(tuple(float(x) for x in row) for row in covariance),
    )


def fit_predictions(times: Mapping[tuple[int, int], Claim]) -> Speed:
    """The fit to predicted step times of settings (micro-batch, accumulation).

    What such a prediction gets wrong (the host, a kind of operator) it gets wrong at all settings together. So the
    intervals hold those of three fits: to the values, to all lower and to all upper bounds.

    Raises:
        NoSpeedFitError: if the model does not hold for one of them.
    """
    nominal = _fit_exact({layout: claim.value for layout, claim in times.items()})
    bounds = [
        _fit_exact({layout: getattr(claim, bound) for layout, claim in times.items()}) for bound in ("low", "high")
    ]
    fits = [nominal, *bounds]
    return dataclasses.replace(
        nominal.summary(),
        alpha_interval_s=_hull([one.alpha for one in fits]),
        beta_interval_s=_hull([one.beta for one in fits]),
        gamma_interval_s=_hull([one.gamma for one in fits]),
    )


def _fit_exact(times_s: Mapping[tuple[int, int], float | None]) -> SpeedFit:
    return fit_speed(
        [
            TimedSetting(micro_batch=b, accumulation=a, step_s=StepTime(median=time_s, low=time_s, high=time_s, n=1))
            for (b, a), time_s in times_s.items()
            if time_s is not None
        ]
    )


def _hull(claims: Sequence[Claim]) -> tuple[float, float]:
    return min(float(one.low or 0) for one in claims), max(float(one.high or 0) for one in claims)


def _design(micro_batches: Sequence[int], accumulations: Sequence[int]) -> Floats:
    a = np.array(accumulations, dtype=np.float64)
    return np.stack([a, a * np.array(micro_batches, dtype=np.float64), np.ones_like(a)], axis=1)


def _require_separable(rows: Floats) -> None:
    singular = np.linalg.svd(rows / np.linalg.norm(rows, axis=0), compute_uv=False)
    if singular[-1] < _MIN_SINGULAR_RATIO * singular[0]:
        raise NoSpeedFitError(
            "the settings cannot tell the cost of a micro-batch from that of a step:"
            " both micro-batch and accumulation must vary"
        )


# ---- the minimum --------------------------------------------------------------------------------


def _minimize(design: Floats, times: Floats) -> Floats:
    """Gauss-Newton on the logarithm, each step a non-negative least squares problem, halved while it does not help."""
    best = _nonnegative_least_squares(design / times[:, None], np.ones_like(times))
    for _ in range(_MAX_ITERATIONS):
        fitted = design @ best
        goal = _nonnegative_least_squares(design / fitted[:, None], 1 + np.log(times / fitted))
        loss, step = _log_loss(design, best, times), 1.0
        while step > 1e-9 and _log_loss(design, best + step * (goal - best), times) > loss:
            step /= 2
        moved = best + step * (goal - best)
        if np.allclose(moved, best, rtol=1e-10, atol=0.0):
            break
        best = moved
    return best


def _log_loss(design: Floats, coefficients: Floats, times: Floats) -> float:
    fitted = design @ coefficients
    return float(np.sum(np.log(times / fitted) ** 2)) if np.all(fitted > 0) else math.inf


def _nonnegative_least_squares(rows: Floats, target: Floats) -> Floats:
    """The best of the solutions with some coefficients at zero: with three there are only seven."""
    num = rows.shape[1]
    best, best_loss = np.zeros(num), math.inf
    for kept in itertools.chain.from_iterable(itertools.combinations(range(num), size) for size in range(num, 0, -1)):
        solution = np.zeros(num)
        solution[list(kept)] = np.linalg.lstsq(rows[:, kept], target, rcond=None)[0]
        loss = float(np.sum((rows @ solution - target) ** 2))
        if solution.min() >= 0 and loss < best_loss:
            best, best_loss = solution, loss
    return best


# ---- its uncertainty ----------------------------------------------------------------------------


def _covariance(rows: Floats, residuals: Floats, times: Sequence[StepTime]) -> Floats:
    """Of the coefficients, from the intervals of the medians; enlarged where the fit misses by more than these say."""
    errors = np.array([_log_error(one) for one in times])
    num_free = len(residuals) - rows.shape[1]
    misfit = float(np.sum(residuals**2)) / num_free
    known = errors > 0
    if known.all():
        variances = errors**2 * max(1.0, float(np.sum((residuals / errors) ** 2)) / num_free)
    else:
        variances = np.maximum(errors**2, misfit)
    inverse = np.linalg.pinv(rows)
    return np.asarray((inverse * variances) @ inverse.T)


def _log_error(time: StepTime) -> float:
    """Standard error of the logarithm of a median; 0 where its interval says nothing."""
    if time.low <= 0 or time.high <= time.low or time.n < 2:
        return 0.0
    # Few repeats: the interval runs from the smallest to the largest, and is less sure than 95 %.
    z = min(_CONFIDENCE_Z, -NormalDist().inv_cdf(0.5 ** min(time.n, 100)))
    return math.log(time.high / time.low) / (2 * z)


def _claim(value: float, error: float) -> Claim:
    low, high = max(0.0, value - _CONFIDENCE_Z * error), value + _CONFIDENCE_Z * error
    return Claim(value=value, low=low, high=high, basis="predicted", source=_SOURCE)


def _interval(claim: Claim) -> tuple[float, float] | None:
    return None if claim.low is None or claim.high is None else (float(claim.low), float(claim.high))
