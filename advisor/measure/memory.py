"""Peak memory of a step: CUDA's own counters, or on a CPU the live tensors and the resident set.

A meter is asked phase by phase (first micro-batch, later ones, optimizer, EMA), because the phase that
peaks changes with the batch size. Bytes *allocated* are live tensors; bytes *reserved* are what the
process took from the device.
"""

import contextlib
import gc
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from advisor.predict.nested import leaves
from advisor.units import MIB
from advisor.workload.oom import is_nearly_full

_CAP_SLACK_BYTES = 256 * MIB  # stacks and pools of threads, which are no tensors


class MemoryMeter(Protocol):
    """Reads the memory of one process on one device."""

    tracking_costs_time: bool

    def set_cap(self, cap_bytes: int) -> None:
        """Make an allocation beyond so many bytes fail cleanly, where the system can do that."""

    def tracking(self, model: torch.nn.Module) -> contextlib.AbstractContextManager[None]:
        """Everything inside is tracked."""

    def phase(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Everything inside belongs to this phase; phases of one name are one."""

    def phase_bytes(self) -> dict[str, int]:
        """Peak of allocated bytes of each phase since tracking began."""

    def reserved_bytes(self) -> int | None:
        """Peak of the bytes taken from the device so far; ``None`` if this kind of device does not say."""

    def num_retries(self) -> int:
        """How often the allocator had to give back memory before it could go on."""

    def is_nearly_full(self) -> bool:
        """Whether the device has almost no memory left now."""


def meter_for(device: torch.device) -> MemoryMeter:
    """The meter for this kind of device. To be made before anything is put on it."""
    return CudaMeter(device) if device.type == "cuda" else TensorMeter(device)


class CudaMeter:
    """PyTorch's caching allocator counts for itself: tracking costs no time."""

    tracking_costs_time = False

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._phase_bytes: dict[str, int] = {}
        self._reserved_bytes = 0

    def set_cap(self, cap_bytes: int) -> None:
        total_bytes = torch.cuda.get_device_properties(self._device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, cap_bytes / total_bytes), self._device)

    @contextlib.contextmanager
    def tracking(self, model: torch.nn.Module) -> Iterator[None]:
        self._phase_bytes = {}
        yield

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        torch.cuda.reset_peak_memory_stats(self._device)
        yield
        peak_bytes = torch.cuda.max_memory_allocated(self._device)
        self._phase_bytes[name] = max(peak_bytes, self._phase_bytes.get(name, 0))
        self._reserved_bytes = max(self._reserved_bytes, torch.cuda.max_memory_reserved(self._device))

    def phase_bytes(self) -> dict[str, int]:
        return dict(self._phase_bytes)

    def reserved_bytes(self) -> int | None:
        return max(self._reserved_bytes, torch.cuda.max_memory_reserved(self._device))

    def num_retries(self) -> int:
        return int(torch.cuda.memory_stats(self._device).get("num_alloc_retries", 0))

    def is_nearly_full(self) -> bool:
        try:
            return is_nearly_full(*torch.cuda.mem_get_info(self._device))
        except RuntimeError:  # after some errors CUDA answers nothing any more
            return False


class TensorMeter:
    """Follows the storages of live tensors, and on a CPU the growth of the resident set."""

    tracking_costs_time = True

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._tracker: LiveTensors | None = None
        self._phase_bytes: dict[str, int] = {}
        _forget_peak_resident_bytes()
        self._resident_bytes_before: int = psutil.Process().memory_info().rss

    def set_cap(self, cap_bytes: int) -> None:
        if self._device.type == "cpu" and sys.platform == "linux":
            _limit_data_segment(cap_bytes + _CAP_SLACK_BYTES)

    @contextlib.contextmanager
    def tracking(self, model: torch.nn.Module) -> Iterator[None]:
        self._phase_bytes = {}
        self._tracker = LiveTensors(self._device.type)
        self._tracker.add_existing(model)
        try:
            with self._tracker:
                yield
        finally:
            self._tracker = None

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        if self._tracker is None:
            yield
            return
        self._tracker.peak_bytes = self._tracker.live_bytes
        yield
        self._phase_bytes[name] = max(self._tracker.peak_bytes, self._phase_bytes.get(name, 0))

    def phase_bytes(self) -> dict[str, int]:
        return dict(self._phase_bytes)

    def reserved_bytes(self) -> int | None:
        if self._device.type != "cpu":
            return None
        return max(0, _peak_resident_bytes() - self._resident_bytes_before)

    def num_retries(self) -> int:
        return 0  # nothing is cached

    def is_nearly_full(self) -> bool:
        memory = psutil.virtual_memory()
        return is_nearly_full(memory.available, memory.total)


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of all storages of one device type that are alive, and their peak."""

    def __init__(self, device_type: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._device_type = device_type
        self._storages: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self.live_bytes = 0
        self.peak_bytes = 0

    def add_existing(self, model: torch.nn.Module) -> None:
        """Count what was made before: the model, its gradients, and every tensor that Python knows of."""
        for parameter in model.parameters():
            self.add(parameter)
            self.add(parameter.grad)
        for candidate in gc.get_objects():
            if issubclass(type(candidate), torch.Tensor):
                self.add(candidate)

    def add(self, value: Any) -> None:
        """Count the storage of a tensor, once, until it is freed."""
        if not isinstance(value, torch.Tensor) or value.device.type != self._device_type:
            return
        if value.layout != torch.strided:
            return
        storage = value.untyped_storage()
        key, num_bytes = id(storage), storage.nbytes()
        if key in self._storages or not num_bytes:
            return
        self._storages[key] = weakref.ref(storage, lambda _: self._forget(key, num_bytes))
        self.live_bytes += num_bytes
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)

    def _forget(self, key: int, num_bytes: int) -> None:
        if self._storages.pop(key, None) is not None:
            self.live_bytes -= num_bytes

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in leaves((args, kwargs, result)):
            self.add(leaf)
        return result


# ---- the resident set ---------------------------------------------------------------------------


def _peak_resident_bytes() -> int:
    status = Path("/proc/self/status")
    if status.exists():  # Linux: exact, and of this program alone; getrusage also counts what was before exec
        line = next((x for x in status.read_text().splitlines() if x.startswith("VmHWM:")), None)
        if line:
            return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def _forget_peak_resident_bytes() -> None:
    with contextlib.suppress(OSError):  # only Linux can, and some containers forbid it; the peak is then an upper bound
        Path("/proc/self/clear_refs").write_text("5")


def _limit_data_segment(num_bytes: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    status = Path("/proc/self/status").read_text()
    used_bytes = next(int(x.split()[1]) * 1024 for x in status.splitlines() if x.startswith("VmData:"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = used_bytes + num_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
