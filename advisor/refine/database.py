"""The database of a study, named by a URL: which driver speaks to it, how it is shown, how long it may be away.

Any program that a URL is shown to, or written for, gets it without its password.
"""

import importlib.util
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy
import sqlalchemy.event
import sqlalchemy.exc

from advisor.errors import StorageError, UsageError

AWAY_S = 120.0  # how long a server may be away: a restart or a failover; less than the grace of a silent worker
_AGAIN_S = 1.0
_LOCKED_S = 60.0  # how long SQLite waits for another worker's write
# What a URL without a driver takes, the one of our extra first: SQLAlchemy 2.0 and 2.1 do not agree on a default.
_POSTGRESQL = {"psycopg": "psycopg", "psycopg2": "psycopg2"}
_MYSQL = {"pymysql": "pymysql", "mysqldb": "MySQLdb"}
_MODULES: Mapping[str, Mapping[str, str]] = {"postgresql": _POSTGRESQL, "mysql": _MYSQL, "mariadb": _MYSQL}
_EXTRAS = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}
# A lost network says nothing, and the drivers would listen to it for a quarter of an hour or longer.
_LIBPQ = {"connect_timeout": 10, "keepalives_idle": 30, "tcp_user_timeout": 60_000}
_MYSQL_CLIENT = {"connect_timeout": 10, "read_timeout": 60, "write_timeout": 60}
_TIMEOUTS: Mapping[str, Mapping[str, int]] = {
    **dict.fromkeys(_POSTGRESQL, _LIBPQ),
    **dict.fromkeys(_MYSQL, _MYSQL_CLIENT),
}


def file_url(path: Path) -> str:
    """The URL of an SQLite database in a file, whatever its path contains."""
    return sqlalchemy.URL.create("sqlite", database=str(path.resolve())).render_as_string()


def address(url: str) -> sqlalchemy.URL:
    """The URL in parts, with a driver that is installed if it names none.

    Raises:
        UsageError: if it is no URL of a database, or no driver is installed.
    """
    try:
        found = sqlalchemy.make_url(url)
        found.get_dialect()
    except (sqlalchemy.exc.ArgumentError, ValueError):  # ValueError: a port that is no number
        raise UsageError(
            f"--storage {url.partition(':')[0]} is no URL of a database that is known; write it like"
            " sqlite:///refine.db or postgresql://user@host/name"
        ) from None
    if "@" in (found.host or ""):
        raise UsageError("--storage: in a user's name or password, @ is written %40, : is %3A, / is %2F and % is %25")
    modules = _MODULES.get(found.drivername)  # of a URL that names its driver, the name has a plus
    if modules is None:
        return found
    driver = next((name for name, module in modules.items() if importlib.util.find_spec(module)), None)
    if driver is None:
        raise UsageError(f"--storage {shown(found)}: {_missing(found)}")
    return found.set(drivername=f"{found.drivername}+{driver}")


def shown(url: str | sqlalchemy.URL) -> str:
    """The URL without its password, as other programs take it: the password comes from where their driver looks."""
    found = address(url) if isinstance(url, str) else url
    # Not set(password=None), which means "leave it".
    bare = sqlalchemy.URL.create(
        found.drivername,
        found.username,
        host=found.host,
        port=found.port,
        database=found.database,
        query={name: value for name, value in found.query.items() if "passw" not in name},
    )
    return bare.render_as_string()


def optuna_url(url: str) -> str:
    """The URL as Optuna takes it, which fills in what stands in braces; newer SQLAlchemy leaves none."""
    return url.replace("{", "{{").replace("}", "}}")


def dashboard_command(url: str) -> str:
    """What shows the study in a browser."""
    return f"optuna-dashboard {shlex.quote(optuna_url(shown(url)))}"


def engine_options(found: sqlalchemy.URL) -> dict[str, Any]:
    """How SQLAlchemy is to speak to it."""
    if _is_file(found):
        return {"connect_args": {"timeout": _LOCKED_S, "isolation_level": None}}  # begun by lock_before_reading()
    timeouts = _TIMEOUTS.get(found.drivername.rpartition("+")[2], {})
    return {
        "connect_args": {name: value for name, value in timeouts.items() if name not in found.query},
        "pool_pre_ping": True,  # a connection that was cut while a training ran is made anew
    }


def require_database(url: str) -> None:
    """Connect once.

    Raises:
        UsageError: if it is no URL of a database, or its driver is not installed.
        StorageError: if there is no answer, or the user is not let in.
    """
    found = address(url)
    try:
        sqlalchemy.create_engine(found, **{**engine_options(found), "poolclass": sqlalchemy.NullPool}).connect().close()
    except ImportError as error:
        raise UsageError(f"--storage {shown(found)}: {_missing(found, error)}") from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        hint = (
            "does its folder exist" if _is_file(found) else "is it running, and are host, user, password and name right"
        )
        raise StorageError(f"the database {shown(found)} cannot be used: {reason(error)}; {hint}?") from None


def wait_while_away(engine: sqlalchemy.Engine) -> None:
    """From now on, a connection that cannot be made is tried again for a while: a server may be restarted."""

    @sqlalchemy.event.listens_for(engine, "do_connect")
    def connect(dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        until_s = time.monotonic() + AWAY_S
        while True:
            try:
                return dialect.connect(*arguments, **options)
            except dialect.loaded_dbapi.OperationalError:
                if time.monotonic() > until_s:
                    raise
                time.sleep(_AGAIN_S)


def lock_before_reading(engine: sqlalchemy.Engine) -> None:
    """From now on, a transaction on SQLite has the file for itself from its first statement.

    SQLite has no ``SELECT ... FOR UPDATE``, and Python's driver begins a transaction at the first write only: two
    workers would both read that a slot waits, and both take it.
    """
    if _is_file(engine.url):
        sqlalchemy.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))


def reason(error: BaseException) -> str:
    """What the driver says, in one line."""
    while not hasattr(error, "orig") and error.__cause__ is not None:
        error = error.__cause__
    said = str(getattr(error, "orig", None) or error).strip()
    return said.partition("\n")[0].rstrip(".")


def _is_file(found: sqlalchemy.URL) -> bool:
    return found.get_backend_name() == "sqlite"


def _missing(found: sqlalchemy.URL, error: Exception | None = None) -> str:
    kind = found.get_backend_name()
    said = "no driver for it is installed" if error is None else f"its driver is not installed ({error})"
    if kind not in _EXTRAS:
        return said
    return f'{said}: pip install "cfgadvise[{_EXTRAS[kind]}]", and name none in the URL: {kind}://user@host/name'
