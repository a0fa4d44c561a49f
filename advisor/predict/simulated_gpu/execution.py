"""What touches the card runs on tensors without values, and is recorded."""

import itertools
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from advisor.errors import UsageError
from advisor.predict.known_values import MAX_ELEMENTS, compute, keep, remember
from advisor.predict.nested import leaves, mapped
from advisor.predict.operators import OperatorRecorder
from advisor.predict.recorder import Recorder
from advisor.predict.simulated_gpu.known_results import KnownResults
from advisor.predict.simulated_gpu.torch_parts import DEVICE_TYPE, fake_tensors
from advisor.predict.simulated_gpu.unknown_values import needs_values, value_of
from advisor.predict.terms import Workspaces

_DEVICE_OF = torch.ops.prim.device.default


class Execution(TorchDispatchMode):
    """Runs what touches the card on fake tensors, and everything else for real."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recorder, self.workspaces = Recorder(DEVICE_TYPE), Workspaces(0.0)
        self.operators = OperatorRecorder(self.recorder)
        fake_mode, self._fake_type = fake_tensors()[0](allow_non_fake_inputs=True), fake_tensors()[1]
        fake_mode.cache_enabled = False  # KnownResults remembers, and what is not known there was never asked
        self._results = KnownResults(fake_mode, torch.device(DEVICE_TYPE, 0))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is _DEVICE_OF and isinstance(args[0], self._fake_type):
            return args[0].fake_device  # asked for thousands of times a step: by us, by autograd, by optimizers
        on_card = [leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, self._fake_type)]
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
        results = leaves(result)
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
        return self._results.new(tensor.shape, tensor.stride(), dtype or tensor.dtype)

    def _run_known(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], values: Any) -> Any:
        """As it runs without values, or from them where the shape of the result hangs on them."""
        try:
            return self._run(func, args, kwargs)
        except UsageError:
            return mapped(lambda value: self._like(value) if isinstance(value, torch.Tensor) else value, values)

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

        try:
            return self._results.run(func, args, kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException):
            raise UsageError(needs_values(str(func))) from None
