"""A card's own state while it works: clocks, link and throttling say nothing about one that rests."""

import statistics
from collections.abc import Iterable
from dataclasses import replace

from advisor.hardware.cards import Readings, read_card_state
from advisor.hardware.nvml import Nvml
from advisor.records import Device, Load

_BUSY_FRAC = 0.5


class LoadWatch:
    """Looks at one card now and then; what is seen while it is idle is not kept."""

    def __init__(self, nvml: Nvml, uuid: str | None) -> None:
        self._nvml = nvml
        self._handle = nvml.read("nvmlDeviceGetHandleByUUID", uuid).value if uuid else None
        self._seen: list[Readings] = []

    def look(self) -> None:
        """Take in the present state, if the card is at work."""
        if self._handle is None:
            return
        state = read_card_state(self._nvml, self._handle)
        busy_frac = state["utilization_frac"].value
        if busy_frac is not None and busy_frac >= _BUSY_FRAC:
            self._seen.append(state)

    def load(self) -> Load | None:
        """What was seen; ``None`` if the card was never seen at work."""
        if not self._seen:
            return None
        reasons = self._values("throttle_reasons")
        return Load(
            utilization_frac=_median(self._values("utilization_frac")),
            sm_clock_mhz=_whole(_median(self._values("sm_clock_mhz"))),
            pcie_generation=max(self._values("pcie_generation"), default=None),
            power_w=_median(self._values("power_w")),
            temperature_c=max(self._values("temperature_c"), default=None),
            throttle_reasons=tuple(dict.fromkeys(reason for seen in reasons for reason in seen)) if reasons else None,
            num_readings=len(self._seen),
        )

    def _values(self, name: str) -> list:  # type: ignore[type-arg]  # what a reading holds depends on its name
        return [state[name].value for state in self._seen if state[name].value is not None]


def loaded(device: Device, load: Load) -> Device:
    """The device as it is at work; what was not seen then stays as it was at rest."""
    fields = ("utilization_frac", "sm_clock_mhz", "pcie_generation", "power_w", "temperature_c", "throttle_reasons")
    seen = {name: getattr(load, name) for name in fields if getattr(load, name) is not None}
    return replace(device, **seen)


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
