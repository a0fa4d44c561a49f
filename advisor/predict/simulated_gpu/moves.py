"""Modules on their way to the card."""

from collections.abc import Callable
from typing import Any

import torch


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
