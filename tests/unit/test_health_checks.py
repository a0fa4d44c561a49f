"""Each check with the data of one fault, and of none."""

import dataclasses

import numpy as np
import pytest
import torch
from small_run import small_config, small_data, small_state

from trainer.health.alarms import ALARMS, EXPLAINS, Alarms, alarm
from trainer.health.baselines import Baselines
from trainer.health.data import data_alarms, overdriven
from trainer.health.learning import LearningChecks, WeightSample
from trainer.health.machine import MachineChecks
from trainer.health.steps import StepChecks
from trainer.health.stopping import early_stop
from trainer.loop import Step, Stepper, TrainingData
from trainer.order import batch_indices

BUCKET_V = np.repeat(np.arange(8), 8)


def names(count: int) -> list[str]:
    return [f"picture {k}" for k in range(count)]


# ---- alarms -------------------------------------------------------------------------------------


def test_an_alarm_is_raised_once_and_silences_what_follows_from_it():
    raised = []
    alarms = Alarms(lambda said: raised.append(said.id))
    for name in ("ema_stuck", "ema_stuck", "lr_too_low", "throttled"):
        alarms(alarm(name, statistic=1, threshold=2, n=3, moved=0.0, lr=1e-3, reasons="heat"))
    assert raised == ["ema_stuck", "throttled"]


def test_what_explains_and_is_explained_are_alarms():
    assert set(EXPLAINS) <= set(ALARMS)
    assert {name for explained in EXPLAINS.values() for name in explained} <= set(ALARMS)
    for text in ALARMS.values():
        assert all(f"{{{name}" in text for name in ("statistic", "threshold", "n"))


# ---- data ---------------------------------------------------------------------------------------


def raised_of_data(data: TrainingData, largest_rms: float = 2.0, **changes) -> list[str]:
    config = small_config(**changes)
    return [said.id for said in data_alarms(config, data, names(len(data.label_N)), largest_rms) if said is not None]


def classes_apart() -> TrainingData:
    data = small_data(80)
    return dataclasses.replace(data, x_NCHW=data.x_NCHW * 0.3 + data.label_N[:, None, None, None] * 0.5)


def test_good_data_raise_nothing():
    assert raised_of_data(classes_apart()) == []


def test_bad_data_are_named():
    data = classes_apart()
    broken = data.x_NCHW.clone()
    broken[7, 0, 1, 1] = float("nan")
    (said, *_) = list(data_alarms(small_config(), dataclasses.replace(data, x_NCHW=broken), names(80), 2.0))
    assert said.id == "data_non_finite" and said.values["names"] == "picture 7" and said.values["n"] == 80
    assert "data_scale" in raised_of_data(dataclasses.replace(data, x_NCHW=data.x_NCHW * 100))
    shuffled = data.label_N[torch.randperm(80, generator=torch.Generator().manual_seed(3))]
    assert raised_of_data(dataclasses.replace(data, label_N=shuffled)) == ["labels_unrelated"]
    assert raised_of_data(data, samples=80 * 291) == ["copies_expected"]
    assert raised_of_data(data, samples=80 * 290) == []


def test_overdriven_samples_spread_too_far():
    real = classes_apart().x_NCHW
    assert overdriven(real[:20], real, 1.5) is None
    said = overdriven(3 * real[:20], real, 20.0)
    assert said is not None and said.values["statistic"] > said.values["threshold"] and said.values["guidance"] == 20.0


# ---- steps --------------------------------------------------------------------------------------


def steps(checks: StepChecks, count: int, *, start: int = 0, items=batch_indices, norm=None, loss=None) -> None:
    """Feed steps of 16 out of 40 items, with what a healthy run would show unless something else is given."""
    source = torch.Generator().manual_seed(5)
    for k in range(start, start + count):
        time_B = torch.randint(1000, (16,), generator=source)
        checks.collect(
            Step(
                item_B=items(7, 40, 16 * k, 16),
                time_B=time_B,
                losses_B=torch.rand(16, generator=source) + 0.5 if loss is None else loss(time_B, k),
                grad_norm=torch.rand((), generator=source) * 0.2 + 0.5 if norm is None else torch.tensor(norm(k)),
                lr=1e-3,
            )
        )
    checks.read()


def checks_of(count: int, **faults) -> StepChecks:
    checks = StepChecks(small_config(), 40, 0)
    steps(checks, count, **faults)
    return checks


def test_healthy_steps_raise_nothing():
    checks = checks_of(400)
    expected_K = np.ones(8)
    found = (checks.order(), checks.spikes(), checks.clipping(), checks.untrained_bucket(expected_K))
    assert found == (None, None, None, None)
    assert checks.oscillation() is None and checks.non_finite(names(40)) is None
    assert checks.standardised_loss() == pytest.approx(1, abs=0.1)


