"""Parts of a programme, each with a time box: one that fails or overruns is recorded, and the others go on.

What is found is written after every finding, so that whoever ends the programme loses nothing of it.
"""

import contextlib
import math
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from advisor import schema
from advisor.records import record
from advisor.storage import write_atomically

GRACE_S = 15.0  # beyond its box, for a part that has to end child processes
LEAST_BOX_S = 1.0


class SkippedError(Exception):
    """A part cannot run here; the message says why."""


class OverrunError(Exception):
    """A part did not end by itself when its time was over."""


class Box:
    """The time of one part, and what it found. Several threads may note findings."""

    def __init__(self, end_s: float, save: Callable[[], None], lock: AbstractContextManager[Any]) -> None:
        self.found: dict[str, Any] = {}
        self.was_cut = False
        self._end_s, self._save, self._lock = end_s, save, lock

    @property
    def left_s(self) -> float:
        """Seconds until the part should end; at least one, so that it can be waited for."""
        return max(LEAST_BOX_S, self._end_s - time.monotonic())

    def is_over(self) -> bool:
        """Whether the part should begin nothing more. Once asked in vain, the part counts as cut."""
        over = time.monotonic() >= self._end_s
        self.was_cut = self.was_cut or over
        return over

    def note(self, name: str, value: Any) -> None:
        """Keep one finding."""
        with self._lock:
            self.found[name] = plain(value)
            self._save()

    def add(self, name: str, row: Mapping[str, Any]) -> None:
        """Keep one more row of a table."""
        with self._lock:
            self.found.setdefault(name, []).append(plain(row))
            self._save()


@record
class Part:
    """One piece of the programme; ``weight``: its share of the time, beside the weights of those after it."""

    name: str
    weight: float
    run: Callable[[Box], None]


def run_parts(
    parts: Sequence[Part],
    header: Mapping[str, Any],
    path: Path,
    *,
    end_s: float,
    grace_s: float = GRACE_S,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Run every part in its share of the time until ``end_s`` (of the monotonic clock); what one leaves, others get.

    Returns what the file at ``path`` then holds: the header, and under ``parts`` for each part its ``status`` (done,
    cut: it ended early because its time was over, overrun: it had to be stopped, skipped, failed), times and findings.

    Raises:
        StorageError: if the file cannot be written.
    """
    result: dict[str, Any] = {**header, "parts": {}}

    lock = threading.RLock()  # threads of a part that overran may still note what they find

    def save() -> None:
        with lock:
            write_atomically(path, schema.json_text(result, indent=1) + "\n")

    for k, part in enumerate(parts):
        now_s = time.monotonic()
        box_s = max(LEAST_BOX_S, (end_s - now_s) * part.weight / sum(one.weight for one in parts[k:]))
        box = Box(now_s + box_s, save, lock)
        result["parts"][part.name] = {"status": "running", "box_s": round(box_s, 1), "found": box.found}
        save()
        say(f"{part.name}: {box_s:.0f} s ...")
        ending = _run(part, box, box_s + grace_s)
        elapsed_s = round(time.monotonic() - now_s, 1)
        with lock:
            found = dict(box.found)
        result["parts"][part.name] = {**ending, "box_s": round(box_s, 1), "elapsed_s": elapsed_s, "found": found}
        save()
        say(f"{part.name}: {ending['status']} after {elapsed_s:.0f} s {ending.get('reason', '')}")
    return result


def _run(part: Part, box: Box, limit_s: float) -> dict[str, Any]:
    try:
        with stopped_after(limit_s):
            part.run(box)
    except SkippedError as reason:
        return {"status": "skipped", "reason": str(reason)}
    except OverrunError as error:
        return {"status": "overrun", "reason": str(error), "traceback": traceback.format_exc()}
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in one part, the others are worth their time
        reason = f"{type(error).__name__}: {error}"
        own = getattr(error, "traceback_text", None)  # of the workload, in its child
        return {"status": "failed", "reason": reason, "traceback": own or traceback.format_exc()}
    return {"status": "cut" if box.was_cut else "done"}


@contextlib.contextmanager
def stopped_after(limit_s: float) -> Iterator[None]:
    """Raise :class:`OverrunError` inside after so many seconds, where the system can do that (main thread only)."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise OverrunError(f"still at work after {limit_s:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def plain(value: Any) -> Any:
    """As JSON has it: records as objects, and a number that is none as unknown."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return plain(schema.to_plain(value)) if hasattr(value, "__dataclass_fields__") else value


def error_frac(predicted: float | None, measured: float | None) -> float | None:
    """By how much the prediction is off, as a share of what was measured; below 0 it is too low."""
    if predicted is None or not measured:
        return None
    return round(predicted / measured - 1, 5)
