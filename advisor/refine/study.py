"""An Optuna study that holds every training of a plan exactly once, whoever is killed.

Every training is a row before it starts: a *slot*, which waits, is taken by one worker (a compare-and-set in the
database), and ends. A worker that dies leaves a running row: it fails when its heartbeat is overdue, or at once
where its process is seen to be gone, and its slot waits again with the same learning rate.
"""

import contextlib
import datetime
import math
import random
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import optuna
import sqlalchemy.exc
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages import RDBStorage, fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState

from advisor.errors import StorageError, UsageError
from advisor.records import record
from advisor.refine import database
from advisor.refine.bracket import next_outside
from advisor.refine.objective import Order, Outcome, Training
from advisor.refine.process_name import is_gone, process_name
from advisor.refine.records import Entry, Slot, State

MAX_RETRIES = 2
MIN_KNOWN = 5  # trials before TPE has something to go by
AROUND = 4.0  # TPE looks within this factor of the best: what lies further off was shown to be worse
_MAX_DRAWS = 16
_PRUNING_FRAC = 0.4  # of a training: before that, the order of learning rates is not yet that of the end
_SLOTS_READY_S = 15.0
_MAX_OPENINGS = 4
_FILTERS = threading.RLock()
_Answer = TypeVar("_Answer")
_STORAGE_FAILURES = (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)
_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "stopped_early",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
    TrialState.FAIL: "failed",
}


@record
class Place:
    """Where a study is kept, and how soon a silent worker counts as dead."""

    url: str
    name: str
    heartbeat_s: int = 60
    grace_s: int = 300


@record
class Space:
    """What may be tried: learning rates from ``lr_low`` to ``lr_high``, in trainings of ``proxy_samples``.

    ``stops_early``: whether a training that is behind may end before its time.
    """

    lr_low: float
    lr_high: float
    proxy_samples: int
    stops_early: bool


def open_study(place: Place, space: Space, slots: Sequence[Slot]) -> "Study":
    """The study with every slot in it; several programs may do this at once.

    Raises:
        UsageError: if the storage is not one that Optuna knows, or its driver is not installed.
        StorageError: if the storage cannot be reached or written.
    """
    with _storage_errors(place.url), _without_warnings():
        storage = _storage(place)
        try:
            found = optuna.create_study(study_name=place.name, storage=storage, direction="minimize")
        except optuna.exceptions.DuplicatedStudyError:
            study = join_study(place, space)
            study.wait_for_slots()
        else:
            found.set_metric_names(["validation loss"])  # what optuna-dashboard calls it
            study = Study(found, place, space)
        study.release_dead()
        study.fill(slots)
        return study


def join_study(place: Place, space: Space, sampler_seed: int | None = None) -> "Study":
    """A study that somebody else has opened.

    Raises:
        UsageError: if there is none, or the storage is not one that Optuna knows.
        StorageError: if the storage cannot be reached or written.
    """
    with _storage_errors(place.url), _without_warnings():
        try:
            found = optuna.load_study(study_name=place.name, storage=_storage(place))
        except KeyError:
            raise UsageError(f"{database.shown(place.url)} holds no study {place.name!r}") from None
        return Study(found, place, space, sampler_seed)