def test_a_stuck_order_is_seen_after_four_steps():
    said = checks_of(4, items=lambda seed, num, _seen, batch: batch_indices(seed, num, 0, batch)).order()
    assert said is not None and said.id == "order_stuck" and said.values["statistic"] == 4


def test_an_order_that_repeats_is_seen_after_two_epochs():
    said = checks_of(8, items=lambda seed, num, seen, batch: torch.arange(seen, seen + batch) % num).order()
    assert said is not None and said.id == "order_repeats"


def test_a_resumed_run_begins_in_the_middle_of_an_epoch():
    checks = StepChecks(small_config(), 40, 16 * 101)
    steps(checks, 200, start=101)
    assert checks.order() is None


def test_gradients_that_spike_or_are_clipped():
    assert checks_of(200, norm=lambda k: 50.0 if k in (120, 140, 190) else 0.5 + 0.01 * (k % 7)).spikes() is not None
    assert checks_of(200, norm=lambda k: 50.0 if k in (120, 190) else 0.5 + 0.01 * (k % 7)).spikes() is None
    said = checks_of(200, norm=lambda k: 2.0 if k % 4 == 0 else 0.5).clipping()
    assert said is not None and said.values["statistic"] == 0.25
    assert checks_of(200, norm=lambda k: 2.0 if k % 5 == 0 else 0.5).clipping() is None


