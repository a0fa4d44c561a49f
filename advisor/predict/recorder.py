"""Follows the storages of one kind of device from their first tensor to their last: a trace in the making."""

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from advisor.predict.nested import leaves
from advisor.predict.trace import PhaseStart, Trace


class Recorder:
    """Notes when a storage of this device type appears, and when its last tensor goes."""

    def __init__(self, device_type: str) -> None:
        self._device_type = device_type
        self._seen: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._events: list[int] = []
        self._sizes_bytes: list[int] = []
        self._phases: list[PhaseStart] = []
        self._optional: list[int] = []
        self._kept: list[int] = []

    def see(self, value: Any) -> None:
        """Note the storage of a tensor, if it is new."""
        if not isinstance(value, torch.Tensor) or value.device.type != self._device_type:
            return
        if value.layout != torch.strided:
            return
        storage = value.untyped_storage()
        key = id(storage)
        if key not in self._seen:
            k = self._allocate(storage.nbytes())
            self._seen[key] = weakref.ref(storage, lambda _: self._free(key, k))

    def use_for_a_moment(self, num_bytes: int) -> None:
        """Note a workspace that is taken, if there is room, and given back at once."""
        if num_bytes > 0:
            k = self._allocate(num_bytes)
            self._optional.append(k)
            self._events.append(-k - 1)

    def keep(self, num_bytes: int) -> None:
        """Note a workspace that is never given back."""
        self._kept.append(self._allocate(num_bytes))

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Everything inside belongs to this phase."""
        self._phases.append(PhaseStart(phase=name, event=len(self._events)))
        yield

    @property
    def present_phase(self) -> PhaseStart | None:
        """The phase that was entered last."""
        return self._phases[-1] if self._phases else None

    def last_start(self, phase: str) -> int:
        """The event at which a phase was last entered; 0 if it never was."""
        return next((one.event for one in reversed(self._phases) if one.phase == phase), 0)

    @property
    def num_events(self) -> int:
        """Allocations and frees so far."""
        return len(self._events)

    def trace(self, micro_batch: int) -> Trace:
        """What was noted so far."""
        return Trace(
            micro_batch=micro_batch,
            events=tuple(self._events),
            sizes_bytes=tuple(self._sizes_bytes),
            phases=tuple(self._phases),
            optional=tuple(self._optional),
            kept=tuple(self._kept),
        )

    def _allocate(self, num_bytes: int) -> int:
        k = len(self._sizes_bytes)
        self._sizes_bytes.append(num_bytes)
        self._events.append(k)
        return k

    def _free(self, key: int, k: int) -> None:
        del self._seen[key]
        self._events.append(-k - 1)


class RecordingMode(TorchDispatchMode):
    """Lets a recorder see what every operation returns."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._recorder = recorder

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in leaves(result):
            self._recorder.see(leaf)
        return result
