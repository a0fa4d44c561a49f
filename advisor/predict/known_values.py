"""Values of small tensors on the simulated card that follow from the program alone: time steps, counters, tables.

A tensor that is copied from the CPU or made by ``arange`` or ``full`` has known values, and so has what is
computed from such tensors only. A step that looks at them (a sampler that searches its own time step) runs.
"""

from typing import Any

import torch

from advisor.predict.nested import leaves, mapped

MAX_ELEMENTS = 4096
_ATTRIBUTE = "_cfgadvise_value"
_RANDOM = ("empty", "rand", "normal", "bernoulli", "multinomial", "dropout", "uniform")
_FACTORIES = ("aten::arange", "aten::linspace", "aten::full", "aten::zeros", "aten::ones", "aten::scalar_tensor")


def known_value(tensor: Any) -> torch.Tensor | None:
    """The values of a simulated tensor, on the CPU, or ``None`` if they are not known."""
    return getattr(tensor, _ATTRIBUTE, None)


def remember(tensor: torch.Tensor, value: torch.Tensor) -> None:
    """From now on these are the values of this simulated tensor."""
    if value.numel() <= MAX_ELEMENTS:
        setattr(tensor, _ATTRIBUTE, value)


def forget(tensor: torch.Tensor) -> None:
    """From now on the values of this simulated tensor are not known."""
    if known_value(tensor) is not None:
        delattr(tensor, _ATTRIBUTE)


def compute(func: Any, on_card: list[torch.Tensor], args: Any, kwargs: Any, device_type: str) -> Any | None:
    """What the operation gives on the CPU, if all that it reads is known and small; else ``None``.

    ``None``, too, where the CPU has no such kernel.
    """
    if any(known_value(tensor) is None for tensor in on_card):
        return None
    name: str = func._schema.name
    if any(word in name for word in _RANDOM) or not (on_card or name in _FACTORIES):
        return None

    def real(leaf: Any) -> Any:
        value = known_value(leaf)
        if value is not None:
            return value
        return torch.device("cpu") if isinstance(leaf, torch.device) and leaf.type == device_type else leaf

    try:
        return func(*mapped(real, args), **mapped(real, kwargs))
    except NotImplementedError:
        return None


def keep(func: Any, on_card: list[torch.Tensor], result: Any, values: Any | None) -> None:
    """Attach the values to what the operation returned; what it changed otherwise is not known any more."""
    if values is None:
        if func._schema.is_mutable:
            for tensor in on_card:
                forget(tensor)
        return
    for tensor, value in zip(leaves(result), leaves(values)):
        if isinstance(tensor, torch.Tensor) and isinstance(value, torch.Tensor):
            remember(tensor, value)
