"""What the advisor and its child process say to each other: one JSON object a line."""

from typing import Literal

from advisor.records import Breakdown, Outcome, Value, record


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
class Built:
    """What can be read off the workload: how the user trains now. ``None`` where it cannot be read."""

    lr: float | None
    beta1: float | None
    beta2: float | None
    ema_decay: float | None
    has_ema: bool
    clip_norm: float | None
    tracking_costs_time: bool


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
class Failure:
    """Why there is no result. ``usage_error``: the workload cannot be used as it was named or built."""

    outcome: Outcome
    message: str
    traceback_text: str | None = None
    usage_error: bool = False


@record
class Reply:
    """The answer to one order: exactly one field is filled."""

    built: Built | None = None
    step: StepReport | None = None
    failure: Failure | None = None
