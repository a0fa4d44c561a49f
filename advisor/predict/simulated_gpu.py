"""A CUDA card that is not there: tensors with shapes and types but without values, and CUDA's choices.

The child process that enters :class:`SimulatedGpu` sees one card. Whatever is put on ``cuda`` becomes a fake
tensor of a device of our own (PyTorch's slot for other people's devices, ``PrivateUse1``); whatever stays on
the CPU is real. Kernels are chosen as CUDA chooses them: autocast's lists, attention, multi-tensor optimizers.

This is the only place that touches the private parts of PyTorch which that needs. :func:`missing_parts` says
what the installed torch lacks of them.
"""

import contextlib
import functools
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from advisor.errors import UsageError
from advisor.predict.attention import CudaAttention
from advisor.predict.autocast import CudaAutocast
from advisor.predict.known_values import MAX_ELEMENTS, compute, keep, known_value, remember
from advisor.predict.operators import OperatorRecorder
from advisor.predict.recorder import Recorder
from advisor.predict.terms import Workspaces

DEVICE_TYPE = "simulated"
# PyTorch names the reading of a property so.
_IS_CUDA = torch.Tensor.is_cuda.__get__  # type: ignore[attr-defined]
_DEVICE_OF = torch.ops.prim.device.default
_ONE_BY_ONE = (torch.optim.Adafactor,) if hasattr(torch.optim, "Adafactor") else ()  # to save memory, says its page
_PACKAGE_FOLDER = str(Path(__file__).resolve().parent.parent)
_TORCH_FOLDER = str(Path(torch.__file__).resolve().parent)


