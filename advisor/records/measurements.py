"""What was measured of a step: its time, its memory, and the noise of its gradient."""

import math
from typing import Literal

from advisor.records.claims import Claim
from advisor.records.frozen import record

Outcome = Literal["ok", "oom", "error", "timeout", "non_finite"]


@record
class StepTime:
    """Seconds an optimizer step takes: median of ``n`` timings, with the bounds of its interval.

    A timing is one step, or the mean of many short ones without a pause.
    """

    median: float
    low: float
    high: float
    n: int


@record
class Measurement:
    """One (micro-batch, accumulation) that was run in a process of its own.

    ``peak_allocated_bytes`` counts live tensors. ``peak_reserved_bytes`` is what the process took
    from the device: the allocator's reservation on CUDA, the resident set's growth on a CPU.
    ``first_step_s`` stands apart: it creates optimizer state and warms caches. ``mean_step_s``, with an 80 % band,
    decides how long a run is. ``input_s`` is what the batches take of a step at least (median); ``None`` where it was
    not timed, or for made-up data.
    """

    micro_batch: int
    accumulation: int
    outcome: Outcome
    peak_allocated_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    first_step_s: float | None = None
    step_s: StepTime | None = None
    steps_run: int = 0
    message: str | None = None
    input_s: float | None = None
    mean_step_s: Claim | None = None


@record
class MemoryPrediction:
    """Reserved bytes at a micro-batch that was not run."""

    micro_batch: int
    reserved_bytes: int
    low: int
    high: int


@record
class Breakdown:
    """Where the memory of a step goes. ``None`` where it was not determined.

    ``workspaces_bytes``: what libraries keep for themselves, and the largest they take for a moment.
    ``fragmentation_bytes``: reserved from the card, and of no use to any tensor at the peak.
    """

    weights_bytes: int | None = None
    gradients_bytes: int | None = None
    optimizer_bytes: int | None = None
    ema_bytes: int | None = None
    activations_bytes_per_sample: int | None = None
    workspaces_bytes: int | None = None
    fragmentation_bytes: int | None = None
    context_bytes: int | None = None


@record
class Memory:
    """How much may be used, how far up it was run, and what larger sizes would take.

    ``max_micro_batch`` is the largest that was run and fitted the budget; for a card that is not here, the
    largest whose predicted interval lies within it.
    """

    max_micro_batch: int | None
    budget_bytes: int | None
    predicted: tuple[MemoryPrediction, ...] = ()
    breakdown: Breakdown = Breakdown()


@record
class Speed:
    """The fit ``t(b, a) = a (alpha + beta b) + gamma`` with its intervals; all ``None`` where it does not hold.

    To times that were measured, intervals are 95 %; for a card that is not here, they hold what the intervals of the
    predicted times allow.
    """

    alpha_s: float | None = None
    beta_s: float | None = None
    gamma_s: float | None = None
    log_rmse: float | None = None
    knee_micro_batch: int | None = None
    alpha_interval_s: tuple[float, float] | None = None
    beta_interval_s: tuple[float, float] | None = None
    gamma_interval_s: tuple[float, float] | None = None


@record
class NoiseScale:
    """Gradient noise scale in samples: McCandlish et al., arXiv 1812.06162, section 2.2.

    ``preconditioned`` is that of the gradients as Adam divides them. ``is_early``: the loss had not fallen to half
    of its first value, and the noise scale grows as the loss falls.
    """

    value: float
    low: float
    high: float
    n: int
    preconditioned: Claim | None = None
    is_early: bool = False

    @property
    def expected(self) -> float:
        """What a single figure is reckoned with: the noise of the gradients as the optimizer uses them.

        Under Adam that is the preconditioned one, as in AdaptDL's ``AdamGradientNoiseScale``; what was seen of both is
        in docs/noise-scale.md.
        """
        adam = self.preconditioned.value if self.preconditioned else None
        return self.value if adam is None else adam

    @property
    def bounds(self) -> tuple[float, float]:
        """What is held possible where a batch is chosen: from the lower of both bounds to twice Adam's upper one.

        Which of the two decides was seen on few networks only, and both grow during training, hence the factor.
        """
        adam = self.preconditioned
        low = min(self.low, adam.low if adam is not None and adam.low is not None else self.low)
        if self.is_early:
            return low, math.inf
        return low, max(self.high, 2 * (adam.high or 0) if adam is not None else 0.0)
