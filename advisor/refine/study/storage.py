"""Where a study is kept: Optuna's storage over a database, and what to say where it cannot be used."""

import contextlib
import json
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import optuna
import sqlalchemy.exc
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import TrialState

from advisor.errors import StorageError
from advisor.records import record
from advisor.refine import database
from advisor.refine.process_name import process_name
from advisor.refine.study.attempts import wait_again

_MAX_OPENINGS = 4
_FILTERS = threading.RLock()
_Answer = TypeVar("_Answer")
_FAILURES = (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)


@record
class Place:
    """Where a study is kept, and how soon a silent worker counts as dead."""

    url: str
    name: str
    heartbeat_s: int = 60
    grace_s: int = 300


class _Database(RDBStorage):
    """Optuna's, with two gaps closed through which a dead worker's slot would not be missed for a while.

    A slot that is taken would have neither a worker's name nor a heartbeat until the next two writes, and the thread
    of heartbeats would end with the first one that is not heard.
    """

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Take a slot, or end one; who takes it leaves a name and a first heartbeat in the same transaction."""
        if state == TrialState.RUNNING:
            session = self.scoped_session()  # this thread's, in which Optuna goes on and which it commits
            try:
                trial = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
                if trial.state == TrialState.WAITING:
                    name = json.dumps(process_name())
                    session.add(models.TrialUserAttributeModel(trial_id=trial_id, key="worker", value_json=name))
                    session.add(models.TrialHeartbeatModel(trial_id=trial_id))
            except BaseException:
                session.close()
                raise
        return super().set_trial_state_values(trial_id, state, values)

    def record_heartbeat(self, trial_id: int) -> None:
        """Say that the trial is alive; the next heartbeat makes up for one that failed."""
        with contextlib.suppress(*_FAILURES):
            super().record_heartbeat(trial_id)


def open_storage(place: Place) -> RDBStorage:
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
                heartbeat_stale_trial_callback=wait_again,
            )
            database.wait_while_away(storage.engine)
            database.lock_before_reading(storage.engine)
            weakref.finalize(storage, storage.engine.dispose)
            return storage
        except _FAILURES:
            if attempt == _MAX_OPENINGS - 1:
                raise
            time.sleep(0.2 * 2**attempt)
    raise AssertionError("not reached: the last attempt returns or raises")


def asked(question: Callable[[], _Answer]) -> _Answer:
    """The answer to what may be asked twice; it is, if the connection was cut in the middle."""
    began_s = time.monotonic()
    try:
        return question()
    except _FAILURES:
        if time.monotonic() - began_s > database.AWAY_S:  # it has been waited for
            raise
        return question()


@contextlib.contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn what a database raises under this context into an error of ours, without the password."""
    try:
        yield
    except _FAILURES as error:
        raise StorageError(
            f"the study in {database.shown(url)} cannot be used: {database.reason(error)}. What has ended is kept:"
            " the same command goes on with the rest"
        ) from None


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Heartbeats and the retry are marked experimental; they are what this package is about."""
    with _FILTERS, warnings.catch_warnings():  # filters are of the whole process: one thread at a time
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