def missing_parts() -> tuple[str, ...]:
    """The private parts of PyTorch that the simulation needs and this torch lacks; empty if all are there."""
    wanted: dict[str, Callable[[], object]] = {
        "torch.utils.backend_registration": lambda: _registration()._setup_privateuseone_for_python_backend,
        "_DummyBackendModule": lambda: _registration()._DummyBackendModule,
        "FakeTensorMode": lambda: _fake()[0],
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


def _fake() -> tuple[Any, Any]:
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    return FakeTensorMode, FakeTensor


@functools.cache
def _register_device() -> None:
    """Once a process: the device type cannot be taken back."""
    registration = _registration()

    class Backend(registration._DummyBackendModule):  # type: ignore[misc, name-defined]
        def get_amp_supported_dtype(self) -> list[torch.dtype]:
            return [torch.float16, torch.bfloat16]

    registration._setup_privateuseone_for_python_backend(DEVICE_TYPE, backend_module=Backend())


class SimulatedGpu:
    """A context in which ``cuda`` is a simulated card. One a process, and never in the advisor's own."""

    def __init__(self) -> None:
        _register_device()
        self._capability = 0.0
        self._autocast = CudaAutocast(DEVICE_TYPE)
        self._attention = CudaAttention()
        self._moves = Moves()
        self._execution = Execution()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "SimulatedGpu":
        with contextlib.ExitStack() as stack:  # what was done is undone where the rest fails
            self._autocast.install()
            self._attention.install()
            for target, name, value in self._answers():
                stack.enter_context(mock.patch.object(target, name, value))
            stack.enter_context(self._execution)
            stack.enter_context(Redirection())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def insert_card(self, compute_capability: float) -> Recorder:
        """Put in a new, empty card; says who records what happens on it."""
        self._capability = self._attention.compute_capability = compute_capability
        self._moves.forget()
        self._execution.recorder = Recorder(DEVICE_TYPE)
        self._execution.operators = OperatorRecorder(self._execution.recorder)
        self._execution.workspaces = Workspaces(compute_capability)
        return self._execution.recorder

    @property
    def operators(self) -> OperatorRecorder:
        """Who notes what is computed on the card."""
        return self._execution.operators

    def adopt(self, optimizer: torch.optim.Optimizer) -> None:
        """Let an optimizer that was made before the model was moved follow it; choose its kernels as on CUDA."""
        for group in optimizer.param_groups:
            group["params"] = [self._moves.now(p) for p in group["params"]]
            says_nothing = "foreach" in group and group["foreach"] is None and not group.get("fused")
            if says_nothing and not isinstance(optimizer, _ONE_BY_ONE):
                group["foreach"] = True  # what CUDA takes where nothing is said

    def _answers(self) -> list[tuple[Any, str, Any]]:
        """What PyTorch answers in this process in the place of a driver."""
        start, clear = torch.autocast.__init__, torch.clear_autocast_cache

        def begin(region: Any, device_type: str, *args: Any, **kwargs: Any) -> None:
            start(region, DEVICE_TYPE if device_type == "cuda" else device_type, *args, **kwargs)

        def forget() -> None:
            clear()
            self._autocast.forget_weights()

        def state(read: Callable[..., Any]) -> Callable[..., Any]:
            return lambda kind="cuda": read(DEVICE_TYPE if kind == "cuda" else kind)

        cuda, foreach = torch.cuda, torch.utils._foreach_utils
        return [
            (torch.autocast, "__init__", begin),
            (torch, "clear_autocast_cache", forget),
            (torch, "is_autocast_enabled", state(torch.is_autocast_enabled)),
            (torch, "get_autocast_dtype", state(torch.get_autocast_dtype)),
            (cuda.amp.common, "amp_definitely_not_available", lambda: False),
            (foreach, "_foreach_supported_types", [*foreach._foreach_supported_types, _fake()[1]]),
            (torch.nn.Module, "_apply", self._moves.apply),
            (torch.nn.init, "trunc_normal_", lambda tensor, *_, **__: tensor),  # the one that no mode can see
            (cuda, "is_available", lambda: True),
            (cuda, "device_count", lambda: 1),
            (cuda, "current_device", lambda: 0),
            (cuda, "get_device_capability", lambda *_: self._major_minor()),
            (cuda, "is_bf16_supported", self._has_bf16),
            (cuda, "is_current_stream_capturing", lambda: False),
            *((cuda, name, lambda *_, **__: None) for name in ("synchronize", "empty_cache", "manual_seed_all")),
        ]

    def _has_bf16(self, including_emulation: bool = True) -> bool:
        return including_emulation or self._capability >= 8

    def _major_minor(self) -> tuple[int, int]:
        return int(self._capability), round(self._capability * 10) % 10


class Execution(TorchDispatchMode):
    """Runs what touches the card on fake tensors, and everything else for real."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recorder, self.workspaces = Recorder(DEVICE_TYPE), Workspaces(0.0)
        self.operators = OperatorRecorder(self.recorder)
        self._fake_mode, self._fake_type = _fake()[0](allow_non_fake_inputs=True), _fake()[1]
        self._device = torch.device(DEVICE_TYPE, 0)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is _DEVICE_OF and isinstance(args[0], self._fake_type):
            return args[0].fake_device  # asked for thousands of times a step: by us, by autograd, by optimizers
        on_card = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, self._fake_type)]
        if on_card and func is torch.ops.aten._local_scalar_dense.default:
            return value_of(args[0])
        device = kwargs.get("device")
        if not on_card and not (device is not None and device.type == DEVICE_TYPE):
            return func(*args, **kwargs)
        if not on_card and func is torch.ops.aten._to_copy.default:
            result = self._upload(args[0], kwargs.get("dtype"))
        else:
            values = compute(func, on_card, args, kwargs, DEVICE_TYPE)
            result = self._run(func, args, kwargs) if values is None else self._run_known(func, args, kwargs, values)
            keep(func, on_card, result, values)
        self._record(func, args, result)
        return result

    def _record(self, func: Any, args: tuple[Any, ...], result: Any) -> None:
        self.operators.see(func, args, result)
        results = tree_leaves(result)
        needed = self.workspaces.needed_by(func, args, result)
        for leaf, num_bytes in itertools.zip_longest(results, needed[: len(results)], fillvalue=0):
            self.recorder.see(leaf)
            self.recorder.use_for_a_moment(num_bytes)
        for num_bytes in self.workspaces.kept_by(func):
            self.recorder.keep(num_bytes)

    def _upload(self, tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
        result = self._like(tensor, dtype)
        if tensor.numel() <= MAX_ELEMENTS and tensor.device.type == "cpu":
            remember(result, tensor.to(dtype, copy=True))
        return result

    def _like(self, tensor: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        with self._fake_mode:
            return torch.empty_strided(tensor.shape, tensor.stride(), dtype=dtype or tensor.dtype, device=self._device)

    def _run_known(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], values: Any) -> Any:
        """As it runs without values, or from them where the shape of the result hangs on them."""
        try:
            return self._run(func, args, kwargs)
        except UsageError:
            return tree_map(lambda value: self._like(value) if isinstance(value, torch.Tensor) else value, values)

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

        try:
            with self._fake_mode:
                return func(*args, **kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException):
            raise UsageError(_needs_values(str(func))) from None


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
        if args and any(isinstance(arg, (str, torch.device)) for arg in args):
            args = tuple(redirected(arg) for arg in args)
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


class Moves:
    """Moves modules to the card, which PyTorch cannot do for fake tensors: same parameter, other type."""

    def __init__(self) -> None:
        self._moved: dict[int, tuple[torch.nn.Parameter, torch.nn.Parameter]] = {}
        move = self

        def apply(module: torch.nn.Module, fn: Callable[..., Any], recurse: bool = True) -> torch.nn.Module:
            if recurse:
                for child in module.children():
                    child._apply(fn)
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    module._parameters[name] = move._move(parameter, fn)
            for name, tensor in module._buffers.items():
                if tensor is not None:
                    module._buffers[name] = fn(tensor)
            return module

        self.apply = apply

    def forget(self) -> None:
        """Let go of what was moved to an earlier card."""
        self._moved.clear()

    def now(self, parameter: torch.nn.Parameter) -> torch.nn.Parameter:
        """What a parameter has become."""
        return self._moved[id(parameter)][1] if id(parameter) in self._moved else parameter

    def _move(self, parameter: torch.nn.Parameter, fn: Callable[..., Any]) -> torch.nn.Parameter:
        """A parameter that two layers share is moved once."""
        if id(parameter) not in self._moved:
            with torch.no_grad():
                moved: torch.nn.Parameter = fn(parameter)
            if moved is parameter:
                return parameter
            result = torch.nn.Parameter(moved, requires_grad=parameter.requires_grad)
            self._moved[id(parameter)] = (parameter, result)
        return self._moved[id(parameter)][1]


# ---- values that are not there ------------------------------------------------------------------


def value_of(tensor: torch.Tensor) -> Any:
    """The value if it is known; else a stand-in for a floating-point number, mostly asked for to be logged.

    Raises:
        UsageError: for a truth value or a whole number: what the step does next would hang on a guess.
    """
    value = known_value(tensor)
    if value is not None:
        return value.item()
    if tensor.dtype.is_floating_point:
        is_scaler = any(Path(frame.f_code.co_filename).name == "grad_scaler.py" for frame in _frames())
        return 0.0 if is_scaler else 1.0  # the scaler asks whether a gradient overflowed
    raise UsageError(_needs_values("bool()" if tensor.dtype == torch.bool else "int()"))


def _needs_values(operation: str) -> str:
    return (
        f"{_users_line()} needs the values of a tensor on the GPU ({operation}), and a simulated GPU has none:"
        " measure on a real device, or let this line not depend on values"
    )


def _users_line() -> str:
    """The innermost line that is neither ours nor PyTorch's."""
    for frame in _frames():
        file = frame.f_code.co_filename
        if not file.startswith((_PACKAGE_FOLDER, _TORCH_FOLDER, "<")):
            return f"{file}, line {frame.f_lineno},"
    return "the step"


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back