class Study:
    """One study, as a ledger of slots and as work to do."""

    def __init__(self, study: optuna.Study, place: Place, space: Space, sampler_seed: int | None = None) -> None:
        self._study, self._place, self._space = study, place, space
        self._me = process_name()
        self._failure: Exception | None = None
        study.sampler = _BracketFirst(space, sampler_seed)
        study.pruner = _pruner(space)

    # ---- the ledger -----------------------------------------------------------------------------

    def entries(self) -> tuple[Entry, ...]:
        """Every attempt at every slot, in the order in which they were asked for."""
        with _storage_errors(self._place.url):
            found = _asked(lambda: self._study.get_trials(deepcopy=False))
            return tuple(_entry(trial) for trial in found)

    def fill(self, slots: Sequence[Slot]) -> None:
        """Let every slot wait that is not there yet, or whose attempts all failed."""
        attempts: dict[str | None, list[Entry]] = {}
        for entry in self.entries():
            attempts.setdefault(entry.slot, []).append(entry)
        for slot in slots:
            before = attempts.get(slot.id, [])
            if all(entry.state == "failed" for entry in before):
                lr = before[-1].lr if before else slot.lr
                params = {} if lr is None else {"lr": lr}
                self._study.enqueue_trial(params, user_attrs={"slot": slot.id, "seed": slot.seed})
        self._study.set_user_attr("slots_ready", True)

    def wait_for_slots(self) -> None:
        """Leave the program that created the study the time to fill it."""
        until_s = time.monotonic() + _SLOTS_READY_S
        while not self._study.user_attrs.get("slots_ready") and time.monotonic() < until_s:
            time.sleep(0.1)

    def release_dead(self) -> None:
        """Let slots wait again whose worker is gone: one on this machine, or one that never gave its name."""
        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            if not self._is_dead(trial):
                continue
            with contextlib.suppress(ValueError, optuna.exceptions.UpdateFinishedTrialError):  # somebody else was first
                self._study.tell(trial.number, state=TrialState.FAIL)
                _wait_again(self._study, trial)

    def _is_dead(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get("worker")
        if worker is None:
            started = trial.datetime_start
            return started is not None and (datetime.datetime.now() - started).total_seconds() > self._place.grace_s
        return is_gone(str(worker))

    # ---- the work -------------------------------------------------------------------------------

    def work(self, training: Training, may_start: Callable[[], bool] = lambda: True, *, poll_s: float = 2.0) -> None:
        """Train slot after slot until none waits and nobody is at one.

        A slot that another worker is at may come back if that worker dies, so this waits for it.

        Raises:
            Exception: whatever the training raised; its slot has failed.
            StorageError: if the storage cannot be reached or written.
        """
        while True:
            with _storage_errors(self._place.url), _without_warnings():
                _asked(lambda: fail_stale_trials(self._study))
                _asked(self.release_dead)
            states = {entry.state for entry in self.entries()}
            if "waiting" in states and may_start():
                self._train_one(training)
            elif "running" in states:
                time.sleep(poll_s)
            else:
                return

    def _train_one(self, training: Training) -> None:
        try:
            with _storage_errors(self._place.url), _without_warnings():
                self._study.optimize(lambda trial: self._objective(trial, training), n_trials=1)
        except (StorageError, KeyboardInterrupt):
            raise
        except Exception:  # noqa: BLE001 - Optuna's own: this slot was taken for dead meanwhile, and its retry counts
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure from None

    def _objective(self, trial: Trial, training: Training) -> float:
        if "slot" not in trial.user_attrs:
            raise LookupError("another worker took the last slot")
        trial.set_user_attr("worker", self._me)
        if self._has_ended(trial.user_attrs["slot"]):
            raise LookupError("this slot has ended meanwhile")
        space = self._space
        lr = trial.suggest_float("lr", space.lr_low, space.lr_high, log=True)
        order = Order(lr=lr, seed=trial.user_attrs["seed"], samples=space.proxy_samples)

        def report(samples: int, loss: float) -> None:
            trial.report(loss, step=samples)
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            outcome = training(order, report)
        except optuna.TrialPruned:
            raise
        except Exception as error:
            trial.set_user_attr("message", f"{type(error).__name__}: {error}")
            self._failure = error
            raise
        return _told(trial, outcome)

    def _has_ended(self, slot: str) -> bool:
        return any(one.slot == slot and one.state in ("finished", "stopped_early") for one in self.entries())


def _wait_again(study: optuna.Study, failed: FrozenTrial) -> None:
    """Let the slot of a failed attempt wait again, with the same learning rate, unless it failed too often.

    Optuna's own callback would hand on the name of the dead worker, and the new attempt would look dead, too.
    """
    history = [*failed.system_attrs.get("retry_history", []), failed.number]
    slot, lr = failed.user_attrs.get("slot"), _entry(failed).lr
    others = [one for one in study.get_trials(deepcopy=False) if one.number > failed.number]
    is_there = any(one.user_attrs.get("slot") == slot and one.state != TrialState.FAIL for one in others)
    if slot is None or len(history) > MAX_RETRIES or is_there:
        return
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            user_attrs={"slot": slot, "seed": failed.user_attrs["seed"]},
            system_attrs={
                "fixed_params": {} if lr is None else {"lr": lr},
                "failed_trial": history[0],
                "retry_history": history,
            },
        )
    )


def _told(trial: Trial, outcome: Outcome) -> float:
    trial.set_constraint("memory", -1.0 if outcome.fits else 1.0)
    if outcome.peak_bytes is not None:
        trial.set_user_attr("peak_bytes", outcome.peak_bytes)
    if outcome.loss is None or not outcome.fits:
        trial.set_user_attr("diverged", outcome.fits)  # False: it was memory that it lacked
        raise optuna.TrialPruned
    return outcome.loss


