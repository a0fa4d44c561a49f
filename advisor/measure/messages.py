"""What the advisor and its child process say to each other: one JSON object a line."""

from typing import Literal

from advisor.records import Breakdown, Value, record
from advisor.workload.child import Failure
from advisor.workload.description import Built

__all__ = ["BuildOrder", "Built", "Failure", "Order", "Reply", "StepReport"]


@record
class BuildOrder:
    """Which workload to build, where, and at which setting it will be stepped."""

    spec: str
    parameters: dict[str, Value]
    device: str
    micro_batch: int
    accumulation: int
    cap_bytes: int | None


@record
class Order:
    """One thing to do: build the workload, or run one optimizer step of it."""

    action: Literal["build", "step"]
    build: BuildOrder | None = None
    tracks_memory: bool = False


@record
class StepReport:
    """One optimizer step. The fields on memory are filled when it was tracked.

    ``phase_bytes`` holds the peak of allocated bytes in each phase of the step.
    """

    step_s: float
    peak_allocated_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    phase_bytes: dict[str, int] | None = None
    breakdown: Breakdown | None = None


@record
class Reply:
    """The answer to one order: exactly one field is filled."""

    built: Built | None = None
    step: StepReport | None = None
    failure: Failure | None = None
