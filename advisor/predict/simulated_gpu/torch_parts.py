"""The private parts of PyTorch that make a device of our own, and what the installed torch lacks of all we need."""

import functools
from collections.abc import Callable
from typing import Any

import torch

DEVICE_TYPE = "simulated"


def missing_parts() -> tuple[str, ...]:
    """The private parts of PyTorch that the simulation needs and this torch lacks; empty if all are there."""
    wanted: dict[str, Callable[[], object]] = {
        "torch.utils.backend_registration": lambda: _registration()._setup_privateuseone_for_python_backend,
        "_DummyBackendModule": lambda: _registration()._DummyBackendModule,
        "FakeTensorMode": lambda: fake_tensors()[0],
        "torch.library.Library.fallback": lambda: torch.library.Library.fallback,
        "_foreach_supported_types": lambda: torch.utils._foreach_utils._foreach_supported_types,
        "_ExcludeDispatchKeyGuard": lambda: torch._C._ExcludeDispatchKeyGuard,
        "AutocastPrivateUse1": lambda: getattr(torch._C.DispatchKey, "AutocastPrivateUse1"),  # noqa: B009 - not in the stubs
        "_scaled_dot_product_efficient_attention": lambda: torch.ops.aten._scaled_dot_product_efficient_attention,
        "amp_definitely_not_available": lambda: torch.cuda.amp.common.amp_definitely_not_available,
    }
    return tuple(name for name, get in wanted.items() if not _is_there(get))


def _is_there(get: Callable[[], object]) -> bool:
    try:
        get()
    except (AttributeError, ImportError):
        return False
    return True


def _registration() -> Any:
    from torch.utils import backend_registration

    return backend_registration


def fake_tensors() -> tuple[Any, Any]:
    """The mode in which tensors have no values, and their type."""
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    return FakeTensorMode, FakeTensor


@functools.cache
def register_device() -> None:
    """Once a process: the device type cannot be taken back."""
    registration = _registration()

    class Backend(registration._DummyBackendModule):  # type: ignore[misc, name-defined]
        def get_amp_supported_dtype(self) -> list[torch.dtype]:
            return [torch.float16, torch.bfloat16]

    registration._setup_privateuseone_for_python_backend(DEVICE_TYPE, backend_module=Backend())
