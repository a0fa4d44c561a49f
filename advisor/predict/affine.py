"""Every allocation of a step as a polynomial of the micro-batch, fitted from a few traces of the same step.

Peak memory against the batch is a maximum over time and therefore not a straight line, but each single
allocation of a step is: a weight does not depend on the batch, an activation is proportional to it. So the
traces are laid side by side, event by event, each size becomes ``a + b * batch`` (``+ c * batch**2`` where
something compares all samples with all), and the allocator is replayed at any batch.
"""

import dataclasses
from collections.abc import Sequence

from advisor.predict.trace import Trace
from advisor.records import record

MIN_MICRO_BATCH = 2  # at 1, sizes of one change which code runs
MAX_MISFIT_FRAC = 0.01


class NotAffineError(Exception):
    """Nothing is known beyond what was traced. ``aligned``: the step does the same at every batch, only not so much."""

    def __init__(self, message: str, *, aligned: bool) -> None:
        super().__init__(message)
        self.aligned = aligned


@record
class Fit:
    """The events of a step, and the size of each storage as a polynomial of the micro-batch.

    ``misfit_frac``: of the bytes that grow with the batch in a trace that was not used for the fit, the share by
    which the sizes of the fit differ from it.
    """

    events: tuple[int, ...]
    micro_batches: tuple[int, ...]
    sizes_bytes: tuple[tuple[int, ...], ...]
    misfit_frac: float
    optional: frozenset[int] = frozenset()

    @property
    def degree(self) -> int:
        """1 for a straight line, 2 where a quadratic term was needed."""
        return len(self.micro_batches) - 1

    def at(self, micro_batch: int) -> tuple[int, ...]:
        """Bytes of every storage at this micro-batch."""
        weights = lagrange_weights(self.micro_batches, micro_batch)
        columns = zip(*self.sizes_bytes)
        return tuple(
            sizes[0]
            if sizes.count(sizes[0]) == len(sizes)
            else max(0, round(sum(weight * size for weight, size in zip(weights, sizes))))
            for sizes in columns
        )


def fit(traces: Sequence[Trace]) -> Fit:
    """The simplest law that explains traces of one step at three or more micro-batches.

    A straight line that is exact is taken at once. One that is not may be a rounding, or a square that is
    still small and dominates far away: only a fourth trace tells, by whether a quadratic term explains it.

    Raises:
        NotAffineError: if the traces do not align, a fourth is needed, or no polynomial up to degree 2 fits.
    """
    ordered = sorted(traces, key=lambda trace: trace.micro_batch)
    if len(traces) < 3:
        raise ValueError("two traces to fit and one to check are needed")
    _require_aligned(ordered)
    line = _fit(ordered, 1)
    if line.misfit_frac == 0:
        return line
    if len(ordered) > 3:
        curve = _fit(ordered, 2)
        if curve.misfit_frac <= min(MAX_MISFIT_FRAC, line.misfit_frac / 10):
            return curve
        if line.misfit_frac <= MAX_MISFIT_FRAC:
            return line
    raise NotAffineError(
        f"the memory of the step is neither affine nor quadratic in the batch: {100 * line.misfit_frac:.1f} % of the"
        f" bytes that grow with it are not where micro-batches {ordered[0].micro_batch} and"
        f" {ordered[-1].micro_batch} put them",
        aligned=True,
    )


def fit_two(smaller: Trace, larger: Trace) -> Fit:
    """The law that two traces leave open: straight lines, but never one that would take less than nothing at 0.

    A storage that more than doubles with the batch is no line from a constant: it becomes ``b * batch + c * batch**2``,
    which is what compares all samples with all. Nothing checks the result but a run at another batch.

    Raises:
        NotAffineError: if the traces do not align.
    """
    _require_aligned([smaller, larger])
    ratio = larger.micro_batch / smaller.micro_batch
    at_zero = (max(0.0, (ratio * a - b) / (ratio - 1)) for a, b in zip(smaller.sizes_bytes, larger.sizes_bytes))
    return Fit(
        events=smaller.events,
        micro_batches=(0, smaller.micro_batch, larger.micro_batch),
        sizes_bytes=(tuple(round(size) for size in at_zero), smaller.sizes_bytes, larger.sizes_bytes),
        misfit_frac=0.0,
        optional=frozenset(smaller.optional),
    )


def _require_aligned(traces: Sequence[Trace]) -> None:
    if traces[0].micro_batch < MIN_MICRO_BATCH:
        raise ValueError(f"a trace at micro-batch {traces[0].micro_batch} says nothing about larger ones")
    first = traces[0]
    for other in traces[1:]:
        if other.events != first.events:
            raise NotAffineError(_difference(first, other), aligned=False)


def _difference(one: Trace, other: Trace) -> str:
    place = next((k for k, (a, b) in enumerate(zip(one.events, other.events)) if a != b), len(one.events))
    phase = other.phase_at(min(place, len(other.events) - 1))
    return (
        f"the step does not do the same at micro-batch {one.micro_batch} ({len(one.events)} allocations and frees)"
        f" and {other.micro_batch} ({len(other.events)}): they part in the phase {phase!r}"
    )


def _fit(traces: Sequence[Trace], degree: int) -> Fit:
    """Through the outermost traces; the others judge it."""
    used = (traces[0], traces[-1]) if degree == 1 else (traces[0], traces[len(traces) // 2], traces[-1])
    found = Fit(
        events=traces[0].events,
        micro_batches=tuple(trace.micro_batch for trace in used),
        sizes_bytes=tuple(trace.sizes_bytes for trace in used),
        misfit_frac=0.0,
        optional=frozenset(traces[0].optional),
    )
    judges = [trace for trace in traces if trace not in used]
    return dataclasses.replace(found, misfit_frac=max(_misfit_frac(found, trace) for trace in judges))


def _misfit_frac(found: Fit, trace: Trace) -> float:
    expected, smallest = found.at(trace.micro_batch), found.sizes_bytes[0]
    off_bytes = sum(abs(a - b) for a, b in zip(expected, trace.sizes_bytes))
    grown_bytes = sum(abs(a - b) for a, b in zip(trace.sizes_bytes, smallest))
    return off_bytes / max(1, grown_bytes)


def lagrange_weights(points: Sequence[int], x: int) -> tuple[float, ...]:
    """Weights of the values at the points in the polynomial through them, at x."""
    weights = []
    for k, point in enumerate(points):
        weight = 1.0
        for j, other in enumerate(points):
            if j != k:
                weight *= (x - other) / (point - other)
        weights.append(weight)
    return tuple(weights)
