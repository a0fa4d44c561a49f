"""What the advisor and its child process say to each other: one JSON object a line."""

from typing import Literal

from advisor.predict.trace import Trace
from advisor.records import Breakdown, NoiseScale, Value, record
from advisor.workload.child import Failure
from advisor.workload.description import Built

__all__ = ["BuildOrder", "Built", "Failure", "Order", "Rehearsed", "Reply", "StepReport", "WatchReport"]


@record
class BuildOrder:
    """Which workload to build, where, and at which setting it will be stepped.

    ``keeps_history``: every allocation and free from then on is kept, until it is asked for.
    """

    spec: str
    parameters: dict[str, Value]
    device: str
    micro_batch: int
    accumulation: int
    cap_bytes: int | None
    keeps_history: bool = False


@record
class Order:
    """One thing to do: build the workload, run one optimizer step or one evaluation of it, tell its history.

    ``import`` asks for nothing: it is answered once everything is imported.
    ``rehearse`` times what a run does beside its steps. ``step`` runs one step, or ``num_steps`` without a pause.
    ``watch`` runs ``num_steps`` steps whose gradients are watched; ``anew`` forgets those that were watched before.
    """

    action: Literal["import", "build", "step", "evaluate", "history", "watch", "rehearse"]
    build: BuildOrder | None = None
    tracks_memory: bool = False
    num_steps: int = 0
    anew: bool = False


@record
class StepReport:
    """One optimizer step, or one evaluation. The fields on memory are filled when it was tracked.

    After ``num_steps`` steps without a pause, times are the mean of all but the first, which finds caches cold.
    ``phase_bytes`` holds the peak of allocated bytes in each phase of the step. ``num_retries`` counts from the start
    of the process how often the allocator had to give back memory before it could go on. ``input_s`` is what the
    batches took of the step; ``None`` for made-up data.
    """

    step_s: float
    peak_allocated_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    phase_bytes: dict[str, int] | None = None
    breakdown: Breakdown | None = None
    num_retries: int = 0
    input_s: float | None = None
    num_steps: int = 1


@record
class WatchReport:
    """Watched steps: their mean loss, and what all that were watched so far say of the noise scale, or why nothing."""

    loss: float
    num_watched: int
    noise_scale: NoiseScale | None = None
    refusal: str | None = None


@record
class Rehearsed:
    """What some of the things that a run does beside its steps took: so many units of them, done once."""

    id: str
    seconds: float
    units: float


@record
class Reply:
    """The answer to one order: exactly one field is filled; none for imports, or for a history that cannot be told."""

    built: Built | None = None
    step: StepReport | None = None
    history: Trace | None = None
    watched: WatchReport | None = None
    rehearsed: tuple[Rehearsed, ...] | None = None
    failure: Failure | None = None
