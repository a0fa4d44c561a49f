"""The same command again: after the end, after an early stop, and after an interruption while the end was judged."""

import dataclasses
import json
import signal

import pytest
from whole_run import last_weights, logged, whole_run

from advisor.errors import Interrupted, UsageError
from advisor.records import Note
from trainer import occasions
from trainer.judge.judge import Judge

OUTPUTS = ("metrics.jsonl", "events.jsonl", "evaluation.json", "config.toml", "pipeline/model_index.json")


def ids(said: list[Note]) -> list[str]:
    return [one.id for one in said]


def contents(run) -> list[bytes]:
    return [(run / name).read_bytes() for name in OUTPUTS]


def validated(run) -> list[int]:
    return [entry["samples"] for entry in logged(run, "metrics", "validation")]


def interrupt(monkeypatch, *, at: int) -> None:
    """A signal arrives while generated pictures are judged for this time."""
    whole, calls = Judge.judge, []

    def judge(self, *arguments, **named):
        calls.append(None)
        if len(calls) == at:
            signal.raise_signal(signal.SIGTERM)
        return whole(self, *arguments, **named)

    monkeypatch.setattr(Judge, "judge", judge)


@pytest.fixture
def stops_at_160(monkeypatch):
    """With --stop-early the run ends there, and at every later checkpoint."""

    def early_stop(config, learning, samples, judged):
        return Note(id="stop_plateau", text="flat") if samples >= 160 else None

    monkeypatch.setattr("trainer.execution.early_stop", early_stop)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    whole_run(run)
    return run


def test_a_judgement_that_was_interrupted_is_done_again_and_nothing_else(tmp_path, monkeypatch, uninterrupted):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt(patch, at=2)
        with pytest.raises(Interrupted) as stopped:
            whole_run(run)
    assert stopped.value.exit_code == 143
    assert [event["samples"] for event in logged(run, "events", "interrupted")] == [320]
    assert not (run / "pipeline").exists()
    steps = len(logged(run, "metrics", "train"))
    whole_run(run)
    assert validated(run) == [80, 160, 240, 320]  # each once
    assert len(logged(run, "metrics", "train")) == steps
    assert (run / "evaluation.json").read_bytes() == (uninterrupted / "evaluation.json").read_bytes()
    assert last_weights(run) == last_weights(uninterrupted)
    assert "already_finished" in ids(whole_run(run))


def test_a_run_that_was_stopped_early_is_finished_as_long_as_that_is_wanted(tmp_path, stops_at_160, uninterrupted):
    run = tmp_path / "run"
    assert "stop_plateau" in ids(whole_run(run, stop_early=True))
    assert [event["samples"] for event in logged(run, "events", "stopped_early")] == [160]
    assert validated(run) == [80, 160]
    before = contents(run)
    assert ids(whole_run(run, stop_early=True)) == ["already_finished"]
    with pytest.raises(UsageError, match="samples was 320, is now 640"):
        whole_run(run, {"samples": 640}, stop_early=True)
    assert contents(run) == before

    assert "already_finished" not in ids(whole_run(run))
    assert last_weights(run) == last_weights(uninterrupted)
    assert validated(run) == [80, 160, 240, 320]
    assert [event["samples"] for event in logged(run, "events", "finished")] == [160, 320]
    judged = json.loads((run / "evaluation.json").read_text())["checkpoints"]
    assert [one["samples"] for one in judged] == [160, 320]
    assert ids(whole_run(run, stop_early=True)) == ["already_finished"]


def test_an_early_stop_whose_judgement_was_interrupted_does_not_train_on(tmp_path, monkeypatch, stops_at_160):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt(patch, at=1)
        with pytest.raises(Interrupted):
            whole_run(run, stop_early=True)
    whole_run(run, stop_early=True)
    assert max(entry["samples"] for entry in logged(run, "metrics", "train")) == 160
    assert [event["samples"] for event in logged(run, "events", "stopped_early")] == [160]
    assert [event["samples"] for event in logged(run, "events", "finished")] == [160]
    assert validated(run) == [80, 160]


def test_what_an_early_stop_left_is_not_taken_for_the_end_of_a_run_that_went_on(tmp_path, monkeypatch, stops_at_160):
    run = tmp_path / "run"
    whole_run(run, stop_early=True)
    with monkeypatch.context() as patch:
        interrupt(patch, at=1)
        with pytest.raises(Interrupted):
            whole_run(run)
    assert "already_finished" not in ids(whole_run(run))
    assert [event["samples"] for event in logged(run, "events", "finished")] == [160, 320]


def test_a_resumed_run_draws_with_the_average_that_was_better_at_its_last_validation(tmp_path, monkeypatch):
    validate, draw_grid, grids = occasions.validate, occasions.draw_grid, []

    def interrupted_at_the_second(*arguments):
        grids.append(None)
        if len(grids) == 2:
            signal.raise_signal(signal.SIGTERM)
        return draw_grid(*arguments)

    monkeypatch.setattr(occasions, "validate", lambda *arguments: dataclasses.replace(validate(*arguments), width=1))
    changes = {"validate_every_samples": 160, "num_milestones": 4}
    run, whole = tmp_path / "run", tmp_path / "whole"
    whole_run(whole, changes)
    with monkeypatch.context() as patch:
        patch.setattr(occasions, "draw_grid", interrupted_at_the_second)
        with pytest.raises(Interrupted):
            whole_run(run, changes)
    whole_run(run, changes)
    assert [event["samples"] for event in logged(run, "events", "resume")] == [168]
    for k in (3, 4):
        assert (run / "samples" / f"sample-{k}.png").read_bytes() == (
            whole / "samples" / f"sample-{k}.png"
        ).read_bytes()
