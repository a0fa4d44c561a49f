"""Tells a device out of memory from a defect, by the type of the error, its text, or how the process ended.

Memory errors come under many names; a size limit of a kernel looks like one and is none. Some texts
(``CUBLAS_STATUS_ALLOC_FAILED``) mean memory only if the device was in fact nearly full.
"""

import re
import signal
from typing import Literal

from advisor.records import Outcome

Kind = Literal["oom", "oom_suspect", "size_limit", "other"]

_OUT_OF_MEMORY_TYPES = {"OutOfMemoryError", "MemoryError"}
_OUT_OF_MEMORY_TEXTS = (
    r"(CUDA|HIP|XPU) out of memory",
    r"(CUDA|HIP) error: out of memory",
    r"Cuda failure '?(out of memory|2)'?\b",  # NCCL
    r"Triton Error \[CUDA\]: out of memory",
    r"MPS backend out of memory",
    r"std::bad_alloc",
    r"DefaultCPUAllocator: (can't allocate|not enough) memory",
)
_SUSPECT_TEXTS = (
    r"CUBLAS_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)",
    r"CUDNN_STATUS_(ALLOC_FAILED|NOT_SUPPORTED|INTERNAL_ERROR)",
    r"cuDNN error",
    r"unable to find an engine to execute this computation",
    r"NVML_SUCCESS == r INTERNAL ASSERT",  # MIG, Tegra and containers end so instead of running out
    r"CUSOLVER_STATUS_(ALLOC_FAILED|INTERNAL_ERROR)",
)
_SIZE_LIMIT_TEXTS = (
    r"invalid configuration argument",
    r"canUse32BitIndexMath",
    r"integer out of range",
    r"nonzero is not supported for tensors with more than INT_MAX elements",
)
_UNIX_STATUS_BASE = 128


def classify_error(type_name: str, text: str) -> Kind:
    """What an exception with this type name and text says about memory."""
    if type_name.rpartition(".")[2] in _OUT_OF_MEMORY_TYPES or _matches(_OUT_OF_MEMORY_TEXTS, text):
        return "oom"
    if _matches(_SIZE_LIMIT_TEXTS, text):
        return "size_limit"
    if _matches(_SUSPECT_TEXTS, text):
        return "oom_suspect"
    return "other"


def classify_exit(status: int, stderr_tail: str = "") -> tuple[Outcome, str]:
    """Outcome and message for a child process that ended without an answer."""
    number = -status if status < 0 else status - _UNIX_STATUS_BASE if status > _UNIX_STATUS_BASE else None
    if number == getattr(signal, "SIGKILL", None):
        return "oom", "the process was killed by the system, most likely because the computer ran out of RAM"
    if _matches(_OUT_OF_MEMORY_TEXTS, stderr_tail):
        return "oom", "the process ended with an out-of-memory error outside of Python"
    if number is not None and number in {s.value for s in signal.Signals}:
        return "error", f"the process crashed with {signal.Signals(number).name}"
    return "error", f"the process ended by itself with status {status}"


def is_nearly_full(free_bytes: int, total_bytes: int) -> bool:
    """Whether so little memory is free that a suspicious error is believed: under 5 %."""
    return free_bytes < 0.05 * total_bytes


def _matches(patterns: tuple[str, ...], text: str) -> bool:
    return any(re.search(pattern, text) for pattern in patterns)
