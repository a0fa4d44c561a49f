"""What the card reports about itself while a run goes on, as fields of a log line."""

from typing import Any

import torch

from advisor.hardware.meter import Meter, open_meter

_FIELDS = ("energy_j", "energy_source", "power_w", "temperature_c", "throttle_reasons", "throttled_s")


class CardWatch:
    """Energy, power, heat and throttling of the card that a run trains on; unknown on a CPU.

    ``energy_j`` and ``throttled_s`` are since the last line, validation and sampling included, so the
    sum of all lines is the run's. It is the whole card's energy, whoever else uses it.
    """

    def __init__(self, device: torch.device, optimizer: torch.optim.Optimizer) -> None:
        """Begin to measure; a card without an energy counter has its power polled after each step."""
        uuid = _uuid(device)
        self._meter: Meter | None = None if uuid is None else open_meter(uuid)
        if self._meter is not None and self._meter.needs_polling:
            meter = self._meter
            optimizer.register_step_post_hook(lambda *_: meter.poll())

    def read(self) -> dict[str, Any]:
        """The fields of a log line; what is unknown is ``None``."""
        if self._meter is None:
            return dict.fromkeys(_FIELDS)
        reading = self._meter.read()
        return {name: getattr(reading, name) for name in _FIELDS}


def _uuid(device: torch.device) -> str | None:
    """The UUID by which NVML finds the card: torch's and NVML's numbers of it may differ."""
    if device.type != "cuda" or torch.version.hip is not None:
        return None
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    return None if uuid is None else str(uuid)
