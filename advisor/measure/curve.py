"""Memory against the micro-batch, from what was run: a law of single allocations, set right by the measured peaks.

The peak is a maximum of straight lines over the batch, so it is convex: a line through two peaks is always too low
further up. Each allocation is a line of its own, though, so two histories of the same step give the peak at any batch
(:func:`advisor.predict.affine.fit_two`). Where the histories do not align, :func:`guarded_step` says how far
up may be gone from what is known.
"""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from advisor.measure.attempts import Attempt
from advisor.predict.affine import MIN_MICRO_BATCH, Fit, NotAffineError, fit_two
from advisor.predict.allocator import replay
from advisor.predict.trace import phase_peaks

Law = Callable[[int], int]
SECANT_SHARE = 0.8  # of the way that a straight line would allow
_SUPERLINEAR_FRAC = 0.02


class Curve(Protocol):
    """Peak bytes at any micro-batch."""

    def at(self, micro_batch: int) -> int:
        """Bytes that decide, at this micro-batch."""


class CalibratedCurve:
    """A law plus what it missed at the two largest attempts; the miss is let grow, never shrink, further up."""

    def __init__(self, law: Law, attempts: Sequence[Attempt]) -> None:
        self._law = law
        self._misses = [(batch, peak_bytes - law(batch)) for batch, peak_bytes in _peaks(attempts)]

    def at(self, micro_batch: int) -> int:
        return self._law(micro_batch) + round(self._miss_bytes(micro_batch))

    def _miss_bytes(self, micro_batch: int) -> float:
        if len(self._misses) < 2:
            return self._misses[0][1] if self._misses else 0.0
        (x0, y0), (x1, y1) = self._misses[-2:]
        if micro_batch <= x1:
            return max(y0, y1)
        return max(y0, y1) + max(0.0, (y1 - y0) / (x1 - x0)) * (micro_batch - x1)


def law_of(attempts: Sequence[Attempt], *, caches: bool) -> tuple[Law, Fit] | None:
    """What the histories of two attempts say; ``None`` if they do not align, or there are no two.

    ``caches``: the device has CUDA's caching allocator, which is replayed; else tensors are summed up.
    """
    usable = sorted(
        (one for one in attempts if one.trace is not None and one.micro_batch >= MIN_MICRO_BATCH),
        key=lambda one: (one.plan.checks, -one.micro_batch),  # probes ran the same steps, without an evaluation
    )
    smaller, larger = sorted(usable[:2], key=lambda one: one.micro_batch) if len(usable) > 1 else (None, None)
    if smaller is None or larger is None or smaller.trace is None or larger.trace is None:
        return None
    if smaller.micro_batch == larger.micro_batch:
        return None
    try:
        fit = fit_two(smaller.trace, larger.trace)
    except NotAffineError:
        return None
    phases = smaller.trace.phases

    def reserved_bytes(micro_batch: int) -> int:
        return replay(fit.events, fit.at(micro_batch), optional=fit.optional).peak_reserved_bytes

    def live_bytes(micro_batch: int) -> int:
        return max(one.peak_allocated_bytes for one in phase_peaks(fit.events, fit.at(micro_batch), phases))

    return (reserved_bytes if caches else live_bytes), fit


def guarded_step(attempts: Sequence[Attempt], budget_bytes: int) -> int:
    """Where to go from the two largest attempts (or one) whose peaks are all that is known.

    What stays from step to step (weights, optimizer state, EMA) is known. While the rest grows no faster than the
    batch, it stays within the budget up to :func:`safe_step`. Beyond, a line through two peaks is trusted for 80 % of
    its way, and never further than twice the batch. Where the rest grew faster than the batch, it is taken to grow with
    its square. Between one that fits and one that does not, the line through them is never too low.
    """
    known, kept_bytes = _peaks(attempts), _kept_bytes(attempts)
    batch, peak_bytes = known[-1]
    fitting = [one for one in known if one[1] <= budget_bytes]
    if peak_bytes > budget_bytes:
        return _on_the_chord(fitting[-1], known[len(fitting)], budget_bytes) if fitting else known[0][0] // 2
    safe = safe_step(attempts, budget_bytes)
    if len(known) < 2:
        return min(2 * batch, safe)
    before, before_bytes = known[-2]
    growth = (peak_bytes - kept_bytes) / max(1, before_bytes - kept_bytes)
    if growth > (1 + _SUPERLINEAR_FRAC) * batch / before:
        room = (budget_bytes - kept_bytes) / (peak_bytes - kept_bytes)
        return min(2 * batch, math.floor(batch * math.sqrt(room)))
    slope = (peak_bytes - before_bytes) / (batch - before)
    by_line = batch + SECANT_SHARE * (budget_bytes - peak_bytes) / slope if slope > 0 else math.inf
    return max(safe, math.floor(min(2.0 * batch, by_line)))


def safe_step(attempts: Sequence[Attempt], budget_bytes: int) -> int:
    """The largest micro-batch that surely fits if what does not stay grows no faster than the batch."""
    kept_bytes, (batch, peak_bytes) = _kept_bytes(attempts), _peaks(attempts)[-1]
    return math.floor(batch * (budget_bytes - kept_bytes) / max(1, peak_bytes - kept_bytes))


def _kept_bytes(attempts: Sequence[Attempt]) -> int:
    return min(one.kept_bytes for one in attempts)


def _peaks(attempts: Sequence[Attempt]) -> list[tuple[int, int]]:
    """Micro-batches and their peaks, in order; the higher one where a micro-batch was run twice."""
    peaks: dict[int, int] = {}
    for one in attempts:
        if one.peak_bytes is not None:
            peaks[one.micro_batch] = max(one.peak_bytes, peaks.get(one.micro_batch, 0))
    return sorted(peaks.items())


def _on_the_chord(fitting: tuple[int, int], exceeding: tuple[int, int], budget_bytes: int) -> int:
    (low, low_bytes), (high, high_bytes) = fitting, exceeding
    return low + math.floor((high - low) * (budget_bytes - low_bytes) / (high_bytes - low_bytes))
