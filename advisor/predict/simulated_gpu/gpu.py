"""The simulated card of a process, and what PyTorch answers there in the place of a driver."""

import contextlib
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch

from advisor.predict.attention import CudaAttention
from advisor.predict.autocast import CudaAutocast
from advisor.predict.operators import OperatorRecorder
from advisor.predict.recorder import Recorder
from advisor.predict.simulated_gpu.execution import Execution
from advisor.predict.simulated_gpu.moves import Moves
from advisor.predict.simulated_gpu.redirection import Redirection
from advisor.predict.simulated_gpu.torch_parts import DEVICE_TYPE, fake_tensors, register_device
from advisor.predict.terms import Workspaces

_ONE_BY_ONE = (torch.optim.Adafactor,) if hasattr(torch.optim, "Adafactor") else ()  # to save memory, says its page


class SimulatedGpu:
    """A context in which ``cuda`` is a simulated card. One a process, and never in the advisor's own."""

    def __init__(self) -> None:
        register_device()
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
            (foreach, "_foreach_supported_types", [*foreach._foreach_supported_types, fake_tensors()[1]]),
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
