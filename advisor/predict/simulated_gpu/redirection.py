"""What the user's code means by ``cuda`` goes to the simulated card."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from advisor.predict.simulated_gpu.torch_parts import DEVICE_TYPE

# PyTorch names the reading of a property so.
_IS_CUDA = torch.Tensor.is_cuda.__get__  # type: ignore[attr-defined]


class Redirection(TorchFunctionMode):
    """``cuda`` means the simulated card; the values that a layer starts with are not computed."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        if func is torch.device:
            return func(*args, **kwargs)  # a name; what is put there is redirected
        if func == _IS_CUDA:
            return args[0].device.type == DEVICE_TYPE
        if func is torch.Tensor.cuda:
            return args[0].to(torch.device(DEVICE_TYPE, 0))
        for arg in args:
            if isinstance(arg, (str, torch.device)):
                args = tuple([redirected(one) for one in args])
                break
        device = kwargs.get("device")
        if device is not None:
            device = redirected(device)
            kwargs = {**kwargs, "device": device}
            if func in (torch.tensor, torch.as_tensor, torch.asarray) and _is_simulated(device):
                return func(*args, **{**kwargs, "device": "cpu"}).to(device)
        return func(*args, **kwargs)


def redirected(device: Any) -> Any:
    """The simulated card where CUDA is meant; everything else as it is."""
    kind = device.type if isinstance(device, torch.device) else device
    is_cuda = isinstance(kind, str) and (kind == "cuda" or kind.startswith("cuda:"))
    return torch.device(DEVICE_TYPE, 0) if is_cuda else device


def _is_simulated(device: Any) -> bool:
    return isinstance(device, torch.device) and device.type == DEVICE_TYPE
