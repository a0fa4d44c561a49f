"""Values that the card does not have: which may be guessed, and who asked for the others."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from advisor.errors import UsageError
from advisor.predict.known_values import known_value

_PACKAGE_FOLDER = str(Path(__file__).resolve().parents[2])
_TORCH_FOLDER = str(Path(torch.__file__).resolve().parent)


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
    raise UsageError(needs_values("bool()" if tensor.dtype == torch.bool else "int()"))


def needs_values(operation: str) -> str:
    """What to say to who needs values: the line, and what asked for them."""
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
