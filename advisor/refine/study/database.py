"""Where a study is kept: the database, and what to say where it cannot be used."""

import contextlib
import threading
import time
import warnings
from collections.abc import Iterator

import optuna
import sqlalchemy.exc
from optuna.storages import RDBStorage

from advisor.errors import StorageError, UsageError
from advisor.records import record
from advisor.refine.study.attempts import wait_again

_LOCKED_S = 60.0  # how long SQLite waits for another worker's write
_MAX_OPENINGS = 4
_FILTERS = threading.RLock()


@record
class Place:
    """Where a study is kept, and how soon a silent worker counts as dead."""

    url: str
    name: str
    heartbeat_s: int = 60
    grace_s: int = 300


def open_database(place: Place) -> RDBStorage:
    """The database; two programs that create its tables at once disturb each other, so it is tried again."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    is_sqlite = place.url.startswith("sqlite:")
    for attempt in range(_MAX_OPENINGS):
        try:
            return RDBStorage(
                place.url,
                engine_kwargs={"connect_args": {"timeout": _LOCKED_S}} if is_sqlite else {"pool_pre_ping": True},
                heartbeat_interval=place.heartbeat_s,
                grace_period=place.grace_s,
                heartbeat_stale_trial_callback=wait_again,
            )
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError):
            if attempt == _MAX_OPENINGS - 1:
                raise
            time.sleep(0.2 * 2**attempt)
    raise AssertionError("not reached: the last attempt returns or raises")


@contextlib.contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn what a database raises under this context into an error of ours, without user and password."""
    shown = url.rpartition("@")[2]
    try:
        yield
    except ImportError as error:
        driver = str(error).partition("\n")[0]
        raise UsageError(f"--storage {shown}: the driver of this database is missing ({driver})") from None
    except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError) as error:
        raise UsageError(
            f"--storage {shown}: {error}; write it like sqlite:///refine.db or postgresql://user@host/name"
        ) from None
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise StorageError(f"the study in {shown} cannot be used: {reason}") from None


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Heartbeats and the retry are marked experimental; they are what this package is about."""
    with _FILTERS, warnings.catch_warnings():  # filters are of the whole process: one thread at a time
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
