"""A search of cheap trainings, and what its study holds while it runs."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from advisor.errors import StorageError, UsageError
from advisor.refine.budget import plan_budget
from advisor.refine.records import Entry
from advisor.refine.search import Task, refine, study_name
from advisor.refine.study import Place, Space, Study, join_study

OBJECTIVE = str(Path(__file__).with_name("cheap_objective.py"))


def task(folder: Path, *, trials: int = 6, workers: int = 2, factory: str = "make", lr: float = 1e-3, **more) -> Task:
    given = {name: more.pop(name) for name in ("storage", "heartbeat_s", "grace_s", "ends_after_s") if name in more}
    return Task(
        start_lr=lr,
        budget=plan_budget(1000, 1000.0, num_trials=trials),
        objective=f"{OBJECTIVE}:{factory}",
        parameters=more,
        identity={"trials": trials, **more},
        device="cpu",
        num_workers=workers,
        **{"storage": f"sqlite:///{folder / 'refine.db'}", **given},
    )


def study_of(wanted: Task) -> Study:
    place = Place(url=wanted.storage, name=study_name(wanted), heartbeat_s=wanted.heartbeat_s, grace_s=wanted.grace_s)
    return join_study(place, Space(lr_low=1e-6, lr_high=1.0, proxy_samples=400, stops_early=True))


def wait_for(wanted: Task, is_there: Callable[[list[Entry]], bool], timeout_s: float = 120.0) -> list[Entry]:
    until_s, study, entries = time.monotonic() + timeout_s, None, []
    while time.monotonic() < until_s:
        try:
            study = study or study_of(wanted)
            entries = list(study.entries())
        except (UsageError, StorageError):  # not there yet
            entries = []
        if is_there(entries):
            return entries
        time.sleep(0.2)
    raise AssertionError(f"not within {timeout_s} s: {entries}")


def trained(entries: list[Entry]) -> list[Entry]:
    return [one for one in entries if one.state == "running" and one.worker is not None and one.lr is not None]


def pid_of(entry: Entry) -> int:
    return int(str(entry.worker).split(":")[-2])


def start(wanted: Task) -> tuple[threading.Thread, list]:
    found: list = []
    thread = threading.Thread(target=lambda: found.append(refine(wanted)), daemon=True)
    thread.start()
    return thread, found
