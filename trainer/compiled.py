"""A network that ``torch.compile`` makes faster where it can, and that stays as it is where it cannot."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException


class Compiled:
    """Calls a network compiled. Without a working compiler it calls the network itself, and says so once.

    The first call takes a minute or more. Weights stay those of the network: nothing is copied.
    """

    def __init__(self, model: nn.Module, on_problem: Callable[[str], None]) -> None:
        self._model, self._on_problem = model, on_problem
        self._call: Callable[..., Any] = model
        try:
            self._call = torch.compile(model)
        except RuntimeError as error:  # no support for this Python or operating system
            self._give_up(error)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the network returns."""
        try:
            return self._call(*args, **kwargs)
        except TorchDynamoException as error:
            self._give_up(error)
        return self._model(*args, **kwargs)

    def _give_up(self, error: Exception) -> None:
        self._call = self._model
        lines = str(error).strip().splitlines()
        self._on_problem(lines[0] if lines else type(error).__name__)
