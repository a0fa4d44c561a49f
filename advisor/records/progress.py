"""What a run says while it trains."""

from advisor.records.claims import Claim
from advisor.records.frozen import record


@record
class Progress:
    """Where a training run stands: one frame of the live screen, one line of the plain log."""

    run_name: str
    device_name: str
    micro_batch: int
    accumulation: int
    samples: int
    total_samples: int
    step: int
    total_steps: int
    epoch: float
    loss: float | None
    validation_loss: float | None
    lr: float
    samples_per_s: float | None
    elapsed_s: float
    remaining_s: Claim
    peak_reserved_bytes: int | None
    next_milestone_samples: int | None
    num_alarms: int | None = None
