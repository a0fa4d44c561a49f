"""What makes ``a`` micro-batches of ``b`` another step than one batch of ``a * b``, as far as a network shows it.

Dropout is none: its masks differ, its expectation does not. GroupNorm and LayerNorm see single samples.
"""

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from advisor.workload.description import Trap, TrapId

_STATISTICS = ("running_mean", "running_var")


def find_traps(model: nn.Module) -> tuple[Trap, ...]:
    """The traps in a network that is set to train; parts in evaluation mode keep their statistics."""
    found: dict[TrapId, list[str]] = {}
    for trap_id, name in (*_statistics(model), *_steps_in_backward(model)):
        found.setdefault(trap_id, []).append(name)
    return tuple(Trap(id=trap_id, count=len(names), first=names[0]) for trap_id, names in found.items())


def _statistics(model: nn.Module) -> Iterator[tuple[TrapId, str]]:
    for name, module in model.named_modules():
        if not module.training:
            continue
        if isinstance(module, nn.SyncBatchNorm):
            yield "sync_batch_norm", _shown(name, module)
        elif isinstance(module, _BatchNorm):
            yield "batch_norm", _shown(name, module)
        elif any(getattr(module, buffer, None) is not None for buffer in _STATISTICS):
            yield "running_statistics", _shown(name, module)


def _steps_in_backward(model: nn.Module) -> Iterator[tuple[TrapId, str]]:
    """What a hook does after each backward pass, such as an optimizer's step, it does once a micro-batch."""
    for name, parameter in model.named_parameters():
        if getattr(parameter, "_post_accumulate_grad_hooks", None):
            yield "step_in_backward", name


def _shown(name: str, module: nn.Module) -> str:
    return name or type(module).__name__
