"""What a workload takes and gives back on a real device, event by event, from its building on.

On CUDA the caching allocator keeps this history itself, with every workspace of a kernel in it. Elsewhere the
storages of tensors are followed, which shows all but what kernels take for themselves.
"""

import contextlib
import gc
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch

from advisor.predict.recorder import Recorder, RecordingMode
from advisor.predict.trace import Trace

_MAX_ENTRIES = 2_000_000  # of CUDA's history; it forgets the oldest ones beyond


class History(Protocol):
    """A trace in the making."""

    def phase(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Everything inside belongs to this phase."""

    def trace(self, micro_batch: int) -> Trace | None:
        """What happened so far; ``None`` where the device does not tell, or forgot the beginning."""


def start_history(device: torch.device) -> History:
    """The history of this device from now on; it runs to the end of the process.

    Cycles of objects are no longer collected at any odd moment, so that the same step always does the same;
    :func:`collect_cycles` is to be called between steps.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    return CudaHistory(device) if device.type == "cuda" else StorageHistory(device)


def collect_cycles() -> None:
    """Free what only cycles keep alive."""
    gc.collect()


class StorageHistory:
    """Follows the storages of all tensors on one kind of device."""

    def __init__(self, device: torch.device) -> None:
        self._recorder = Recorder(device.type)
        mode = RecordingMode(self._recorder)
        mode.__enter__()  # type: ignore[no-untyped-call]  # until the process ends

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        with self._recorder.phase(name):
            yield

    def trace(self, micro_batch: int) -> Trace | None:
        return self._recorder.trace(micro_batch)


class CudaHistory:
    """Reads the history of the caching allocator (private functions of PyTorch; without them there is no trace).

    ``stacks="python"`` although none is kept: the default tries C++ stacks out, which only x86-64 Linux has.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._is_recording = False
        with contextlib.suppress(AttributeError, TypeError, RuntimeError):  # another torch, or another allocator
            torch.cuda.memory._record_memory_history("all", context=None, stacks="python", max_entries=_MAX_ENTRIES)
            self._is_recording = True

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        yield

    def trace(self, micro_batch: int) -> Trace | None:
        if not self._is_recording:
            return None
        torch.cuda.synchronize(self._device)
        entries = torch.cuda.memory._snapshot()["device_traces"][self._device.index or 0]
        return None if len(entries) >= _MAX_ENTRIES else trace_of(entries, micro_batch)


def trace_of(entries: Iterable[Mapping[str, Any]], micro_batch: int) -> Trace:
    """The allocations and frees among the entries of CUDA's history, in their order."""
    events: list[int] = []
    sizes_bytes: list[int] = []
    living: dict[int, int] = {}
    for entry in entries:
        if entry["action"] == "alloc":
            living[entry["addr"]] = len(sizes_bytes)
            events.append(len(sizes_bytes))
            sizes_bytes.append(entry["size"])
        elif entry["action"] == "free_completed" and entry["addr"] in living:
            events.append(-living.pop(entry["addr"]) - 1)
    return Trace(micro_batch=micro_batch, events=tuple(events), sizes_bytes=tuple(sizes_bytes))
