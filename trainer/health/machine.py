"""Whether the machine still does what it did at the beginning: step time, memory, and the card's clocks."""

import statistics
from collections import deque
from collections.abc import Mapping
from typing import Any

import psutil
import torch

from advisor.records import Note
from trainer.health.alarms import alarm
from trainer.health.statistics import trend

SETTLING_LINES, REFERENCE_LINES, RECENT_LINES = 2, 20, 10
MIN_SLOWER = 1.5
TREND_Z, TREND_LINES = 5.0, 30
MAX_THROTTLED_FRAC, THROTTLE_LINES = 0.1, 15
# Why a card slows itself down although nobody set a limit; at its power cap a busy card is healthy.
_UNHEALTHY = ("software_thermal", "hardware_thermal", "power_brake")


class MachineChecks:
    """The log lines of a run, about two seconds each."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._num_lines = 0
        self._reference_s: list[float] = []
        self._recent_s: deque[float] = deque(maxlen=RECENT_LINES)
        self._memory: deque[tuple[int, int]] = deque(maxlen=TREND_LINES)
        self._throttled: deque[tuple[float, dict[str, float]]] = deque(maxlen=THROTTLE_LINES)

    def add(
        self, samples: int, step_s: float, window_s: float, card: Mapping[str, Any], memory_bytes: int | None = None
    ) -> None:
        """Take in a log line.

        Args:
            samples: seen so far.
            step_s: seconds a step took; on a CPU its processor time, which other programs do not change.
            window_s: how long the line's steps took together.
            card: fields of :class:`trainer.card.CardWatch`.
            memory_bytes: held now; asked of the system if it is not given.
        """
        self._num_lines += 1
        if self._num_lines <= SETTLING_LINES:
            return
        if len(self._reference_s) < REFERENCE_LINES:
            self._reference_s.append(step_s)
        else:
            self._recent_s.append(step_s)
        self._memory.append((samples, self._held_bytes() if memory_bytes is None else memory_bytes))
        self._throttled.append((window_s, _throttled_s(card, window_s)))

    def _held_bytes(self) -> int:
        if self._device.type == "cuda":
            return int(torch.cuda.memory_reserved(self._device))
        return int(psutil.Process().memory_info().rss)

    def _limit_bytes(self) -> int:
        """What could be held at most: the card's memory, or what is held and what is free."""
        if self._device.type == "cuda":
            free_bytes, _ = torch.cuda.mem_get_info(self._device)
            return int(free_bytes) + int(torch.cuda.memory_reserved(self._device))
        return self._memory[-1][1] + int(psutil.virtual_memory().available)

    def slower(self) -> Note | None:
        """All of the last ten lines slower than each of twenty early ones: 1 in 30 million if nothing changed."""
        if len(self._recent_s) < RECENT_LINES:
            return None
        ratio = statistics.median(self._recent_s) / statistics.median(self._reference_s)
        if ratio <= MIN_SLOWER or min(self._recent_s) <= max(self._reference_s):
            return None
        return alarm("step_slower", statistic=ratio, threshold=MIN_SLOWER, n=RECENT_LINES)

    def memory(self, total_samples: int, limit_bytes: int | None = None) -> Note | None:
        """A steady growth that would not fit any more at the end of the run."""
        if len(self._memory) < TREND_LINES:
            return None
        slope_bytes, z = trend([held for _, held in self._memory])
        samples_a_line = (self._memory[-1][0] - self._memory[0][0]) / (TREND_LINES - 1)
        if z <= TREND_Z or samples_a_line <= 0:
            return None
        lines_left = max(0, total_samples - self._memory[-1][0]) / samples_a_line
        final_bytes = self._memory[-1][1] + slope_bytes * lines_left
        limit_bytes = self._limit_bytes() if limit_bytes is None else limit_bytes
        if final_bytes <= limit_bytes:
            return None
        return alarm("memory_grows", statistic=final_bytes, threshold=limit_bytes, n=TREND_LINES)

    def throttled(self) -> Note | None:
        """Share of the last half minute for which heat or the power supply slowed the card down."""
        if len(self._throttled) < THROTTLE_LINES:
            return None
        total_s = sum(window_s for window_s, _ in self._throttled)
        by_reason = {name: sum(found.get(name, 0.0) for _, found in self._throttled) for name in _UNHEALTHY}
        share = max(by_reason.values()) / total_s if total_s else 0.0
        if share <= MAX_THROTTLED_FRAC:
            return None
        reasons = ", ".join(name for name, spent_s in by_reason.items() if spent_s > MAX_THROTTLED_FRAC * total_s)
        return alarm("throttled", statistic=share, threshold=MAX_THROTTLED_FRAC, n=THROTTLE_LINES, reasons=reasons)


def _throttled_s(card: Mapping[str, Any], window_s: float) -> dict[str, float]:
    """Seconds by reason; where the driver does not count them, a reason that is on now counts for the whole line."""
    counted = card.get("throttled_s")
    if counted is not None:
        return dict(counted)
    return dict.fromkeys(card.get("throttle_reasons") or (), window_s)
