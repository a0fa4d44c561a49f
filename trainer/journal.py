"""What a run writes down while it goes: metrics, events, and how long it will still take."""

import datetime
import math
import statistics
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from advisor.records import Claim
from advisor.storage import JsonLines, read_json_lines
from trainer.tracking import Tracking

_Z_80 = 1.2816  # half-width of a central 80 % interval, in standard errors
_MAX_INTERVALS = 2000  # more than an hour of them: what comes once an hour counts, too
_NOTHING = Claim(value=0.0, basis="predicted", source="nothing was foreseen")


class Journal:
    """``metrics.jsonl`` and ``events.jsonl`` of a run folder.

    A restart takes back the metrics after its checkpoint, since those steps are done again; events
    stay, for they happened.
    """

    def __init__(self, folder: Path, samples_seen: int, tracking: Tracking | None = None) -> None:
        """Open both logs; a tracker gets the numbers, too.

        Raises:
            StorageError: if they cannot be written, or were damaged other than by a cut-off.
        """
        self._tracking = tracking
        path = folder / "metrics.jsonl"
        entries = read_json_lines(path)
        self._metrics, self._events = JsonLines(path), JsonLines(folder / "events.jsonl")
        kept = [entry for entry in entries if entry["samples"] <= samples_seen]
        if len(kept) != len(entries):
            self._metrics.rewrite(kept)

    def metric(self, kind: str, samples: int, **values: Any) -> None:
        """Append one line of metrics; what is not finite is written as null."""
        clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
        self._metrics.append({"kind": kind, "samples": samples, **clean})
        if self._tracking is not None:
            self._tracking.metric(kind, samples, clean)

    def event(self, kind: str, samples: int, **values: Any) -> None:
        """Append one event, labelled with the wall clock (UTC); nothing is computed from that label."""
        utc = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self._events.append({"kind": kind, "samples": samples, "utc": utc, **values})


def has_finished(events: Sequence[Mapping[str, Any]], samples_seen: int) -> bool:
    """Whether the run was judged and exported after so many samples."""
    return any(event["kind"] == "finished" and event["samples"] == samples_seen for event in events)


class RemainingTime:
    """Forecast from the run's own pace: means, not medians, since slow steps have to be waited for too.

    The pace includes validation, sampling and checkpoints, which come around regularly. ``at_the_end_s`` is what
    comes after the last sample, as it was foreseen.
    """

    def __init__(self, samples_seen: int, at_the_end_s: Claim = _NOTHING) -> None:
        self._last_s, self._last_samples = time.perf_counter(), samples_seen
        self._at_the_end_s = at_the_end_s
        self._intervals: deque[tuple[float, int]] = deque(maxlen=_MAX_INTERVALS)

    def update(self, samples_seen: int, total_samples: int) -> Claim:
        """Seconds until the end, with an 80 % interval once there are three paces to compare."""
        now_s = time.perf_counter()
        self._intervals.append((now_s - self._last_s, max(1, samples_seen - self._last_samples)))
        self._last_s, self._last_samples = now_s, samples_seen
        left = max(0, total_samples - samples_seen)
        recent = [seconds / samples for seconds, samples in self._intervals]
        mean_s = math.fsum(seconds for seconds, _ in self._intervals) / sum(n for _, n in self._intervals)
        after, after_s = self._at_the_end_s, float(self._at_the_end_s.value or 0)
        source = f"mean of the last {len(recent)} log intervals" + (" + the end of the run" if after_s else "")
        if len(recent) < 3:
            return Claim(value=left * mean_s + after_s, basis="predicted", source=source)
        margin_s = _Z_80 * statistics.stdev(recent) / math.sqrt(len(recent))
        below_s = math.hypot(left * min(mean_s, margin_s), after_s - (after.low or after_s))
        above_s = math.hypot(left * margin_s, (after.high or after_s) - after_s)
        total_s = left * mean_s + after_s
        return Claim(value=total_s, low=total_s - below_s, high=total_s + above_s, basis="predicted", source=source)
