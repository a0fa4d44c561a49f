"""Workers side by side on one study, each in a process of its own, watched until the work is done."""

import os
import threading
import time
from collections.abc import Callable, Sequence

from advisor import schema
from advisor.errors import CfgadviseError, DataError, DeviceError, NonFiniteError, StorageError, UsageError
from advisor.refine.messages import WorkDone, WorkOrder
from advisor.refine.records import Entry
from advisor.refine.study import Study
from advisor.workload.child import Child, Failure

_LOOK_S = 1.0
_LONGEST_S = 30 * 24 * 3600.0
_BY_EXIT_CODE: dict[int, type[CfgadviseError]] = {
    kind.exit_code: kind for kind in (UsageError, DeviceError, DataError, StorageError, NonFiniteError)
}


def run_workers(
    study: Study, orders: Sequence[WorkOrder], environment: dict[str, str], on_entry: Callable[[Entry], None]
) -> None:
    """Start one worker for each order and wait until all have ended; a dead one's slot goes to the others.

    Args:
        study: what they work on, already open.
        orders: one for each worker.
        environment: variables for the workers, on top of this process's.
        on_entry: told of each slot as it ends or fails.

    Raises:
        CfgadviseError: what a worker's training raised, or if slots are left and no worker is.
    """
    crew = [_Worker(order, environment) for order in orders]
    try:
        seen = {entry.number for entry in study.entries() if _has_ended(entry)}
        while any(one.is_busy for one in crew):
            time.sleep(_LOOK_S)
            _tell_news(study, seen, on_entry)
            failed = next((one for one in crew if one.done is not None and one.done.error is not None), None)
            if failed is not None and failed.done is not None:
                raise _raised(failed.done)
            if any(one.was_killed for one in crew):
                study.release_dead()
        _tell_news(study, seen, on_entry)
        if all(one.was_killed for one in crew):
            raise CfgadviseError(
                f"all {len(crew)} workers were killed (the last: {crew[-1].death}); nothing is lost:"
                " the same command goes on. If memory was short, give fewer --workers"
            )
    finally:
        for one in crew:
            one.close()


class _Worker:
    """A child process and the thread that waits for its answer."""

    def __init__(self, order: WorkOrder, environment: dict[str, str]) -> None:
        self.done: WorkDone | None = None
        self.death: str | None = None
        self._child = Child("advisor.refine.worker", environment)
        self._thread = threading.Thread(target=self._work, args=(schema.to_json(order),), daemon=True)
        self._thread.start()

    @property
    def is_busy(self) -> bool:
        return self._thread.is_alive()

    @property
    def was_killed(self) -> bool:
        return self.death is not None

    def close(self) -> None:
        self._child.close()

    def _work(self, order: str) -> None:
        answer = self._child.ask(order, timeout_s=_LONGEST_S)
        if isinstance(answer, Failure):
            self.death = answer.message
        else:
            self.done = schema.from_json(WorkDone, answer, where="a worker's answer")


def threads_each(num_workers: int) -> dict[str, str]:
    """Variables that share the cores among the workers, unless the user has said how many threads to use."""
    if "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // num_workers))}


def _has_ended(entry: Entry) -> bool:
    return entry.slot is not None and entry.state in ("finished", "stopped_early", "failed")


def _tell_news(study: Study, seen: set[int], on_entry: Callable[[Entry], None]) -> None:
    for entry in study.entries():
        if _has_ended(entry) and entry.number not in seen:
            seen.add(entry.number)
            on_entry(entry)


def _raised(done: WorkDone) -> CfgadviseError:
    kind = _BY_EXIT_CODE.get(done.exit_code)
    if kind is not None:
        return kind(done.error or "")
    return CfgadviseError(f"a training of the search raised {done.error}\n{done.traceback_text or ''}".rstrip())
