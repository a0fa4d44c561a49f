"""Workers at the worst moment: one that is slow to act on what it has read, and one that dies with a slot in hand."""

import os
import signal
import time
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from typing import Any

import sqlalchemy
import sqlalchemy.event

from advisor.refine.objective import Order, Outcome, Report
from advisor.refine.study import Place, Space, join_study


def hesitate(place: Place, space: Space, ready: Barrier, trained_seeds: "SimpleQueue[int]") -> None:
    """Take slots, once all are ready, until there is none; what is read of a slot, the others read meanwhile."""

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "after_cursor_execute")
    def wait(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT") and statement.endswith("WHERE trials.trial_id = ?"):
            time.sleep(0.05)

    def training(order: Order, report: Report) -> Outcome:
        trained_seeds.put(order.seed)
        return Outcome(loss=1.0)

    study = join_study(place, space)
    ready.wait()
    study.work(training, poll_s=0.1)


def die(place: Place, space: Space) -> None:
    """Take a slot, and be gone before the next transaction."""
    is_taken = False

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "after_cursor_execute")
    def see(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal is_taken
        is_taken = is_taken or statement.startswith("UPDATE trials SET state")

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "begin")
    def end(_connection: Any) -> None:
        if is_taken:
            os.kill(os.getpid(), signal.SIGKILL)

    join_study(place, space).work(lambda order, report: Outcome(loss=1.0))
