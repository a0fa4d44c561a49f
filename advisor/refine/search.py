"""``refine()``: a search around a learning rate in short trainings, then a contest of the best on fresh seeds."""

import hashlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from advisor.errors import DeviceError, UsageError
from advisor.records import Finalist, Refinement, SearchBudget, record
from advisor.refine.budget import MIN_TRIALS
from advisor.refine.crew import run_workers, threads_each
from advisor.refine.database import shown
from advisor.refine.messages import WorkOrder
from advisor.refine.objective import Parameters
from advisor.refine.records import Entry, Slot
from advisor.refine.study import Place, Space, open_study
from advisor.refine.verdict import counted, finalists_of, judge, least_gain, num_retried, trials_of, winner
from advisor.schema import json_text
from advisor.units import format_lr

RANGE = 16.0  # learning rates that are tried lie within this factor of the start
_SEARCH_SEED = 0
_CONTEST_SEEDS = (1, 2, 3, 4, 5)


@record
class Task:
    """What to search, with what, and where it is kept.

    ``identity`` is what makes two searches the same one; equal tasks share a study, on any machine.
    ``ends_after_s``: seconds from now that the search may take; ``None`` for as long as it needs.
    """

    start_lr: float
    budget: SearchBudget
    objective: str
    parameters: Parameters
    identity: dict[str, Any]
    device: str
    storage: str
    num_workers: int = 1
    ends_after_s: float | None = None
    heartbeat_s: int = 60
    grace_s: int = 300


def refine(task: Task, on_progress: Callable[[str], None] = lambda _: None) -> Refinement:
    """Search, and let the best compete with the start on fresh seeds.

    The same task again goes on where it was: what has ended is kept, what was cut off is done again.

    Raises:
        UsageError: for a storage that cannot be used, or fewer than one worker.
        StorageError: if the storage cannot be reached or written.
        DeviceError: if no training had enough memory.
        CfgadviseError: what a training raised, or if every worker was killed.
    """
    if task.num_workers < 1:
        raise UsageError(f"--workers must be at least 1, found {task.num_workers}")
    started_s, name = time.time(), study_name(task)
    entries = _worked_on(task, name, _search_slots(task), _end(task, started_s), on_progress, is_search=True)
    _require_memory(entries)
    trials, seeds = trials_of(entries), _CONTEST_SEEDS[: task.budget.num_seeds]
    contest: tuple[Entry, ...] = ()
    rates: tuple[float, ...] = ()
    if len(counted(entries)) >= MIN_TRIALS:
        rates = finalists_of(trials, task.start_lr, task.budget.num_finalists)
        on_progress("contest on fresh seeds: learning rates " + ", ".join(map(format_lr, rates)))
        slots, ends_at_s = _contest_slots(rates, seeds), _end(task, started_s, whole=True)
        contest = _worked_on(task, f"{name}-contest", slots, ends_at_s, on_progress, is_search=False)
    finalists = _judged(contest, rates, seeds, task.start_lr)
    min_gain = least_gain(trials, task.budget.proxy_frac)
    best = winner(finalists, task.start_lr, min_gain) if finalists else None
    return Refinement(
        study=name,
        storage=shown(task.storage),
        start_lr=task.start_lr,
        lr=best.lr if best else task.start_lr,
        conclusion="unfinished" if not finalists else "better" if best else "no_difference",
        budget=task.budget,
        trials=trials,
        finalists=finalists,
        min_gain=min_gain,
        seeds=seeds if finalists else (),
        num_retried=num_retried(entries) + num_retried(contest),
        num_left_out=task.budget.num_trials - len(counted(entries)),
        elapsed_s=time.time() - started_s,
    )


def study_name(task: Task) -> str:
    """The same for equal tasks, on any machine and in any process."""
    plan = {
        **task.identity,
        "lr": f"{task.start_lr:.6g}",
        "proxy_samples": task.budget.proxy_samples,
        "run_samples": task.budget.run_samples,
    }
    return f"refine-{hashlib.sha256(json_text(plan).encode()).hexdigest()[:12]}"