def _entry(trial: FrozenTrial) -> Entry:
    attrs, state = trial.user_attrs, _STATES[trial.state]
    failed = "diverged" in attrs
    return Entry(
        number=trial.number,
        slot=attrs.get("slot"),
        state="finished" if failed and state == "stopped_early" else state,
        lr=trial.params.get("lr", trial.system_attrs.get("fixed_params", {}).get("lr")),
        seed=attrs.get("seed"),
        loss=None if failed or state not in ("finished", "stopped_early") else trial.value,
        worker=attrs.get("worker"),
        peak_bytes=attrs.get("peak_bytes"),
        fits=attrs.get("diverged", True),
        message=attrs.get("message"),
    )


# ---- what to try --------------------------------------------------------------------------------


class _BracketFirst(optuna.samplers.TPESampler):
    """Factor-2 steps until the best learning rate has a worse one on either side, then TPE around the best."""

    def __init__(self, space: Space, seed: int | None) -> None:
        super().__init__(n_startup_trials=MIN_KNOWN, seed=seed, multivariate=True, constant_liar=True)
        self._space, self._random = space, random.Random(seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The learning rate, from the first trial on."""
        return {"lr": FloatDistribution(self._space.lr_low, self._space.lr_high, log=True)}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next step beyond the best, or what TPE takes for promising."""
        entries = [_entry(one) for one in study.get_trials(deepcopy=False) if one.number != trial.number]
        known = [one for one in entries if one.lr is not None]
        tried = {one.lr: one.loss for one in known if one.lr and one.state in ("finished", "stopped_early")}
        under_way = {one.lr for one in known if one.lr and one.state in ("running", "waiting")}
        low, high = self._space.lr_low, self._space.lr_high
        outside = next_outside(tried, under_way, low, high)
        if outside is not None:
            return {"lr": outside}
        losses = {lr: loss for lr, loss in tried.items() if loss is not None}
        if losses:
            best = min(losses, key=losses.__getitem__)
            low, high = max(low, best / AROUND), min(high, best * AROUND)
        for _ in range(_MAX_DRAWS):
            lr = super().sample_relative(study, trial, search_space).get("lr")
            if lr is not None and low <= lr <= high:
                return {"lr": lr}
        return {"lr": math.exp(self._random.uniform(math.log(low), math.log(high)))}


def _pruner(space: Space) -> optuna.pruners.BasePruner:
    if not space.stops_early:
        return optuna.pruners.NopPruner()
    warmup = int(_PRUNING_FRAC * space.proxy_samples)
    return optuna.pruners.MedianPruner(n_startup_trials=MIN_KNOWN, n_warmup_steps=warmup, n_min_trials=3)


# ---- storage ------------------------------------------------------------------------------------


class _Database(RDBStorage):
    """Optuna's, whose thread of heartbeats would end with the first one that is not heard."""

    def record_heartbeat(self, trial_id: int) -> None:
        """Say that the trial is alive; the next heartbeat makes up for one that failed."""
        with contextlib.suppress(*_STORAGE_FAILURES):
            super().record_heartbeat(trial_id)


def _storage(place: Place) -> RDBStorage:
    """The database; two programs that create its tables at once disturb each other, so it is tried again."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    database.require_database(place.url)
    address = database.address(place.url)
    for attempt in range(_MAX_OPENINGS):
        try:
            storage = _Database(
                database.optuna_url(address.render_as_string(hide_password=False)),
                engine_kwargs=database.engine_options(address),
                heartbeat_interval=place.heartbeat_s,
                grace_period=place.grace_s,
                heartbeat_stale_trial_callback=_wait_again,
            )
            database.wait_while_away(storage.engine)
            weakref.finalize(storage, storage.engine.dispose)
            return storage
        except _STORAGE_FAILURES:
            if attempt == _MAX_OPENINGS - 1:
                raise
            time.sleep(0.2 * 2**attempt)
    raise AssertionError("not reached: the last attempt returns or raises")


def _asked(question: Callable[[], _Answer]) -> _Answer:
    """The answer to what may be asked twice; it is, if the connection was cut in the middle."""
    began_s = time.monotonic()
    try:
        return question()
    except _STORAGE_FAILURES:
        if time.monotonic() - began_s > database.AWAY_S:  # it has been waited for
            raise
        return question()


@contextlib.contextmanager
def _storage_errors(url: str) -> Iterator[None]:
    try:
        yield
    except _STORAGE_FAILURES as error:
        raise StorageError(
            f"the study in {database.shown(url)} cannot be used: {database.reason(error)}. What has ended is kept:"
            " the same command goes on with the rest"
        ) from None


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Heartbeats and the retry are marked experimental; they are what this file is about."""
    with _FILTERS, warnings.catch_warnings():  # filters are of the whole process: one thread at a time
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
