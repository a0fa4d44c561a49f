"""Trackers get the numbers of a run; one that fails is told once and left out."""

import json
from pathlib import Path

import pytest
from small_run import small_config

from advisor.errors import UsageError
from trainer.journal import Journal
from trainer.tracking import Tracking, open_tracking, require_tracker


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


def metrics(folder: Path, tracking: Tracking) -> list[dict]:
    journal = Journal(folder, 0, tracking)
    for k in (1, 2, 3):
        journal.metric("train", 16 * k, loss=0.5 / k, step=k, name="text", missing=None, bad=float("nan"))
    tracking.close()
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


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


def test_an_unknown_or_missing_tracker_is_refused_before_anything_is_trained(monkeypatch):
    with pytest.raises(UsageError, match="did you mean 'tensorboard'"):
        require_tracker("tensorbord")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs accelerate and wandb: pip install"):
        require_tracker("wandb")


def test_tensorboard_reads_what_was_logged(tmp_path):
    pytest.importorskip("accelerate")
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run, notes = tmp_path / "run", []
    run.mkdir()
    tracking = open_tracking("tensorboard", run, small_config(), notes.append)
    metrics(run, tracking)
    assert notes == []
    (folder,) = {path.parent for path in (run / "tensorboard" / "run").glob("events*")}
    events = loading.EventAccumulator(str(folder))
    events.Reload()
    assert [(one.step, round(one.value, 3)) for one in events.Scalars("train/loss")] == [
        (16, 0.5),
        (32, 0.25),
        (48, 0.167),
    ]
