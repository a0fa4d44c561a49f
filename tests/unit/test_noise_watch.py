"""The noise scale inside a run: when it is measured, that it changes nothing, and what is said about it."""

import dataclasses
import itertools
import json

import pytest
import torch
from sample_advice import sample_advice
from small_run import small_config, small_data, small_state

from advisor.records import Claim, NoiseScale
from trainer import noise
from trainer.journal import Journal
from trainer.loop import Due, Stepper, train
from trainer.noise import NoiseFound, NoiseReport, NoiseWindow, cut, plan_windows
from trainer.stop import StopRequest


@pytest.mark.parametrize("is_accumulated", [True, False])
@pytest.mark.parametrize("num_steps", [10, 900, 1200, 5_000, 6_000, 12_000, 20_000, 500_000])
def test_windows_cost_less_than_two_percent_and_do_not_touch(num_steps: int, is_accumulated: bool) -> None:
    windows = plan_windows(num_steps, is_accumulated=is_accumulated)
    cost_frac = noise.NORMS_COST_FRAC if is_accumulated else noise.SPLIT_COST_FRAC
    assert sum(one.num_steps for one in windows) * cost_frac <= noise.MAX_COST_FRAC * num_steps
    assert all(noise.MIN_STEPS <= one.num_steps <= noise.MAX_STEPS for one in windows)
    for one, following in itertools.pairwise(windows):
        assert one.first_step + one.num_steps <= following.first_step


def test_short_runs_have_fewer_windows() -> None:
    assert plan_windows(3_000, is_accumulated=True) == ()
    assert plan_windows(3_500, is_accumulated=True) == (NoiseWindow(first_step=700, num_steps=100),)
    assert [one.first_step for one in plan_windows(8_000, is_accumulated=True)] == [1600, 4000]
    assert [one.num_steps for one in plan_windows(100_000, is_accumulated=False)] == [200, 200, 200]


@pytest.mark.parametrize(
    ("micro_batch", "batch", "size"), [(4, 16, 4), (16, 16, 8), (1, 2, 1), (3, 3, 0), (1, 1, 0), (6, 16, 0)]
)
def test_a_watched_step_has_equal_parts(micro_batch: int, batch: int, size: int) -> None:
    assert cut(micro_batch, batch) == size


class Watched:
    """Some steps of a run of 3,500 of the small net; its only window begins at 700."""

    def __init__(self, micro_batch: int, accumulation: int, *, start: int = 0) -> None:
        self.config = small_config(micro_batch=micro_batch, accumulation=accumulation, samples=28_000)
        self.state = small_state(self.config)
        self.state.samples_seen = start * self.config.effective_batch
        self.stepper = Stepper(self.state, small_data(), self.config)
        self.found: list[NoiseFound] = []

    def go(self, num_steps: int) -> torch.Tensor:
        for _ in range(num_steps):
            self.stepper.step()
            found = self.stepper.noise.take()
            self.found += [found] if found else []
        return torch.cat([p.detach().flatten() for p in self.state.model.parameters()])


def test_a_window_is_measured_once_and_the_weights_are_bit_for_bit_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Watched(4, 2, start=695)
    watched = run.go(110)
    (found,) = run.found
    assert found.num_steps == 100
    assert found.noise_scale is not None or found.refusal
    monkeypatch.setattr(noise, "plan_windows", lambda *_, **__: ())
    other = Watched(4, 2, start=695)
    assert torch.equal(other.go(110), watched)
    assert other.found == []


def test_a_run_that_starts_in_a_window_says_that_it_saw_too_little() -> None:
    run = Watched(4, 2, start=760)
    run.go(50)
    (found,) = run.found
    assert (found.num_steps, found.noise_scale) == (40, None)
    assert "100 are needed" in (found.refusal or "")


def test_a_batch_that_is_not_accumulated_is_cut_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "plan_windows", lambda *_, **__: (NoiseWindow(first_step=2, num_steps=100),))
    run, sizes = Watched(8, 1), []
    whole = run.stepper._losses
    run.stepper._losses = lambda draw, chosen: (sizes.append(chosen.stop - chosen.start), whole(draw, chosen))[1]
    run.go(105)
    assert sizes == [8] * 2 + [4] * 200 + [8] * 3
    assert len(run.found) == 1


def test_out_of_memory_in_a_window_begins_it_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "plan_windows", lambda *_, **__: (NoiseWindow(first_step=0, num_steps=140),))
    run = Watched(4, 2)
    run.go(30)
    whole, calls = run.stepper._losses, []

    def once_full(draw, chosen):
        calls.append(chosen)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(draw, chosen)

    run.stepper._losses = once_full
    run.go(115)
    assert run.stepper.micro_batch == 2
    (found,) = run.found
    assert found.num_steps == 110, "those with the other micro-batch are left out"


