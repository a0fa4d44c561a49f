"""The database of a study by its URL: its driver, what is shown of it, and what a process on it is called."""

import importlib.util
import os
import shlex
import subprocess
from pathlib import Path

import optuna
import psutil
import pytest
import sqlalchemy

from advisor.errors import StorageError, UsageError
from advisor.refine import process_name
from advisor.refine.database import address, dashboard_command, file_url, require_database, shown, wait_while_away
from advisor.refine.study import Place, Space, open_study


@pytest.fixture
def drivers(monkeypatch):
    """The modules that are installed, as far as can be seen."""
    found: set[str] = set()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in found else None)
    return found


@pytest.mark.parametrize(
    ("url", "installed", "name"),
    [
        ("postgresql://me@host/db", {"psycopg", "psycopg2"}, "postgresql+psycopg"),
        ("postgresql://me@host/db", {"psycopg2"}, "postgresql+psycopg2"),
        ("mysql://me@host/db", {"pymysql"}, "mysql+pymysql"),
        ("mariadb://me@host/db", {"MySQLdb"}, "mariadb+mysqldb"),
        ("postgresql+psycopg2://me@host/db", {"psycopg"}, "postgresql+psycopg2"),
        ("sqlite:///refine.db", set(), "sqlite"),
    ],
)
def test_a_url_without_a_driver_takes_one_that_is_installed(drivers, url, installed, name):
    drivers |= installed
    assert address(url).drivername == name


@pytest.mark.parametrize(("kind", "extra"), [("postgresql", "postgresql"), ("mysql", "mysql"), ("mariadb", "mysql")])
def test_without_a_driver_the_extra_that_brings_one_is_named(drivers, kind, extra):
    with pytest.raises(UsageError, match=rf'pip install "cfgadvise\[{extra}\]"') as caught:
        address(f"{kind}://me:secret@host/db")
    assert "secret" not in str(caught.value)


def test_a_driver_that_is_named_and_not_there_is_no_storage_that_is_down():
    with pytest.raises(UsageError, match=r"No module named 'psycopg2cffi'.*cfgadvise\[postgresql\]"):
        require_database("postgresql+psycopg2cffi://me:secret@host/db")


@pytest.mark.parametrize(
    "url", ["", "nonsense", "postgres://me:secret@h/db", "postgresql://me:secret", "mysql://h:x/d"]
)
def test_what_is_no_url_of_a_database_is_refused_without_repeating_it(url):
    with pytest.raises(UsageError, match="no URL of a database") as caught:
        address(url)
    assert "secret" not in str(caught.value)


def test_an_at_sign_in_a_password_is_not_taken_for_a_host():
    with pytest.raises(UsageError, match="@ is written %40") as caught:
        address("postgresql+psycopg://me:sec@ret@host/db")
    assert "ret@host" not in str(caught.value)
    assert address("postgresql+psycopg://me:sec%40ret@host/db").password == "sec@ret"


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("postgresql+psycopg://me:secret@host:5433/db", "postgresql+psycopg://me@host:5433/db"),
        ("postgresql+psycopg://host/db?password=secret&user=me", "postgresql+psycopg://host/db?user=me"),
        ("mysql+pymysql://me:s%7Be%7D@host/db?charset=utf8mb4", "mysql+pymysql://me@host/db?charset=utf8mb4"),
        ("sqlite:////home/me@work/refine.db", "sqlite:////home/me@work/refine.db"),
    ],
)
def test_what_is_shown_has_no_password_and_is_a_url(url, bare):
    assert address(shown(url)) == address(bare)
    assert shown(url) == shown(bare)


def test_the_file_of_a_study_may_lie_anywhere(tmp_path: Path):
    strange = tmp_path / "a b%41{c}@d"
    strange.mkdir()
    url = file_url(strange / "refine.db")
    open_study(Place(url=url, name="one"), Space(lr_low=1e-6, lr_high=1.0, proxy_samples=400, stops_early=True), [])
    assert [one.name for one in strange.iterdir()] == ["refine.db"]
    program, told = shlex.split(dashboard_command(url))
    assert program == "optuna-dashboard"
    assert optuna.load_study(study_name="one", storage=told).metric_names == ["validation loss"]


def test_a_server_that_is_away_is_waited_for_and_one_that_never_was_is_not(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("advisor.refine.database._AGAIN_S", 0.01)
    folder = tmp_path / "away"
    url = file_url(folder / "refine.db")
    with pytest.raises(StorageError, match="unable to open database file"):
        require_database(url)
    engine = sqlalchemy.create_engine(url)
    wait_while_away(engine)
    monkeypatch.setattr("time.sleep", lambda _: folder.mkdir(exist_ok=True))
    engine.connect().close()
    engine.dispose()


# ---- processes ----------------------------------------------------------------------------------


def test_a_process_has_one_name_until_it_ends():
    with subprocess.Popen(["sleep", "60"]) as child:
        name = process_name.process_name(child.pid)
        assert name == process_name.process_name(child.pid) != process_name.process_name()
        assert not process_name.is_gone(name)
        child.kill()
    assert process_name.is_gone(name)


def test_a_clock_that_is_set_kills_nobody(monkeypatch):
    """A process's start is counted from a boot time that moves with the clock."""
    name = process_name.process_name()
    start_s = psutil.Process().create_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: start_s + 5)
    assert process_name.process_name() != name
    assert not process_name.is_gone(name)
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: start_s + 3600)  # its number is another's now
    assert process_name.is_gone(name)


def test_a_machine_of_the_same_name_is_another_machine(monkeypatch, tmp_path):
    """Cloned machines and containers may all be called the same: what runs there is not dead because it is not here."""
    here = process_name.process_name()
    assert int(here.rsplit(":", 2)[1]) == os.getpid()
    boot = tmp_path / "boot_id"
    boot.write_text("another")
    monkeypatch.setattr(process_name, "_BOOT", boot)
    process_name._machine.cache_clear()
    there = process_name.process_name().replace(f":{os.getpid()}:", ":999999999:")
    monkeypatch.undo()
    process_name._machine.cache_clear()
    assert there.split("/")[0] == here.split("/")[0]
    assert not process_name.is_gone(there)
    assert process_name.is_gone(here.replace(f":{os.getpid()}:", ":999999999:"))
