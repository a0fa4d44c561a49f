"""What the advisor needs to know of a training step; it knows nothing else of what is trained."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from advisor.errors import UsageError

if TYPE_CHECKING:
    import torch


class Ema(Protocol):
    """Moving averages of the weights."""

    def update(self) -> object:
        """Take in the weights as they are after an optimizer step."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Something that a run does beside its steps, so that it can be timed: for longer runs there are more of it.

    Attributes:
        run: ``run(n)`` does ``n`` of it, without gradients.
        sizes: values of ``n``, one after the other while that takes seconds; the last one counts.
        units: in how many of them time is counted: passes of the network for a picture, for example.
    """

    run: Callable[[int], object]
    sizes: tuple[int, ...] = (1,)
    units: float = 1.0


@dataclasses.dataclass(kw_only=True)
class Workload:
    """One training step, taken apart so that it can be run at any batch size.

    Attributes:
        model: what is trained.
        optimizer: over the model's parameters.
        batch: ``batch(n)`` gives a batch of ``n`` samples, on the device.
        loss: ``loss(model, batch)`` gives the mean loss over that batch, a scalar with a gradient.
        ema: updated once an optimizer step, if there is one.
        eval_step: one evaluation or sampling step, run without gradients.
        clip_norm: the gradient's norm is clipped to this before the optimizer step.
        autocast_dtype: the loss is computed under autocast with this type.
        grad_scaler: scales the loss and leaves out steps whose gradient overflows. Where there is none, a
            loss in float16 gets one: without it small gradients become zero (Micikevicius et al., arXiv
            1710.03740, section 3.2).
        real_data: whether ``batch`` gives what is trained on. The gradient noise of made-up data says nothing, so
            it is not measured.
        rehearsals: what a run does beside its steps, by name; without any, ``eval_step`` is the only one.
    """

    model: "torch.nn.Module"
    optimizer: "torch.optim.Optimizer"
    batch: Callable[[int], Any]
    loss: Callable[[Any, Any], "torch.Tensor"]
    ema: Ema | None = None
    eval_step: Callable[[], object] | None = None
    clip_norm: float | None = None
    autocast_dtype: "torch.dtype | None" = None
    grad_scaler: "torch.amp.GradScaler | None" = None
    real_data: bool = True
    rehearsals: Mapping[str, Rehearsal] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = [text for text in self._problems() if text]
        if problems:
            raise UsageError("Workload: " + "; ".join(problems))

    def _problems(self) -> list[str | None]:
        return [
            _lacks(self.model, "model", "parameters", "a torch.nn.Module"),
            _lacks(self.optimizer, "optimizer", "step", "a torch.optim.Optimizer"),
            _lacks(self.batch, "batch", "__call__", "a function of n, the number of samples"),
            _lacks(self.loss, "loss", "__call__", "a function of (model, batch)"),
            None if self.ema is None else _lacks(self.ema, "ema", "update", "an object with update()"),
            None if self.eval_step is None else _lacks(self.eval_step, "eval_step", "__call__", "a function"),
            _clip_problem(self.clip_norm),
            _dtype_problem(self.autocast_dtype),
            None if self.grad_scaler is None else _lacks(self.grad_scaler, "grad_scaler", "unscale_", "a GradScaler"),
        ]


def _lacks(value: object, name: str, method: str, expected: str) -> str | None:
    if callable(getattr(value, method, None)):
        return None
    return f"{name} must be {expected}, found {type(value).__name__}"


def _clip_problem(clip_norm: object) -> str | None:
    if clip_norm is None:
        return None
    is_number = isinstance(clip_norm, (int, float)) and not isinstance(clip_norm, bool)
    if is_number and math.isfinite(clip_norm) and clip_norm > 0:  # type: ignore[arg-type, operator]
        return None
    return f"clip_norm must be a positive number or None, found {clip_norm!r}"


def _dtype_problem(dtype: object) -> str | None:
    if dtype is None or str(dtype) in ("torch.float16", "torch.bfloat16"):
        return None
    return f"autocast_dtype must be torch.float16, torch.bfloat16 or None, found {dtype!r}"
