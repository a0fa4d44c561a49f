"""What a search for the largest micro-batch is given, and what it found."""

import math
from typing import Literal

from advisor.measure.attempts import Attempt
from advisor.measure.curve import Curve, Law
from advisor.records import record

RESERVED_MARGIN_FRAC = 0.01  # kept free where the peak depends on more than tensors

Stop = Literal[
    "memory", "max_batch", "dataset_size", "out_of_memory", "size_limit", "failure", "time", "steps", "nothing_fits"
]


@record
class Ground:
    """Where is searched.

    ``most``: no micro-batch above, because of ``most_is``. ``start``: what its user runs now. ``forecast``: bytes
    at a micro-batch as foreseen without the device. ``caches``: the device has CUDA's caching allocator.
    """

    budget_bytes: int
    most: int
    most_is: Literal["max_batch", "dataset_size"]
    start: int
    forecast: Law | None = None
    caches: bool = False
    margin_frac: float = RESERVED_MARGIN_FRAC
    time_limit_s: float = math.inf
    notices_spills: bool = False


@record
class Found:
    """``micro_batch`` was run and checked; ``None`` if none could be. ``stop``: why none larger is given.

    ``retrying``: up to where the step would still run, slowly, as the replayed allocator has it; ``curve``: bytes at
    micro-batches that were not run, ``None`` without a law; ``error_frac``: by how much it was off at the checks.
    """

    micro_batch: int | None
    stop: Stop
    attempts: tuple[Attempt, ...]
    message: str | None = None
    retrying: int | None = None
    curve: Curve | None = None
    error_frac: float | None = None

    @property
    def steps_run(self) -> int:
        """Optimizer steps of all attempts."""
        return sum(one.steps_run for one in self.attempts)

    @property
    def oom_count(self) -> int:
        """Attempts that ran out of memory."""
        return sum(one.outcome == "oom" for one in self.attempts)
