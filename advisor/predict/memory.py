"""Memory of a training step on a card, at any batch: a step specified, bytes and their interval given back."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from advisor.errors import DeviceError
from advisor.predict.affine import Fit, NotAffineError, fit
from advisor.predict.allocator import Replay, replay
from advisor.predict.cards import Card
from advisor.predict.messages import Traced, TraceOrder
from advisor.predict.operators import OperatorModel, fit_operators
from advisor.predict.simulation import Simulation
from advisor.predict.trace import phase_peaks
from advisor.records import Breakdown, MemoryPrediction, Value, record
from advisor.workload.description import Built

MICRO_BATCHES = (4, 8, 16)
CHECK_MICRO_BATCH = 12  # traced only where a straight line does not explain the others
LARGER_MICRO_BATCHES = (8, 16, 32)  # where the step does something else at small ones
NUM_STEPS = 2  # the first makes the optimizer's state, the second is like all others
DEFAULT_TIMEOUT_S = 300.0

# Truth / prediction: 41 of 44 published runs lie in this interval, two above it (benchmarks/memory_published.py).
LOW_FRAC, HIGH_FRAC = 0.92, 1.10
WIDE_LOW_FRAC, WIDE_HIGH_FRAC = 0.70, 1.50  # for a trace of the CPU's kernels
LARGEST_MICRO_BATCH = 2**20


@record
class BatchLimits:
    """The largest micro-batches that run: without a retry, and at all (slowly, with retries). 0: none."""

    safe: int
    retrying: int


class MemoryModel:
    """Reserved bytes of a step at any micro-batch, from its fitted allocations."""

    def __init__(self, found: Fit, all_traced: Sequence[Traced]) -> None:
        traced = all_traced[0]
        self.fit = found
        self.operators = _operators(all_traced)  # what is computed, for the time of a step
        self.built: Built = traced.built
        self.is_simulated = traced.is_simulated
        self._low_frac, self._high_frac = (
            (LOW_FRAC, HIGH_FRAC) if self.is_simulated else (WIDE_LOW_FRAC, WIDE_HIGH_FRAC)
        )
        self.evaluation_problem = traced.evaluation_problem
        self._phases = traced.trace.phases
        self._kept = traced.breakdown
        self._workspaces = traced.trace.kept
        self._replays: dict[tuple[int, int | None, bool], Replay] = {}

    def replay(self, micro_batch: int, *, limit_bytes: int | None = None, expandable: bool = False) -> Replay:
        """What the allocator comes to at this micro-batch."""
        key = (micro_batch, limit_bytes, expandable)
        if key not in self._replays:
            self._replays[key] = replay(
                self.fit.events,
                self.fit.at(micro_batch),
                limit_bytes=limit_bytes,
                expandable=expandable,
                optional=self.fit.optional,
            )
        return self._replays[key]

    def at(self, micro_batch: int) -> MemoryPrediction:
        """Reserved bytes at this micro-batch, with their interval."""
        reserved_bytes = self.replay(micro_batch).peak_reserved_bytes
        return MemoryPrediction(
            micro_batch=micro_batch,
            reserved_bytes=reserved_bytes,
            low=round(self._low_frac * reserved_bytes),
            high=round(self._high_frac * reserved_bytes),
        )

    def phase_bytes(self, micro_batch: int) -> dict[str, int]:
        """The peak of allocated bytes in every phase."""
        peaks = phase_peaks(self.fit.events, self.fit.at(micro_batch), self._phases)
        return {one.phase: one.peak_allocated_bytes for one in peaks}

    def breakdown(self, card: Card, micro_batch: int | None = None) -> Breakdown:
        """Bytes by cause; activations as what a sample adds to the peak of the first micro-batch.

        Workspaces and fragmentation are those at this micro-batch, or at the largest that was traced.
        """
        smaller, larger = self.fit.micro_batches[0], self.fit.micro_batches[-1]
        micro_batch = micro_batch or larger
        grown = self.phase_bytes(larger)["first_micro_batch"] - self.phase_bytes(smaller)["first_micro_batch"]
        return dataclasses.replace(
            self._kept,
            activations_bytes_per_sample=round(grown / (larger - smaller)),
            workspaces_bytes=self.workspaces_bytes(micro_batch),
            fragmentation_bytes=self.replay(micro_batch).fragmentation_bytes,
            context_bytes=card.context_bytes,
        )

    def workspaces_bytes(self, micro_batch: int) -> int:
        """What libraries keep for themselves, and the largest workspace of a moment."""
        sizes_bytes = self.fit.at(micro_batch)
        largest_bytes = max((sizes_bytes[k] for k in self.fit.optional), default=0)
        return sum(sizes_bytes[k] for k in self._workspaces) + largest_bytes

    def largest_safe(self, budget_bytes: int, most: int = LARGEST_MICRO_BATCH) -> int:
        """The largest micro-batch whose interval lies within the budget; 0 if there is none."""

        def fits(micro_batch: int) -> bool:
            return self.at(micro_batch).high <= budget_bytes

        return largest(fits, most, near=self._near(budget_bytes / self._high_frac, _reserved))

    def limits(self, limit_bytes: int, *, expandable: bool = False) -> BatchLimits:
        """Up to which micro-batch the step runs where the allocator may take exactly this much."""

        def runs(micro_batch: int) -> bool:
            return self.replay(micro_batch, limit_bytes=limit_bytes, expandable=expandable).fits

        def runs_well(micro_batch: int) -> bool:
            return self.replay(micro_batch, expandable=expandable).peak_reserved_bytes <= limit_bytes

        near = self._near(limit_bytes, _reserved, expandable=expandable)
        safe = largest(runs_well, LARGEST_MICRO_BATCH, near=near)
        near = self._near(limit_bytes, _allocated, expandable=expandable)
        return BatchLimits(safe=safe, retrying=largest(runs, LARGEST_MICRO_BATCH, known=safe, near=near))

    def _near(self, num_bytes: float, peak: Callable[[Replay], int], *, expandable: bool = False) -> int:
        """About the micro-batch that comes to such a peak: on a straight line, then on one that is drawn near it."""
        few, many = self.fit.micro_batches[0], self.fit.micro_batches[-1]
        for _ in range(2):
            few_bytes, many_bytes = (peak(self.replay(k, expandable=expandable)) for k in (few, many))
            if few_bytes == many_bytes:
                break
            rise = (num_bytes - many_bytes) / (many_bytes - few_bytes)
            few, many = many, min(max(1, math.floor(many + rise * (many - few))), LARGEST_MICRO_BATCH)
        return many


def _reserved(found: Replay) -> int:
    return found.peak_reserved_bytes


def _allocated(found: Replay) -> int:
    return found.peak_allocated_bytes


def predict_memory(
    spec: str,
    parameters: Mapping[str, Value],
    card: Card,
    *,
    accumulation: int = 1,
    simulation: Simulation,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> MemoryModel:
    """A model of the memory that this workload takes on this card, from a few traces on a simulated one.

    Raises:
        UsageError: if the workload cannot be used, or needs values that a simulated GPU does not have.
        WorkloadError: if the user's step raises.
        DeviceError: if the step hangs, or its memory follows no simple law of the batch.
    """
    order = TraceOrder(
        spec=spec,
        parameters=dict(parameters),
        compute_capability=card.compute_capability,
        micro_batch=0,
        accumulation=min(2, accumulation),  # the third micro-batch takes what the second took
        num_steps=NUM_STEPS,
    )

    def traced_at(micro_batches: tuple[int, ...]) -> list[Traced]:
        orders = [dataclasses.replace(order, micro_batch=micro_batch) for micro_batch in micro_batches]
        return simulation.trace_all(orders, timeout_s=timeout_s)

    traced = traced_at(MICRO_BATCHES)
    try:
        return MemoryModel(fit([one.trace for one in traced]), traced)
    except NotAffineError as error:
        further = traced_at((CHECK_MICRO_BATCH,) if error.aligned else LARGER_MICRO_BATCHES)
    together = [*traced, *further] if len(further) == 1 else further
    try:
        return MemoryModel(fit([one.trace for one in together]), together)
    except NotAffineError as error:
        raise DeviceError(f"memory cannot be predicted: {error}. Measure it on a real device (--device)") from None


def _operators(traced: Sequence[Traced]) -> OperatorModel | None:
    logs = [(one.trace.micro_batch, one.operators) for one in traced if one.operators is not None]
    return fit_operators(logs) if logs else None


def largest(holds: Callable[[int], bool], most: int, *, known: int = 0, near: int = 1) -> int:
    """The largest number up to ``most`` for which it holds, if it holds up to there.

    Asks fewest times where that is ``near``; ``known``: a number for which it holds, or 0.
    """
    low, high, step, number = known, max(most, known) + 1, 1, near
    while high - low > 1:
        number = min(max(number, low + 1), high - 1)
        if holds(number):
            low = number
        else:
            high = number
        if known < low and high <= most:
            number = (low + high) // 2
        else:  # farther and farther from where the search began
            number, step = (low + step, 2 * step) if known < low else (high - step, 2 * step)
    return low
