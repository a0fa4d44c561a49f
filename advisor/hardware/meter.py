"""What a card does while it is used: energy, power, heat and throttling, read between two steps.

There is no thread and nothing raises: a card that is lost in the middle of the night leaves unknown
figures behind, not a dead run. Nothing is asked here that holds the driver's lock for long.
"""

import atexit
import time
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any

from advisor.hardware.cards import Handle, read_temperature, read_throttling
from advisor.hardware.nvml import Nvml, Reading, open_nvml
from advisor.records import record

POLL_EVERY_S = 0.2
_ENERGY, _POWER_AVERAGE, _POWER_INSTANT = 83, 185, 186
_THROTTLE_COUNTERS = {74: "power_cap", 269: "software_thermal", 270: "hardware_thermal", 271: "power_brake"}
_GONE = {"lost", "reset_required", "uninitialized", "driver_not_loaded", "driver_mismatch"}
_LASTING = {"not_supported", "missing_function", "no_permission"}
_MAX_OVERLAP = 1.1  # counters that claim more time than has passed are not in nanoseconds


@record
class MeterReading:
    """One card since the reading before. ``unknown`` says why a figure is ``None``.

    ``energy_source`` is ``counter`` where the card counts its energy, ``integrated`` where power was
    integrated over time. ``throttled_s`` holds seconds by reason, where the driver counts them.
    """

    elapsed_s: float
    energy_j: float | None = None
    energy_source: str | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
    throttled_s: dict[str, float] | None = None
    unknown: dict[str, str] = field(default_factory=dict)


