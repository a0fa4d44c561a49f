"""Several workers on one study: nothing is lost and nothing counts twice, whoever is killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import unlucky_worker
from cheap_objective import FLOOR
from watched_search import pid_of, start, study_of, task, trained, wait_for

from advisor import schema
from advisor.errors import CfgadviseError, StorageError, UsageError
from advisor.refine.database import file_url
from advisor.refine.outcome import measured_lr
from advisor.refine.records import Slot
from advisor.refine.search import refine
from advisor.refine.study import Place, Space, open_study
from advisor.refine.verdict import counted

SPAWN = multiprocessing.get_context("spawn")
SPACE = Space(lr_low=1e-5, lr_high=1e-1, proxy_samples=10, stops_early=False)


def test_from_far_off_it_finds_the_optimum_and_from_there_it_keeps_it(tmp_path):
    far = task(tmp_path, trials=10, lr=1e-3 / 8, noise=0.002)
    found = refine(far)
    assert found.conclusion == "better"
    assert min(one.loss for one in found.trials) < FLOOR * 1.03
    assert 0.7e-3 < found.lr < 1.5e-3
    claim = measured_lr(found)
    assert (claim.basis, claim.value, claim.high) == ("measured", found.lr, 2 * found.lr)
    assert claim.low == pytest.approx(found.lr / 2)
    near = task(tmp_path, trials=8, noise=0.002)
    kept = refine(near)
    assert (kept.conclusion, kept.lr) == ("no_difference", 1e-3)
    assert all(one.gain is None or one.gain < 0.005 or one.gain_low <= 0 for one in kept.finalists)


def test_the_same_task_again_trains_nothing(tmp_path):
    log = tmp_path / "log"
    wanted = task(tmp_path, log=str(log))
    first = refine(wanted)
    lines = log.read_text()
    again = refine(wanted)
    assert log.read_text() == lines
    assert again.trials == first.trials
    assert again.finalists == first.finalists


def test_workers_that_reach_for_a_slot_at_once_do_not_both_train_it(tmp_path):
    place = Place(url=file_url(tmp_path / "refine.db"), name="race")
    study = open_study(place, SPACE, [Slot(id=f"slot-{k}", lr=1e-3, seed=k) for k in range(6)])
    ready, trained_seeds = SPAWN.Barrier(2), SPAWN.SimpleQueue()
    workers = [
        SPAWN.Process(target=unlucky_worker.hesitate, args=(place, SPACE, ready, trained_seeds)) for _ in range(2)
    ]
    for one in workers:
        one.start()
    for one in workers:
        one.join(120)
    assert [one.exitcode for one in workers] == [0, 0]
    seeds = []
    while not trained_seeds.empty():
        seeds.append(trained_seeds.get())
    assert sorted(seeds) == list(range(6))
    assert len(counted(study.entries())) == 6


@pytest.mark.kill
def test_a_worker_that_dies_as_soon_as_it_has_a_slot_is_missed_at_once(tmp_path):
    place = Place(url=file_url(tmp_path / "refine.db"), name="death")
    study = open_study(place, SPACE, [Slot(id="slot-0", lr=1e-3, seed=0)])
    worker = SPAWN.Process(target=unlucky_worker.die, args=(place, SPACE))
    worker.start()
    worker.join(60)
    assert [one.state for one in study.entries()] == ["running"]
    study.release_dead()
    assert [one.state for one in study.entries()] == ["failed", "waiting"]


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """While this file is there, every training waits before its end."""
    path = tmp_path / "hold"
    path.touch()
    return path


@pytest.mark.kill
def test_a_killed_worker_loses_nothing_and_nothing_counts_twice(tmp_path, hold):
    wanted = task(tmp_path, trials=8, workers=3, hold=str(hold))
    thread, found = start(wanted)
    victim = trained(wait_for(wanted, lambda entries: bool(trained(entries))))[0]
    os.kill(pid_of(victim), signal.SIGKILL)
    wait_for(wanted, lambda entries: [one.number for one in entries if one.state == "failed"] == [victim.number])
    hold.unlink()
    thread.join(120)
    entries = study_of(wanted).entries()
    assert [one.number for one in entries if one.state == "failed" and one.slot] == [victim.number]
    assert len(counted(entries)) == 8 == len({one.slot for one in entries if one.slot})
    again = [one for one in counted(entries) if one.slot == victim.slot]
    assert [one.lr for one in again] == [victim.lr], "the same training, done again"
    assert (found[0].num_retried, found[0].num_left_out) == (1, 0)


@pytest.mark.kill
def test_everything_killed_goes_on_where_it_was(tmp_path, hold):
    log = tmp_path / "log"
    wanted = task(tmp_path, trials=6, workers=2, log=str(log), hold=str(hold))
    script = (
        "from advisor.refine.search import Task, refine\nfrom advisor import schema\nimport sys\n"
        "refine(schema.from_json(Task, sys.stdin.read(), where='task'))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, text=True) as process:
        process.stdin.write(schema.to_json(wanted))
        process.stdin.close()
        wait_for(wanted, lambda entries: bool(trained(entries)))
        hold.unlink()
        wait_for(wanted, lambda entries: bool(counted(entries)))
        hold.touch()
        entries = wait_for(wanted, lambda entries: bool(trained(entries)) or len(counted(entries)) == 6)
        process.kill()
    workers = [psutil.Process(pid_of(one)) for one in trained(entries) if psutil.pid_exists(pid_of(one))]
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive, "workers end with their parent"
    ended = {one.slot: one.loss for one in counted(study_of(wanted).entries())}
    hold.unlink()
    found = refine(wanted)
    after = {one.slot: one.loss for one in counted(study_of(wanted).entries())}
    assert ended.items() <= after.items()
    assert len(after) == 6
    assert found.conclusion in ("better", "no_difference")
    kinds = [line.split()[0] for line in log.read_text().splitlines()]
    unended = kinds.count("start") - kinds.count("end") - sum(one.stopped_early for one in found.trials)
    assert unended <= 2, "only what the two workers were at is done again"


@pytest.mark.kill
def test_a_worker_that_falls_silent_is_replaced_and_its_late_answer_does_not_count(tmp_path, hold):
    wanted = task(tmp_path, trials=5, workers=2, hold=str(hold), heartbeat_s=1, grace_s=5)
    thread, found = start(wanted)
    silent = trained(wait_for(wanted, lambda entries: len(trained(entries)) == 2))[0]
    os.kill(pid_of(silent), signal.SIGSTOP)
    hold.unlink()
    wait_for(wanted, lambda entries: any(one.number == silent.number and one.state == "failed" for one in entries))
    os.kill(pid_of(silent), signal.SIGCONT)
    thread.join(120)
    entries = study_of(wanted).entries()
    assert len(counted(entries)) == 5
    assert next(one.state for one in entries if one.number == silent.number) == "failed"
    assert found[0].num_retried == 1


def test_what_a_training_raises_is_the_answer(tmp_path):
    with pytest.raises(CfgadviseError, match="upside down"):
        refine(task(tmp_path, factory="fail"))


@pytest.mark.parametrize(
    ("storage", "error", "message"),
    [
        ("nonsense", UsageError, "write it like sqlite"),
        ("sqlite:////no/such/folder/refine.db", StorageError, "cannot be used"),
        ("postgresql+psycopg2cffi://me:secret@nowhere/db", UsageError, "driver"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_message_without_the_password(tmp_path, storage, error, message):
    with pytest.raises(error, match=message) as caught:
        refine(task(tmp_path, storage=storage))
    assert "secret" not in str(caught.value)


def test_time_that_is_up_leaves_slots_for_another_day(tmp_path):
    wanted = task(tmp_path, trials=9, workers=1, ends_after_s=0.0)
    found = refine(wanted)
    assert len(found.trials) == 5, "fewer could not tell a factor of 2"
    assert found.num_left_out == 4
    assert found.conclusion == "unfinished"