def test_memory_that_only_the_watching_needs_ends_the_watching(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "plan_windows", lambda *_, **__: (NoiseWindow(first_step=2, num_steps=100),))

    def too_large(_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(noise.GradientNoiseMeter, "before_backward", too_large)
    run = Watched(1, 4)
    watched = run.go(8)
    assert [said.id for said in run.stepper.take_notes()] == ["noise_scale_left_out"]
    assert run.found == []
    monkeypatch.setattr(noise, "plan_windows", lambda *_, **__: ())
    assert torch.equal(Watched(1, 4).go(8), watched)


def test_the_loop_hands_on_what_a_window_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "plan_windows", lambda *_, **__: (NoiseWindow(first_step=1, num_steps=100),))
    config = small_config(micro_batch=4, accumulation=2, samples=8 * 103)
    state, found = small_state(config), []
    due = Due(
        validate=lambda: None, milestone=lambda _: None, checkpoint=lambda: None, report=lambda _: None,
        note=lambda _: None, noise=found.append,
    )  # fmt: skip
    train(Stepper(state, small_data(), config), state, config, due, StopRequest())
    assert [one.num_steps for one in found] == [100]


# ---- what is said -------------------------------------------------------------------------------


def scale(value: float) -> NoiseFound:
    known = NoiseScale(
        value=value, low=0.8 * value, high=1.2 * value, n=200,
        preconditioned=Claim(value=2 * value, low=1.8 * value, high=2.2 * value, basis="measured", source="test"),
    )  # fmt: skip
    return NoiseFound(noise_scale=known, num_steps=200)


def reported(tmp_path, found: list[NoiseFound], advice) -> tuple[list, list, list]:
    option = advice.recommended
    config = small_config(micro_batch=option.micro_batch, accumulation=option.accumulation, samples=80_000)
    notes: list = []
    report = NoiseReport(config, advice, Journal(tmp_path, 0), notes.append)
    for k, one in enumerate(found):
        report(4_000 * (k + 1), one)
    lines = [
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()] if (tmp_path / name).exists() else []
        for name in ("metrics.jsonl", "events.jsonl")
    ]
    return notes, lines[0], lines[1]


def with_cheap_larger_batch(advice, step_ratio: float):
    """The advice, with a larger batch whose step takes this much of the recommended one's time."""
    base = advice.recommended
    seconds = base.step_s.value * step_ratio
    quick = Claim(value=seconds, low=0.99 * seconds, high=1.01 * seconds, basis="measured", source="test")
    exact = dataclasses.replace(base.step_s, low=0.99 * base.step_s.value, high=1.01 * base.step_s.value)
    larger = dataclasses.replace(
        base, id="larger_batch", micro_batch=2 * base.effective_batch, accumulation=1,
        effective_batch=2 * base.effective_batch, step_s=quick, verdict="not_recommended",
    )  # fmt: skip
    kept = [one for one in advice.options if one.id in ("higher_lr", "lower_lr")]
    running = dataclasses.replace(base, step_s=exact)
    return dataclasses.replace(advice, recommended=running, options=(running, larger, *kept))


def test_another_batch_is_named_once_and_nothing_is_changed(tmp_path) -> None:
    advice = with_cheap_larger_batch(sample_advice(), step_ratio=1.1)
    batch = advice.recommended.effective_batch
    notes, metrics, events = reported(tmp_path, [scale(10 * batch), scale(20 * batch)], advice)
    assert [one.id for one in notes] == ["other_batch_from_here"]
    assert notes[0].values["micro_batch"] == 2 * batch
    assert notes[0].values["lr"] == pytest.approx(1e-3 * 2**0.5)
    assert notes[0].values["ratio"] == pytest.approx(1.1 * (1 + 20 / 2) / (1 + 20), rel=1e-6)  # 20: under Adam
    assert [one["value"] for one in metrics] == [10 * batch, 20 * batch]
    assert [one["kind"] for one in events] == ["noise_advice", "noise_advice"]


@pytest.mark.parametrize(("value", "step_ratio"), [(10.0, 2.1), (0.05, 1.6)])
def test_a_larger_batch_that_gains_nothing_is_not_named(tmp_path, value: float, step_ratio: float) -> None:
    advice = with_cheap_larger_batch(sample_advice(), step_ratio)
    notes, metrics, _ = reported(tmp_path, [scale(value * advice.recommended.effective_batch)], advice)
    assert notes == []
    assert len(metrics) == 1


def test_a_refusal_is_written_down_with_its_reason(tmp_path) -> None:
    refused = NoiseFound(noise_scale=None, num_steps=60, refusal="60 steps were measured; 100 are needed")
    notes, metrics, _ = reported(tmp_path, [refused], sample_advice())
    assert notes == []
    assert (metrics[0]["value"], metrics[0]["refusal"]) == (None, "60 steps were measured; 100 are needed")