def test_a_bucket_without_weight():
    said = checks_of(100, loss=lambda time_B, _: torch.where(time_B // 125 == 3, 0.0, 1.0)).untrained_bucket(np.ones(8))
    assert said is not None and said.values["bucket"] == 4
    few = checks_of(10, loss=lambda time_B, _: torch.where(time_B // 125 == 3, 0.0, 1.0))
    assert few.untrained_bucket(np.ones(8)) is None  # too few samples to tell


def test_an_oscillating_loss():
    said = checks_of(400, loss=lambda time_B, k: torch.rand(16) + 0.5 + 0.5 * np.sin(k / 20)).oscillation()
    assert said is not None and said.values["statistic"] > 0.1 and said.values["factor"] > 2


def test_the_step_that_was_not_finite_is_described():
    checks = checks_of(5)
    steps(checks, 1, start=5, loss=lambda time_B, _: torch.tensor([float("nan"), *[1.0] * 15]))
    said = checks.non_finite(names(40))
    assert said is not None and said.values["samples"] == 80
    assert said.values["names"] == f"picture {int(batch_indices(7, 40, 80, 16)[0])}"


# ---- learning -----------------------------------------------------------------------------------

WIENER = Baselines(zero=(1.0,) * 8, wiener=(0.5,) * 8, copier=None, floor=None)


def learning_with(errors_at: dict[int, np.ndarray], **changes) -> LearningChecks:
    config = small_config(**{"samples": 10_000, "micro_batch": 4, **changes})
    checks = LearningChecks(config, WIENER, np.full(64, 0.5), BUCKET_V)
    for samples, error_V in errors_at.items():
        checks.add(samples, error_V)
    return checks


def errors(mean: float, seed: int = 0, spread: float = 0.01) -> np.ndarray:
    tuples = 1 + 0.3 * np.random.default_rng(9).random(64)  # what the tuples share at every validation
    return mean * tuples / tuples.mean() + spread * np.random.default_rng(seed).normal(size=64)


def test_a_pace_that_will_not_reach_the_linear_denoiser():
    slow = learning_with({500: errors(0.99), 1000: errors(0.95, 1)})
    low, high = slow.pace(moved=0.02), slow.pace(moved=3.0)
    assert low is not None and low.id == "lr_too_low" and low.values["lr"] == pytest.approx(1e-2)
    assert high is not None and high.id == "lr_too_high" and high.values["statistic"] > 0.5
    assert learning_with({500: errors(0.9), 1000: errors(0.7, 1)}).pace(1.0) is None
    assert learning_with({100: errors(0.99), 200: errors(0.98, 1)}).pace(1.0) is None  # too early to say


def test_nothing_is_said_of_the_first_hundred_steps():
    rising = {200: errors(0.2), 300: errors(0.3, 1), 400: errors(0.4, 2)}
    for samples in (300, 400):
        checks = learning_with({key: value for key, value in rising.items() if key <= samples}, micro_batch=16)
        assert checks.overfit() is None and checks.pace(1.0) is None and checks.plateau() is None
        assert not checks.is_rising_at_high_noise


def test_a_label_is_used_or_not():
    used, unused = learning_with({1000: errors(0.4)}), learning_with({1000: errors(0.4)})
    assert used.label(errors(0.45, 1)) is None and used.label_is_used is True
    said = unused.label(errors(0.39, 1))
    assert said is not None and said.id == "label_ignored" and unused.label_is_used is False
    vague = learning_with({1000: errors(0.4, 0, 0.1)})
    assert vague.label(errors(0.4, 1, 0.1)) is None and vague.label_is_used is None  # nothing could be seen


def test_a_bucket_that_rises_twice_is_overfitting():
    bent = {1000: errors(0.4), 2000: errors(0.3, 1)}
    rise = np.where(BUCKET_V == 5, 0.2, 0.0)
    checks = learning_with(bent)
    assert checks.overfit() is None
    found = []
    for k in (3, 4, 5):
        checks.add(1000 * k, errors(0.3, k) + rise * (k - 2))
        found.append(checks.overfit())
    assert found[0] is None and found[1] is not None
    assert found[1].values["bucket"] == 6 and found[1].values["best_samples"] in (1000, 2000)
    assert checks.is_rising_at_high_noise


def test_a_plateau_is_an_interval_inside_half_a_percent():
    flat = learning_with({1000: errors(0.3, 0, 1e-5), 3000: errors(0.3, 1, 1e-5)})
    said = flat.plateau()
    assert said is not None and said.values["statistic"] < 0.005
    assert learning_with({1000: errors(0.3), 3000: errors(0.295, 1)}).plateau() is None
    assert learning_with({1000: errors(0.3, 0, 1e-5), 2999: errors(0.3, 1, 1e-5)}).plateau() is None


def test_skill_is_what_was_removed_of_the_linear_error():
    assert learning_with({1000: np.full(64, 0.25)}).skill() == [0.5] * 8


def test_stopping_early_waits_for_the_decay():
    flat = {samples: errors(0.3, samples, 1e-5) for samples in (5000, 7000)}
    config = small_config(samples=10_000, micro_batch=4)
    assert early_stop(config, learning_with(flat), 6900, lambda: None) is None
    said = early_stop(config, learning_with(flat), 7000, lambda: None)
    assert said is not None and said.id == "stop_plateau"
    judged = alarm("plateau_reached", statistic=0, threshold=1, n=2)
    assert early_stop(config, None, 100, lambda: judged) is judged


# ---- averages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_stuck", [False, True])
def test_an_average_that_does_not_follow(is_stuck, monkeypatch):
    config = small_config(ema_half_lives_samples=(400, 800))
    state = small_state(config)
    sample = WeightSample(state.model, state.ema.averages[0])
    if is_stuck:
        monkeypatch.setattr(type(state.ema), "update", lambda *_: None)
    stepper = Stepper(state, small_data(), config)
    assert sample.average_follows(0, config) is None
    for _ in range(10):
        stepper.step()
    said = sample.average_follows(state.samples_seen, config)
    assert (said is not None) == is_stuck
    assert 0 < sample.moved() < 1


# ---- the machine --------------------------------------------------------------------------------


def machine(step_s, *, lines: int = 40, memory_bytes=lambda k: 10**9, card=None) -> MachineChecks:
    checks = MachineChecks(torch.device("cpu"))
    for k in range(lines):
        checks.add(1000 * (k + 1), step_s(k), 2.0, card or {}, memory_bytes=memory_bytes(k))
    return checks


def test_steps_that_become_slower():
    assert machine(lambda k: 0.1 + 0.01 * (k % 5)).slower() is None
    assert machine(lambda k: 0.1 if k < 25 else 0.3 if k != 35 else 0.1).slower() is None  # one line is an exception
    said = machine(lambda k: 0.1 if k < 25 else 0.3).slower()
    assert said is not None and said.values["statistic"] == pytest.approx(3)


def test_memory_that_grows_until_it_is_gone():
    leaking = machine(lambda k: 0.1, memory_bytes=lambda k: 10**9 + 10**6 * k)
    said = leaking.memory(10_000_000, limit_bytes=2 * 10**9)
    assert said is not None and said.values["statistic"] > 2 * 10**9
    assert leaking.memory(100_000, limit_bytes=2 * 10**9) is None  # the run ends before
    assert machine(lambda k: 0.1).memory(10**9, limit_bytes=2 * 10**9) is None


def test_a_card_that_slows_itself_down():
    hot = {"throttled_s": {"software_thermal": 1.0, "power_cap": 2.0}}
    said = machine(lambda k: 0.1, card=hot).throttled()
    assert said is not None and said.values["statistic"] == 0.5 and said.values["reasons"] == "software_thermal"
    assert machine(lambda k: 0.1, card={"throttled_s": {"power_cap": 2.0}}).throttled() is None
    uncounted = {"throttled_s": None, "throttle_reasons": ("hardware_thermal",)}
    assert machine(lambda k: 0.1, card=uncounted).throttled() is not None
