"""Logs that a restart continues, and a forecast from the run's own pace."""

import json

import pytest

from advisor.records import Claim
from trainer import journal
from trainer.journal import Journal, RemainingTime


def _lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_restart_takes_back_the_metrics_after_its_checkpoint_but_no_event(tmp_path):
    first = Journal(tmp_path, 0)
    for samples in (16, 32, 48):
        first.metric("train", samples, loss=1.0)
        first.event("checkpoint", samples)
    Journal(tmp_path, 32).metric("train", 48, loss=2.0)
    metrics = _lines(tmp_path / "metrics.jsonl")
    assert [(line["samples"], line["loss"]) for line in metrics] == [(16, 1.0), (32, 1.0), (48, 2.0)]
    assert [line["samples"] for line in _lines(tmp_path / "events.jsonl")] == [16, 32, 48]


def test_what_is_not_finite_is_written_as_null(tmp_path):
    Journal(tmp_path, 0).metric("train", 16, loss=float("nan"), lr=1e-3)
    assert _lines(tmp_path / "metrics.jsonl") == [{"kind": "train", "samples": 16, "loss": None, "lr": 1e-3}]


def test_the_forecast_is_the_mean_pace_with_an_interval(monkeypatch):
    times_s = iter([0.0, 1.0, 3.0, 4.0])
    monkeypatch.setattr(journal.time, "perf_counter", lambda: next(times_s))
    remaining = RemainingTime(0)
    assert remaining.update(100, 1000).low is None
    remaining.update(200, 1000)
    claim = remaining.update(300, 1000)
    assert claim.value == pytest.approx(700 * 4 / 300)
    assert claim.low < claim.value < claim.high


def test_nothing_is_left_at_the_end():
    assert RemainingTime(0).update(1000, 1000).value == 0


def test_what_comes_after_the_last_sample_is_waited_for_too(monkeypatch):
    monkeypatch.setattr(journal.time, "perf_counter", iter([0.0, 1.0, 3.0, 4.0]).__next__)
    remaining = RemainingTime(0, Claim(value=50.0, low=40.0, high=65.0, basis="predicted", source="timed small"))
    assert remaining.update(100, 1000).value == pytest.approx(9 + 50)
    remaining.update(200, 1000)
    claim = remaining.update(1000, 1000)
    assert (claim.value, claim.low, claim.high) == pytest.approx((50, 40, 65))
    assert "end of the run" in claim.source