# ---- the two studies ----------------------------------------------------------------------------


def _search_slots(task: Task) -> list[Slot]:
    """The start and its factor-2 neighbours, then what the sampler chooses."""
    first = (task.start_lr, 2 * task.start_lr, task.start_lr / 2)
    rates = [*first, *[None] * (task.budget.num_trials - len(first))]
    return [Slot(id=f"search-{k:03d}", lr=lr, seed=_SEARCH_SEED) for k, lr in enumerate(rates)]


def _contest_slots(rates: Sequence[float], seeds: Sequence[int]) -> list[Slot]:
    return [Slot(id=_contest_id(lr, seed), lr=lr, seed=seed) for seed in seeds for lr in rates]


def _contest_id(lr: float, seed: int) -> str:
    return f"contest-{lr:.6g}-{seed}"


def _worked_on(
    task: Task,
    name: str,
    slots: list[Slot],
    ends_at_s: float | None,
    on_progress: Callable[[str], None],
    *,
    is_search: bool,
) -> tuple[Entry, ...]:
    """All attempts at the slots of one study, after the workers have done what they could."""
    place = Place(url=task.storage, name=name, heartbeat_s=task.heartbeat_s, grace_s=task.grace_s)
    space = _space(task, is_search=is_search)
    study = open_study(place, space, slots)
    num_workers = min(task.num_workers, len(slots) - len(counted(study.entries())))
    orders = [
        WorkOrder(
            place=place,
            space=space,
            objective=task.objective,
            parameters=task.parameters,
            device=task.device,
            sampler_seed=k,
            ends_at_s=ends_at_s,
            min_slots=MIN_TRIALS if is_search else 0,
        )
        for k in range(num_workers)
    ]
    if orders:
        run_workers(study, orders, threads_each(num_workers), partial(_say, on_progress=on_progress))
    return study.entries()


def _space(task: Task, *, is_search: bool) -> Space:
    """Only the search ends a training early: in the contest, every pair has to be whole."""
    return Space(
        lr_low=task.start_lr / RANGE,
        lr_high=task.start_lr * RANGE,
        proxy_samples=task.budget.proxy_samples,
        stops_early=is_search,
    )


def _end(task: Task, started_s: float, *, whole: bool = False) -> float | None:
    """Unix time at which the search has to leave the rest to the contest, or at which both have to end."""
    if task.ends_after_s is None:
        return None
    budget = task.budget
    share = budget.num_trials / (budget.num_trials + (budget.num_finalists + 1) * budget.num_seeds)
    return started_s + (1.0 if whole else share) * task.ends_after_s


def _say(entry: Entry, on_progress: Callable[[str], None]) -> None:
    lr = "" if entry.lr is None else f"learning rate {format_lr(entry.lr)}: "
    if entry.state == "failed":
        on_progress(f"{entry.slot}: {lr}its worker is gone ({entry.message or 'killed'}); it is done again")
    elif entry.loss is None:
        on_progress(f"{entry.slot}: {lr}{'diverged' if entry.fits else 'not enough memory'}")
    else:
        ended = "stopped early at" if entry.state == "stopped_early" else "validation loss"
        on_progress(f"{entry.slot}: {lr}{ended} {entry.loss:.4g}")


def _judged(
    entries: Sequence[Entry], rates: Sequence[float], seeds: Sequence[int], start_lr: float
) -> tuple[Finalist, ...]:
    """The finalists; none if a training of the contest did not end."""
    ended = {entry.slot: entry.loss for entry in counted(entries)}
    table = {lr: [_contest_id(lr, seed) for seed in seeds] for lr in rates}
    if not rates or not all(slot in ended for row in table.values() for slot in row):
        return ()
    return judge({lr: [ended[slot] for slot in row] for lr, row in table.items()}, start_lr)


def _require_memory(entries: Sequence[Entry]) -> None:
    ended = counted(entries)
    if ended and all(entry.loss is None and not entry.fits for entry in ended):
        raise DeviceError(
            "no training of the search had enough memory: give fewer --workers, or an --advice with a smaller"
            " micro-batch"
        )
