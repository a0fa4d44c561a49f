"""Trackers get the numbers of a run; one that fails is told once and left out."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from small_run import small_config

from advisor.errors import UsageError
from trainer.journal import Journal
from trainer.tracking import Tracking, require_tracker


class Recorder:
    """A tracker that writes down what it is told, and fails from the given call on."""

    def __init__(self, fails_at: int = 10**9) -> None:
        self.calls: list[tuple] = []
        self._fails_at = fails_at

    def _note(self, *call) -> None:
        self.calls.append(call)
        if len(self.calls) >= self._fails_at:
            raise ConnectionError("the server is gone\nand more")

    def start(self):
        self._note("start")

    def store_init_configuration(self, values):
        self._note("configuration", values)

    def log(self, values, step):
        self._note("log", values, step)

    def finish(self):
        self._note("finish")


def log(folder: Path, tracking: Tracking) -> list[dict]:
    journal = Journal(folder, 0, tracking)
    for k in (1, 2, 3):
        journal.metric("train", 16 * k, loss=0.5 / k, step=k, name="text", missing=None, bad=float("nan"))
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def metrics(folder: Path, tracking: Tracking) -> list[dict]:
    logged = log(folder, tracking)
    tracking.close(patience_s=30)
    return logged


def test_a_tracker_gets_numbers_at_their_place_in_samples(tmp_path):
    tracker, notes = Recorder(), []
    tracking = Tracking(lambda: tracker, "recorder", notes.append)
    tracking.configuration(small_config())
    metrics(tmp_path, tracking)
    assert [call[0] for call in tracker.calls] == ["start", "configuration", "log", "log", "log", "finish"]
    assert tracker.calls[3] == ("log", {"train/loss": 0.25, "train/step": 2.0}, 32)
    assert tracker.calls[1][1]["ema_half_lives_samples"] == "[80, 160]"
    assert notes == []


@pytest.mark.parametrize("fails_at", [1, 2, 4, 6])
def test_a_tracker_that_fails_is_told_once_and_stops_nothing(tmp_path, fails_at):
    tracker, notes = Recorder(fails_at), []
    tracking = Tracking(lambda: tracker, "recorder", notes.append)
    tracking.configuration(small_config())
    assert [line["samples"] for line in metrics(tmp_path, tracking)] == [16, 32, 48]
    assert [note.id for note in notes] == ["tracker_failed"]
    assert notes[0].values == {"name": "recorder", "problem": "the server is gone"}
    assert len(tracker.calls) == fails_at  # it is left alone afterwards


def test_a_tracker_that_cannot_be_made_is_told_too(tmp_path):
    def broken():
        raise ImportError("no such library")

    notes = []
    assert len(metrics(tmp_path, Tracking(broken, "recorder", notes.append))) == 3
    assert [note.values["problem"] for note in notes] == ["no such library"]


@pytest.mark.parametrize("hangs_at", ["start", "configuration", "log", "finish"])
def test_a_tracker_that_hangs_holds_up_nothing(tmp_path, hangs_at):
    freed, notes = threading.Event(), []

    class Hanging(Recorder):
        def _note(self, *call) -> None:
            super()._note(*call)
            if call[0] == hangs_at:
                freed.wait()

    tracking = Tracking(Hanging, "recorder", notes.append)
    tracking.configuration(small_config())
    assert len(log(tmp_path, tracking)) == 3
    tracking.close(patience_s=0.05)
    freed.set()
    assert [(note.id, note.values) for note in notes] == [("tracker_hangs", {"name": "recorder", "patience_s": 0.05})]


def test_a_tracker_that_leaves_the_program_leaves_alone(tmp_path):
    def leaves():
        raise SystemExit(1)

    notes = []
    assert len(metrics(tmp_path, Tracking(leaves, "recorder", notes.append))) == 3
    assert [note.id for note in notes] == ["tracker_failed"]


def test_an_unknown_or_missing_tracker_is_refused_before_anything_is_trained(monkeypatch):
    with pytest.raises(UsageError, match="did you mean 'tensorboard'"):
        require_tracker("tensorbord")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs accelerate and wandb: pip install accelerate wandb$"):
        require_tracker("wandb")


# ---- the real ones, where they are installed ----------------------------------------------------

LOSSES = [(16, 0.5), (32, 0.25), (48, 0.167)]


SCRIPT = """
import sys
from pathlib import Path
from small_run import small_config
from trainer.tracking import tracked
say = lambda said: print(said.text, file=sys.stderr)
with tracked(sys.argv[1], Path(sys.argv[2]), small_config(), say, patience_s=240) as tracking:
    for samples, loss in ((16, 0.5), (32, 0.25), (48, 0.167)):
        tracking.metric("train", samples, {"loss": loss, "name": "text", "missing": None})
"""


@pytest.fixture
def tracks(tmp_path, monkeypatch):
    """Logs with a tracker in a process of its own; all of its files are in the run folder, and stdout is empty."""
    pytest.importorskip("accelerate")
    for name in ("TRACKIO_DIR", "WANDB_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    fakes = Path(__file__).resolve().parents[1] / "fakes"
    monkeypatch.setenv("PYTHONPATH", f"{os.environ['PYTHONPATH']}{os.pathsep}{fakes}")
    run = tmp_path / "run"
    run.mkdir()

    def track(name: str) -> Path:
        pytest.importorskip(name)
        done = subprocess.run([sys.executable, "-c", SCRIPT, name, str(run)], capture_output=True, text=True)
        assert done.returncode == 0 and "is left" not in done.stderr, done.stderr
        assert done.stdout == ""
        assert list(Path.cwd().iterdir()) == []
        return run

    return track


def test_tensorboard_reads_what_was_logged(tracks):
    run = tracks("tensorboard")
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (folder,) = {path.parent for path in (run / "tensorboard" / "run").glob("events*")}
    events = loading.EventAccumulator(str(folder))
    events.Reload()
    assert [(one.step, round(one.value, 3)) for one in events.Scalars("train/loss")] == LOSSES


def test_trackio_reads_what_was_logged(tracks):
    with contextlib.closing(sqlite3.connect(tracks("trackio") / "trackio" / "run.db")) as base:
        rows = [(step, json.loads(values)) for step, values in base.execute("select step, metrics from metrics")]
    assert [(step, values["train/loss"]) for step, values in rows] == LOSSES


def test_wandb_has_what_was_logged(tracks, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    (file,) = (tracks("wandb") / "wandb").glob("offline-run-*/*.wandb")
    assert file.read_bytes().count(b"train/loss") >= len(LOSSES)


def test_mlflow_reads_what_was_logged(tracks):
    with contextlib.closing(sqlite3.connect(tracks("mlflow") / "mlflow" / "mlflow.db")) as base:
        rows = base.execute("select step, value from metrics where key = 'train/loss' order by step").fetchall()
        values = dict(base.execute("select key, value from params").fetchall())
        assert base.execute("select status from runs").fetchall() == [("FINISHED",)]
    assert rows == LOSSES
    assert values["micro_batch"] == "16"
