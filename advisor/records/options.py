"""Ways to train: how somebody trains now, and what could be chosen instead."""

from typing import Literal

from advisor.records.claims import Claim, Reason
from advisor.records.frozen import record

Verdict = Literal["recommended", "acceptable", "not_recommended", "infeasible"]


@record
class Setting:
    """How somebody trains now: what every option is compared with and scaled from."""

    micro_batch: int
    accumulation: int
    lr: Claim
    beta1: Claim
    beta2: Claim
    ema_decay: Claim
    warmup_samples: Claim

    @property
    def effective_batch(self) -> int:
        """Samples an optimizer step sees."""
        return self.micro_batch * self.accumulation


@record
class Option:
    """One setting with its price.

    ``run_s`` is the whole run, ``training_s`` its optimizer steps alone; ``time_to_same_progress`` is a ratio to the
    present setting, below 1 when the option gets there sooner.
    """

    id: str
    micro_batch: int
    accumulation: int
    effective_batch: int
    lr: Claim
    betas: tuple[Claim, Claim]
    ema_decay: Claim
    warmup_samples: Claim
    peak_reserved_bytes: Claim
    memory_frac: Claim
    step_s: Claim
    samples_per_s: Claim
    steps_per_epoch: int
    run_s: Claim
    time_to_same_progress: Claim
    verdict: Verdict
    reasons: tuple[Reason, ...]
    training_s: Claim | None = None
