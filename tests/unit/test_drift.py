"""A drift of the step time is noticed, and steps that only scatter raise no alarm."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.measure.campaign import Campaign
from advisor.measure.drift import Drift, clear_drift, drift_of, lag1_autocorrelation, variance_factor
from advisor.measure.timing import median_interval, summarize
from advisor.recommend.timing_notes import timing_notes


def rounds(seed: int, n: int, *, noise: float, change: float = 0.0, resemblance: float = 0.0) -> list[float]:
    """Step times of 0.1 s with log-normal noise, now and then an outlier, and a change from first to last."""
    draw, state, values = random.Random(seed), 0.0, []
    for k in range(n):
        state = resemblance * state + math.sqrt(1 - resemblance**2) * draw.gauss(0, noise)
        outlier = 2.0 if draw.random() < 0.03 else 1.0
        values.append(0.1 * math.exp(state) * outlier * (1 + change) ** (k / (n - 1)))
    return values


@pytest.mark.parametrize("n", [8, 12, 20])
@pytest.mark.parametrize("noise", [0.01, 0.05, 0.2])
def test_steps_that_only_scatter_raise_no_alarm(n: int, noise: float) -> None:
    alarms = [clear_drift([[rounds(seed, n, noise=noise)]]) for seed in range(100)]
    assert sum(alarm is not None for alarm in alarms) <= 5


def test_rounds_that_resemble_the_last_seldom_raise_an_alarm() -> None:
    series = [rounds(seed, 20, noise=0.05, resemblance=0.3) for seed in range(100)]
    assert sum(clear_drift([[one]]) is not None for one in series) <= 5


@pytest.mark.parametrize(("n", "noise"), [(20, 0.03), (12, 0.02)])
@pytest.mark.parametrize("change", [0.2, -0.2])
def test_a_fifth_more_or_less_is_noticed(n: int, noise: float, change: float) -> None:
    found = [clear_drift([[rounds(seed, n, noise=noise, change=change)]]) for seed in range(100)]
    assert sum(one is not None and one.change_frac * change > 0 for one in found) >= 95


def test_eight_rounds_tell_most_of_it() -> None:
    found = [clear_drift([[rounds(seed, 8, noise=0.01, change=0.2)]]) for seed in range(100)]
    assert sum(one is not None for one in found) >= 85


def test_the_interval_holds_the_true_change() -> None:
    found = [drift_of([rounds(seed, 20, noise=0.05, change=0.2)]) for seed in range(200)]
    assert sum(one is not None and one.low_frac <= 0.2 <= one.high_frac for one in found) >= 190


def test_settings_together_show_what_one_alone_does_not() -> None:
    alone = drift_of([rounds(1, 12, noise=0.08, change=0.2)])
    together = drift_of([rounds(seed, 12, noise=0.08, change=0.2) for seed in range(1, 9)])
    assert alone is not None
    assert together is not None
    assert together.high_frac - together.low_frac < alone.high_frac - alone.low_frac


@given(st.lists(st.floats(min_value=1e-6, max_value=1e3), max_size=7))
def test_nothing_is_said_of_few_rounds(values: list[float]) -> None:
    assert drift_of([values]) is None
    assert variance_factor(values) == 1


@given(st.lists(st.floats(min_value=1e-3, max_value=1e2), min_size=8, max_size=25), st.sampled_from([2.0**-7, 8.0]))
def test_the_unit_of_time_does_not_matter(values: list[float], unit: float) -> None:
    here, there = drift_of([values]), drift_of([[unit * value for value in values]])
    assert (here is None) == (there is None)
    if here is not None and there is not None:
        assert there.change_frac == pytest.approx(here.change_frac, rel=1e-6, abs=1e-9)
        assert here.low_frac <= here.change_frac <= here.high_frac


def test_a_setting_that_failed_on_the_way_does_not_count() -> None:
    whole = rounds(3, 20, noise=0.02, change=0.3)
    assert drift_of([whole, [0.1, 0.1]]) == drift_of([whole])
    assert drift_of([]) is None
    assert drift_of([[]]) is None


def test_autocorrelation_of_known_series() -> None:
    assert lag1_autocorrelation([1.0] * 9) == 0
    assert lag1_autocorrelation([1.0, -1.0] * 10) == pytest.approx(-0.95)
    assert variance_factor([1.0, -1.0] * 10) == 1
    assert variance_factor([1.0] * 10 + [2.0] * 10) == pytest.approx(1.85 / 0.15)


def covers(seed: int, resemblance: float) -> bool:
    found = summarize(rounds(seed, 20, noise=0.05, resemblance=resemblance))
    return found.low <= 0.1 <= found.high


def test_the_interval_of_rounds_that_resemble_each_other_is_wider() -> None:
    series = [rounds(seed, 20, noise=0.05, resemblance=0.6) for seed in range(300)]
    plain = sum(low <= 0.1 <= high for low, high in map(median_interval, series))
    assert sum(covers(seed, 0.0) for seed in range(300)) >= 280
    assert sum(covers(seed, 0.6) for seed in range(300)) >= plain + 9


def test_what_an_advice_says_of_a_drift() -> None:
    slower = Drift(change_frac=0.2, low_frac=0.1, high_frac=0.3, num_rounds=20)
    faster = Drift(change_frac=-0.2, low_frac=-0.3, high_frac=-0.1, num_rounds=20)
    for drift, note_id in ((slower, "step_time_rose"), (faster, "step_time_fell")):
        (said,) = timing_notes(Campaign(points=(), built=None, interleaved=True, drift=drift), (8, 1))
        assert said.id == note_id
        assert "20 %" in said.text
        assert "interval 10 % to 30 %" in said.text
    assert timing_notes(Campaign(points=(), built=None, interleaved=True), (8, 1)) == ()
