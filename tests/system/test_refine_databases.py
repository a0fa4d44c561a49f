"""A search in PostgreSQL and MySQL: several commands share one study, and neither workers nor the server need last.

Every database is a server of our own, started in an empty folder; without its programs or its driver, the tests skip.
"""

import importlib.util
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from private_database import PASSWORD, MariaDB, PostgreSQL, Server, running
from watched_search import pid_of, start, study_of, task, trained, wait_for

from advisor.errors import StorageError
from advisor.refine import database
from advisor.refine.records import Entry
from advisor.refine.search import Task, refine
from advisor.refine.verdict import counted

pytestmark = [pytest.mark.slow, pytest.mark.kill]


@pytest.fixture(scope="module", params=[(PostgreSQL, "psycopg"), (MariaDB, "pymysql")], ids=["postgresql", "mysql"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    kind, driver = request.param
    if missing := kind.missing():
        pytest.skip(f"not installed: {', '.join(missing)}")
    if importlib.util.find_spec(driver) is None:
        pytest.skip(f"its driver {driver} is not installed: pip install 'cfgadvise[{kind.kind}]'")
    with running(kind) as found:
        yield found


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """While this file is there, every training waits before its end."""
    path = tmp_path / "hold"
    path.touch()
    return path


def of(server: Server, hold: Path, **more) -> Task:
    """A search of which no other test knows: the path of ``hold`` is part of what it is."""
    return task(hold.parent, trials=5, storage=server.url(), hold=str(hold), **more)


def failed(entries: list[Entry]) -> list[int]:
    return [one.number for one in entries if one.state == "failed" and one.slot]


def test_two_commands_share_a_study_and_a_killed_worker_loses_nothing(server, hold):
    wanted = of(server, hold)
    commands = [start(wanted) for _ in range(2)]
    victim = trained(wait_for(wanted, lambda entries: len(trained(entries)) == 4))[0]
    os.kill(pid_of(victim), signal.SIGKILL)
    wait_for(wanted, lambda entries: failed(entries) == [victim.number])
    hold.unlink()
    for thread, _ in commands:
        thread.join(120)
    entries = study_of(wanted).entries()
    assert failed(entries) == [victim.number]
    assert len(counted(entries)) == 5 == sum(one.state in ("finished", "stopped_early") for one in entries)
    assert [one.lr for one in counted(entries) if one.slot == victim.slot] == [victim.lr], "the same training again"
    assert commands[0][1][0].finalists == commands[1][1][0].finalists, "both give the same answer"


def test_a_worker_that_falls_silent_is_replaced_by_the_clock_of_the_database(server, hold):
    wanted = of(server, hold, heartbeat_s=1, grace_s=5)
    thread, found = start(wanted)
    silent = trained(wait_for(wanted, lambda entries: len(trained(entries)) == 2))[0]
    os.kill(pid_of(silent), signal.SIGSTOP)
    hold.unlink()
    wait_for(wanted, lambda entries: failed(entries) == [silent.number])
    os.kill(pid_of(silent), signal.SIGCONT)
    thread.join(120)
    assert failed(study_of(wanted).entries()) == [silent.number]
    assert len(counted(study_of(wanted).entries())) == 5
    assert found[0].num_retried == 1


def test_a_server_that_is_restarted_is_waited_for(server, hold):
    log = hold.with_name("log")
    wanted = of(server, hold, heartbeat_s=1, grace_s=60, log=str(log))
    thread, found = start(wanted)
    wait_for(wanted, lambda _: log.exists() and log.read_text().count("wait") == 2)
    server.stop()
    time.sleep(3)
    server.start()
    hold.unlink()
    thread.join(120)
    assert (len(found[0].trials), found[0].num_retried) == (5, 0)


def test_a_server_that_stays_away_ends_the_search_and_the_same_task_goes_on(server, hold, monkeypatch):
    monkeypatch.setattr(database, "AWAY_S", 1.0)
    wanted = of(server, hold, heartbeat_s=1, grace_s=10)  # a worker may be cut off before it has given its name

    def cut() -> None:
        hold.unlink()
        wait_for(wanted, lambda entries: len(counted(entries)) >= 2)
        server.stop()

    cutter = threading.Thread(target=cut)
    cutter.start()
    with pytest.raises(StorageError, match="the same command goes on") as caught:
        refine(wanted)
    cutter.join(60)
    server.start()
    assert PASSWORD not in str(caught.value)
    before = {one.number: one.loss for one in counted(study_of(wanted).entries())}
    found = refine(wanted)
    after = {one.number: one.loss for one in counted(study_of(wanted).entries())}
    assert before.items() <= after.items()
    assert len(before) >= 2
    assert len(after) == 5
    assert found.conclusion == "no_difference"


def test_who_is_not_let_in_is_told_so_without_the_password(server, hold):
    with pytest.raises(StorageError, match="are host, user, password and name right") as caught:
        refine(task(hold.parent, storage=server.url("wrong")))
    assert "wrong" not in str(caught.value)
