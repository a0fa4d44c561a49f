"""One door to NVIDIA's management library. Every answer is a value or the reason why there is none.

This is the only file that imports ``pynvml`` (the distribution ``nvidia-ml-py``). Nothing here raises:
a card that falls off the bus in the middle of a night must not take a training run with it.
NVML creates no CUDA context, so the parent process may ask it anything.
"""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")

_REASONS = {
    1: "uninitialized",
    3: "not_supported",
    4: "no_permission",
    6: "not_found",
    9: "driver_not_loaded",
    10: "timeout",
    12: "no_library",
    13: "missing_function",
    15: "lost",
    16: "reset_required",
    17: "operating_system",
    18: "driver_mismatch",
    25: "version_mismatch",
}


@dataclass(frozen=True)
class Reading(Generic[T]):
    """A value, or the reason why there is none: exactly one of the two is ``None``."""

    value: T | None = None
    reason: str | None = None

    def then(self, convert: Callable[[T], U | None]) -> "Reading[U]":
        """The converted value; ``implausible`` where the conversion gives ``None``, else the same reason."""
        if self.value is None:
            return Reading(reason=self.reason)
        converted = convert(self.value)
        return Reading(reason="implausible") if converted is None else Reading(converted)

    def or_else(self, other: "Callable[[], Reading[T]]") -> "Reading[T]":
        """This value, else another way's; if both fail, why this one did."""
        if self.value is not None or self.reason == "lost":
            return self
        second = other()
        return self if second.value is None else second


class Nvml:
    """An open session with the library, or a null one in which every reading has the same reason.

    Attributes:
        problem: why nothing can be read (``no_library``, ``driver_mismatch`` ...), else ``None``.
    """

    def __init__(self, binding: Any, problem: str | None) -> None:
        self._binding = binding
        self.problem = problem

    def __enter__(self) -> "Nvml":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session; every later reading says ``uninitialized``."""
        if self.problem is None:
            self.read("nvmlShutdown")
            self.problem = "uninitialized"

    def read(self, function: str, *arguments: Any) -> Reading[Any]:
        """What one NVML function returns; a function that returns nothing reads as ``True``."""
        if self.problem is not None:
            return Reading(reason=self.problem)
        call = getattr(self._binding, function, None)
        if call is None:
            return Reading(reason="missing_function")
        try:
            value = call(*arguments)
        except UnicodeDecodeError:
            return Reading(reason="not_text")
        except Exception as error:  # noqa: BLE001 - the binding raises its own classes, ctypes' and Python's; none may pass
            return Reading(reason=_reason(error))
        return Reading(True if value is None else value)

    def constant(self, name: str, default: int) -> int:
        """A constant of the binding; older bindings lack some."""
        return int(getattr(self._binding, name, default))

    def driver_version(self) -> Reading[str]:
        """The driver's version, such as ``580.95.05``."""
        return self.read("nvmlSystemGetDriverVersion").then(str)

    def driver_cuda_version(self) -> Reading[str]:
        """The newest CUDA that the driver speaks, such as ``13.0``."""
        newest = self.read("nvmlSystemGetCudaDriverVersion_v2")
        return newest.or_else(lambda: self.read("nvmlSystemGetCudaDriverVersion")).then(
            lambda version: f"{version // 1000}.{version % 1000 // 10}" if version > 0 else None
        )

    def handles(self) -> list[Reading[Any]]:
        """One reading a card, in the order of nvidia-smi; a lost card keeps its place."""
        count = self.read("nvmlDeviceGetCount").value or 0
        return [self.read("nvmlDeviceGetHandleByIndex", index) for index in range(count)]


def open_nvml() -> Nvml:
    """A session with NVML; a null one, with the reason in ``problem``, where that is impossible."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the deprecated distribution warns when it is imported; a check names it
            import pynvml
    except ImportError:
        return Nvml(None, "no_binding")
    if not hasattr(pynvml, "_nvmlGetFunctionPointer"):
        return Nvml(None, "wrong_binding")  # the deprecated distribution "pynvml" shadows nvidia-ml-py
    try:
        pynvml.nvmlInit()
    except Exception as error:  # noqa: BLE001 - as in Nvml.read
        return Nvml(None, _reason(error))
    return Nvml(pynvml, None)


def _reason(error: Exception) -> str:
    code = getattr(error, "value", None)
    if isinstance(code, int):
        return _REASONS.get(code, f"error_{code}")
    if type(error).__name__ == "NVMLLibraryMismatchError":  # how the binding says that a newer function is missing
        return "missing_function"
    words = re.findall("[A-Z][a-z]+", type(error).__name__.removeprefix("NVMLError_").removesuffix("Error"))
    return "_".join(words).lower() or "error"