class Meter:
    """Measures one card from its creation on.

    Cards before Volta have no energy counter; their power has to be polled, which :meth:`poll` does
    when it is called often, such as once a step. A call that comes too early costs a look at a clock.
    """

    def __init__(self, nvml: Nvml, handle: Reading[Handle], clock: Callable[[], float] = time.monotonic) -> None:
        self._nvml, self._handle, self._clock = nvml, handle.value, clock
        self._gone = handle.reason
        self._refused: dict[str, str] = {}
        self._read_s = self._polled_s = clock()
        self._energy_mj = self._counted_mj()
        self.needs_polling = self._energy_mj.value is None and self._gone is None
        self._power_w = self._current_power_w() if self.needs_polling else Reading[float](reason=self._gone)
        self._integrated_j = Reading(0.0)
        self._throttled_ns = self._counted_throttling_ns()

    def poll(self) -> None:
        """Take in the present power, if it is needed and due."""
        now_s = self._clock()
        if self.needs_polling and now_s - self._polled_s >= POLL_EVERY_S:
            self._integrate(now_s)

    def read(self) -> MeterReading:
        """What happened since the last reading."""
        now_s = self._clock()
        elapsed_s, self._read_s = now_s - self._read_s, now_s
        energy_j = self._integrated(now_s) if self.needs_polling else self._counted_j()
        power_w = self._power_w if self.needs_polling else self._current_power_w()
        throttled_s = self._throttled_s(elapsed_s)
        found: dict[str, Reading[Any]] = {
            "energy_j": energy_j,
            "power_w": power_w,
            "temperature_c": self._ask("temperature", lambda: read_temperature(self._nvml, self._handle)),
            "throttled_s": throttled_s,
            "throttle_reasons": self._reasons(throttled_s),
        }
        source = "integrated" if self.needs_polling else "counter"
        return MeterReading(
            elapsed_s=elapsed_s,
            energy_source=None if energy_j.value is None else source,
            unknown={name: str(reading.reason) for name, reading in found.items() if reading.value is None},
            **{name: reading.value for name, reading in found.items()},
        )

    # ---- energy ---------------------------------------------------------------------------------

    def _counted_mj(self) -> Reading[int]:
        counter = self._ask("energy", lambda: self._nvml.read("nvmlDeviceGetTotalEnergyConsumption", self._handle))
        return counter.or_else(lambda: self._field("energy_field", _ENERGY))

    def _counted_j(self) -> Reading[float]:
        """Joules on the card's counter, which starts anew when the driver is loaded again."""
        before, now = self._energy_mj, self._counted_mj()
        if now.value is None:
            return Reading(reason=now.reason)
        self._energy_mj = now
        if before.value is None or now.value < before.value:
            return Reading(reason="counter_restarted")
        return Reading((now.value - before.value) / 1000)

    def _integrate(self, now_s: float) -> None:
        """Trapezoids between one look at the power and the next; one unknown power makes the sum unknown."""
        before, after = self._power_w, self._current_power_w()
        if before.value is None or after.value is None:
            self._integrated_j = Reading(reason=after.reason or before.reason)
        else:
            piece_j = (now_s - self._polled_s) * (before.value + after.value) / 2
            self._integrated_j = self._integrated_j.then(lambda sum_j: sum_j + piece_j)
        self._power_w, self._polled_s = after, now_s

    def _integrated(self, now_s: float) -> Reading[float]:
        self._integrate(now_s)
        total_j, self._integrated_j = self._integrated_j, Reading(0.0)
        return total_j

    def _current_power_w(self) -> Reading[float]:
        power = self._ask("power", lambda: self._nvml.read("nvmlDeviceGetPowerUsage", self._handle))
        for name, number in (("power_average", _POWER_AVERAGE), ("power_instant", _POWER_INSTANT)):
            power = power.or_else(lambda name=name, number=number: self._field(name, number))  # type: ignore[misc]
        return power.then(lambda milliwatts: milliwatts / 1000)

    # ---- throttling -----------------------------------------------------------------------------

    def _counted_throttling_ns(self) -> Reading[dict[str, int]]:
        values = self._ask("throttling", lambda: self._fields(tuple(_THROTTLE_COUNTERS)))
        return values.then(lambda counters: dict(zip(_THROTTLE_COUNTERS.values(), counters)))

    def _throttled_s(self, elapsed_s: float) -> Reading[dict[str, float]]:
        before, now = self._throttled_ns, self._counted_throttling_ns()
        self._throttled_ns = now
        if before.value is None or now.value is None:
            return Reading(reason=now.reason or before.reason)
        spent_s = {name: (count - before.value[name]) / 1e9 for name, count in now.value.items()}
        if min(spent_s.values()) < 0 or max(spent_s.values()) > _MAX_OVERLAP * elapsed_s:
            return Reading(reason="implausible")
        return Reading(spent_s)

    def _reasons(self, throttled_s: Reading[dict[str, float]]) -> Reading[tuple[str, ...]]:
        """What slowed the card at any time since the last reading, or, without counters, does so now."""
        now = self._ask("reasons", lambda: read_throttling(self._nvml, self._handle))
        if throttled_s.value is None:
            return now
        counted = [name for name, spent_s in throttled_s.value.items() if spent_s > 0]
        return Reading(tuple(dict.fromkeys([*counted, *(now.value or ())])))

    # ---- asking ---------------------------------------------------------------------------------

    def _ask(self, name: str, query: Callable[[], Reading[Any]]) -> Reading[Any]:
        """The answer; what this card will never answer is not asked again, and a lost card nothing more."""
        refused = self._gone or self._refused.get(name)
        if refused is not None:
            return Reading(reason=refused)
        answer = query()
        if answer.reason in _GONE:
            self._gone = answer.reason
        elif answer.reason in _LASTING:
            self._refused[name] = str(answer.reason)
        return answer

    def _field(self, name: str, number: int) -> Reading[Any]:
        return self._ask(name, lambda: self._fields((number,))).then(lambda values: values[0])

    def _fields(self, numbers: Sequence[int]) -> Reading[list[int]]:
        """The values of NVML fields, the way that outlives its older getters; all of them or none."""
        answer = self._nvml.read("nvmlDeviceGetFieldValues", self._handle, list(numbers))
        if answer.value is None:
            return Reading(reason=answer.reason)
        if any(entry.nvmlReturn != 0 for entry in answer.value):
            return Reading(reason="not_supported")
        return Reading([_value_of(entry) for entry in answer.value])


def open_meter(uuid: str) -> Meter:
    """A meter of the card or MIG slice with this UUID, with or without its prefix; it never fails to open."""
    nvml = open_nvml()
    if nvml.problem is None:
        atexit.register(nvml.close)
    bare = uuid.removeprefix("GPU-").removeprefix("MIG-")
    handle = nvml.read("nvmlDeviceGetHandleByUUID", f"GPU-{bare}")
    return Meter(nvml, handle.or_else(lambda: nvml.read("nvmlDeviceGetHandleByUUID", f"MIG-{bare}")))


def _value_of(entry: Any) -> int:
    kinds = {1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}
    return int(getattr(entry.value, kinds.get(int(entry.valueType), "dVal")))
