"""What can be read off a workload: how its user trains now."""

import math
from typing import TYPE_CHECKING, Literal

from advisor.records import record

TrapId = Literal["batch_norm", "sync_batch_norm", "running_statistics", "step_in_backward"]

if TYPE_CHECKING:
    from advisor.workload.protocol import Workload

_PRECISIONS: dict[str, Literal["bf16", "fp16"]] = {"torch.bfloat16": "bf16", "torch.float16": "fp16"}


@record
class Trap:
    """A kind of part by which accumulation differs from a larger batch: how many, and the name of the first."""

    id: TrapId
    count: int
    first: str


@record
class Built:
    """A workload's own setting. ``None`` where it cannot be read.

    ``precision`` is that of autocast; ``None`` without it. ``has_batch_norm`` goes by the name of a part, so that
    look-alikes and frozen ones count, too; ``traps`` are parts that are set to train.
    """

    lr: float | None
    beta1: float | None
    beta2: float | None
    ema_decay: float | None
    has_ema: bool
    clip_norm: float | None
    tracking_costs_time: bool
    real_data: bool = True
    has_batch_norm: bool = False
    precision: Literal["bf16", "fp16"] | None = None
    traps: tuple[Trap, ...] = ()


def describe(workload: "Workload", *, tracking_costs_time: bool) -> Built:
    """The setting that the workload's optimizer and EMA hold, and the traps in its network."""
    from advisor.workload.traps import find_traps

    group = workload.optimizer.param_groups[0] if workload.optimizer.param_groups else {}
    betas = group.get("betas") or (group.get("momentum"), None)
    return Built(
        lr=_finite_number(group.get("lr")),
        beta1=_finite_number(betas[0]),
        beta2=_finite_number(betas[1]),
        ema_decay=_finite_number(getattr(workload.ema, "decay", None)),
        has_ema=workload.ema is not None,
        clip_norm=workload.clip_norm,
        tracking_costs_time=tracking_costs_time,
        real_data=workload.real_data,
        has_batch_norm=any("BatchNorm" in type(part).__name__ for part in workload.model.modules()),
        precision=_PRECISIONS.get(str(workload.autocast_dtype)),
        traps=find_traps(workload.model),
    )


def _finite_number(value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None  # type: ignore[arg-type]
