"""Memory of a training step on a card, at any batch: a step specified, bytes and their interval given back."""

import dataclasses
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
        self.evaluation_problem = traced.evaluation_problem
        self._phases = traced.trace.phases
        self._kept = traced.breakdown
        self._workspaces = traced.trace.kept
        self._reserved_bytes: dict[tuple[int, bool], int] = {}  # by micro-batch and whether segments expand

    def replay(self, micro_batch: int, *, limit_bytes: int | None = None, expandable: bool = False) -> Replay:
        """What the allocator comes to at this micro-batch."""
        return replay(
            self.fit.events,
            self.fit.at(micro_batch),
            limit_bytes=limit_bytes,
            expandable=expandable,
            optional=self.fit.optional,
        )

    def at(self, micro_batch: int) -> MemoryPrediction:
        """Reserved bytes at this micro-batch, with their interval."""
        reserved_bytes = self._reserved(micro_batch)
        low, high = (LOW_FRAC, HIGH_FRAC) if self.is_simulated else (WIDE_LOW_FRAC, WIDE_HIGH_FRAC)
        return MemoryPrediction(
            micro_batch=micro_batch,
            reserved_bytes=reserved_bytes,
            low=round(low * reserved_bytes),
            high=round(high * reserved_bytes),
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
        return largest(lambda micro_batch: self.at(micro_batch).high <= budget_bytes, most)

    def limits(self, limit_bytes: int, *, expandable: bool = False, most: int = LARGEST_MICRO_BATCH) -> BatchLimits:
        """Up to which micro-batch the step runs where the allocator may take exactly this much."""

        def runs(micro_batch: int) -> bool:
            return self.replay(micro_batch, limit_bytes=limit_bytes, expandable=expandable).fits

        def runs_well(micro_batch: int) -> bool:
            return self._reserved(micro_batch, expandable=expandable) <= limit_bytes

        safe = largest(runs_well, most)
        return BatchLimits(safe=safe, retrying=largest(runs, most, known=safe))

    def _reserved(self, micro_batch: int, *, expandable: bool = False) -> int:
        key = (micro_batch, expandable)
        if key not in self._reserved_bytes:
            self._reserved_bytes[key] = self.replay(micro_batch, expandable=expandable).peak_reserved_bytes
        return self._reserved_bytes[key]


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


def largest(holds: Callable[[int], bool], most: int, *, known: int = 0) -> int:
    """The largest number up to ``most`` for which it holds, if it holds up to there; ``known``: one that does, or 0."""
    low, high = known, max(1, 2 * known)
    while high <= most and holds(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
