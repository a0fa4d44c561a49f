"""The model of step times: known coefficients come back, and what does not follow the model is refused."""

import dataclasses
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.measure.timing import summarize
from advisor.predict.speed import (
    MAX_LOG_RMSE,
    NoSpeedFitError,
    SpeedFit,
    TimedSetting,
    fit_measurements,
    fit_predictions,
    fit_speed,
)
from advisor.recommend.options import batch_candidates, speed_probe
from advisor.records import Claim, Measurement, Speed, StepTime
from advisor.schema import from_json, to_json

LAYOUTS = ((8, 2), (16, 1), (32, 1), (8, 1), (4, 4))
SECONDS = st.floats(1e-5, 10.0)


def exact(micro_batch: int, accumulation: int, step_s: float, scale: float = 1.0) -> TimedSetting:
    time = StepTime(median=scale * step_s, low=scale * step_s, high=scale * step_s, n=20)
    return TimedSetting(micro_batch=micro_batch, accumulation=accumulation, step_s=time)


def model(alpha: float, beta: float, gamma: float, b: int, a: int) -> float:
    return a * (alpha + beta * b) + gamma


def noisy(coefficients: tuple[float, float, float], seed: int, spread: float = 0.03) -> list[TimedSetting]:
    draw = random.Random(seed)
    return [
        TimedSetting(
            micro_batch=b,
            accumulation=a,
            step_s=summarize([model(*coefficients, b, a) * math.exp(draw.gauss(0, spread)) for _ in range(20)]),
        )
        for b, a in LAYOUTS
    ]


def values(fit: SpeedFit) -> tuple[float, float, float]:
    return fit.alpha.value, fit.beta.value, fit.gamma.value


@given(SECONDS, SECONDS, SECONDS)
@settings(max_examples=50, deadline=None)
def test_exact_times_give_their_coefficients_back(alpha: float, beta: float, gamma: float) -> None:
    fit = fit_speed([exact(b, a, model(alpha, beta, gamma, b, a)) for b, a in LAYOUTS])
    assert fit.log_rmse < 1e-6
    for b, a in [*LAYOUTS, (64, 2)]:
        assert fit.step_time(b, a).value == pytest.approx(model(alpha, beta, gamma, b, a), rel=1e-4)
    if max(alpha, 8 * beta, gamma) < 100 * min(alpha, 8 * beta, gamma):
        assert values(fit) == pytest.approx((alpha, beta, gamma), rel=1e-3)


def test_the_intervals_cover_the_truth_of_noisy_times() -> None:
    truth = (0.0096, 0.0009, 0.0062)
    fits = [fit_speed(noisy(truth, seed)) for seed in range(100)]
    for name, true in zip(("alpha", "beta", "gamma"), truth):
        claims = [getattr(fit, name) for fit in fits]
        assert sum(claim.low <= true <= claim.high for claim in claims) >= 90, name
    inside = [claim.low <= model(*truth, 12, 2) <= claim.high for claim in (fit.step_time(12, 2) for fit in fits)]
    assert sum(inside) >= 90
    widths = sorted(math.log(fit.step_time(12, 2).high / fit.step_time(12, 2).low) for fit in fits)
    assert widths[50] < 0.1, "an interval that covers everything says nothing"


def test_thousands_of_repeats_are_as_good_as_twenty_with_the_same_interval() -> None:
    few = noisy((0.0096, 0.0009, 0.0062), 0)
    many = [dataclasses.replace(one, step_s=dataclasses.replace(one.step_s, n=5000)) for one in few]
    assert fit_speed(many) == fit_speed(few)


@given(SECONDS, SECONDS, SECONDS, st.floats(1e-3, 1e3), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_another_unit_of_time_changes_nothing_else(
    alpha: float, beta: float, gamma: float, unit: float, seed: int
) -> None:
    draw = random.Random(seed)
    times = [model(alpha, beta, gamma, b, a) * math.exp(draw.gauss(0, 0.02)) for b, a in LAYOUTS]
    one = fit_speed([exact(b, a, t) for (b, a), t in zip(LAYOUTS, times)])
    other = fit_speed([exact(b, a, t, unit) for (b, a), t in zip(LAYOUTS, times)])
    assert other.step_time(16, 2).value == pytest.approx(unit * one.step_time(16, 2).value, rel=1e-6)
    assert other.log_rmse == pytest.approx(one.log_rmse, rel=1e-5, abs=1e-9)
    assert values(other) == pytest.approx([unit * x for x in values(one)], rel=1e-3, abs=1e-5 * unit * max(times))


@given(st.lists(st.floats(0.01, 10.0), min_size=len(LAYOUTS), max_size=len(LAYOUTS)))
@settings(max_examples=60, deadline=None)
def test_whatever_was_timed_no_cost_is_negative_and_a_poor_fit_is_refused(times: list[float]) -> None:
    try:
        fit = fit_speed([exact(b, a, t) for (b, a), t in zip(LAYOUTS, times)])
    except NoSpeedFitError as error:
        assert "log-RMSE" in str(error)
        return
    assert min(values(fit)) >= 0
    assert fit.log_rmse <= MAX_LOG_RMSE
    for claim in (fit.alpha, fit.beta, fit.gamma):
        assert 0 <= claim.low <= claim.value <= claim.high
    misses = [math.log(t / fit.step_time(b, a).value) for (b, a), t in zip(LAYOUTS, times)]
    assert math.sqrt(sum(x * x for x in misses) / len(misses)) == pytest.approx(fit.log_rmse, abs=1e-9)


def test_a_cost_that_would_be_negative_is_zero_and_the_others_are_fitted_anew() -> None:
    fit = fit_speed([exact(b, a, 0.001 * a * b) for b, a in LAYOUTS])
    assert values(fit) == pytest.approx((0, 0.001, 0), abs=1e-9)
    shrinking = fit_speed([exact(b, a, 0.1 * a - 0.0001 * a * b) for b, a in LAYOUTS])
    assert shrinking.beta.value == 0


@pytest.mark.parametrize(
    ("timed", "message"),
    [
        ([(8, 2), (16, 1), (32, 1)], "3 different settings"),
        ([(8, 2), (16, 1), (32, 1), (32, 1)], "3 different settings"),
        ([(8, 1), (16, 1), (32, 1), (64, 1)], "both micro-batch and accumulation must vary"),
        ([(8, 1), (8, 2), (8, 4), (8, 8)], "both micro-batch and accumulation must vary"),
    ],
)
def test_too_few_or_too_similar_settings_are_refused(timed: list[tuple[int, int]], message: str) -> None:
    with pytest.raises(NoSpeedFitError, match=message):
        fit_speed([exact(b, a, model(0.01, 0.001, 0.005, b, a)) for b, a in timed])


def test_times_that_grow_with_the_square_of_the_batch_are_refused() -> None:
    with pytest.raises(NoSpeedFitError, match="log-RMSE"):
        fit_speed([exact(b, a, a * b * b * 1e-4) for b, a in ((2, 1), (8, 1), (32, 1), (128, 1), (2, 2), (8, 2))])


def test_a_step_without_time_is_refused() -> None:
    with pytest.raises(NoSpeedFitError, match="no time"):
        fit_speed([exact(b, a, 0.0 if b == 16 else 0.1) for b, a in LAYOUTS])


def test_the_knee_is_the_smallest_batch_with_95_percent_of_what_was_reached() -> None:
    alpha, beta = 0.004, 0.001
    fit = fit_speed([exact(b, a, model(alpha, beta, 0.002, b, a)) for b, a in (*LAYOUTS, (128, 1))])
    reached = 128 / (alpha + beta * 128)
    expected = next(b for b in range(1, 129) if b / (alpha + beta * b) >= 0.95 * reached)
    assert fit.knee() == expected == 47


def test_the_knee_stays_within_what_was_timed() -> None:
    overhead = fit_speed([exact(b, a, 0.1 * a + 0.01) for b, a in LAYOUTS])
    assert overhead.knee() == math.ceil(0.95 * 32)
    no_overhead = fit_speed([exact(b, a, 0.01 * a * b) for b, a in LAYOUTS])
    assert no_overhead.knee() == 4, "the smallest that was timed"
    only_the_step = fit_speed([exact(b, a, 0.1) for b, a in LAYOUTS])
    assert only_the_step.knee() is None


def test_settings_that_failed_take_no_part_and_the_summary_is_json() -> None:
    measured = [
        Measurement(micro_batch=one.micro_batch, accumulation=one.accumulation, outcome="ok", step_s=one.step_s)
        for one in noisy((0.01, 0.001, 0.005), 0)
    ]
    failed = Measurement(micro_batch=64, accumulation=1, outcome="oom")
    summary = fit_measurements([*measured, failed]).summary()
    assert from_json(Speed, to_json(summary), where="test") == summary
    assert summary.beta_interval_s[0] <= summary.beta_s <= summary.beta_interval_s[1]
    with pytest.raises(NoSpeedFitError, match="1 different"):
        fit_measurements([measured[0], failed])


@pytest.mark.parametrize("present", [(16, 1), (8, 2), (2, 1)])
def test_what_is_timed_for_an_advice_tells_all_three_coefficients(present: tuple[int, int]) -> None:
    candidates = batch_candidates(present, "balanced")
    probe = speed_probe(candidates)
    layouts = [(one.micro_batch, one.accumulation) for one in candidates] + ([probe] if probe else [])
    seconds = {(b, a): a * (0.010 + 0.002 * b) + 0.005 for b, a in layouts}
    times = {key: StepTime(median=s, low=0.99 * s, high=1.01 * s, n=20) for key, s in seconds.items()}
    fit = fit_speed([TimedSetting(micro_batch=b, accumulation=a, step_s=time) for (b, a), time in times.items()])
    assert (fit.alpha.value, fit.beta.value, fit.gamma.value) == pytest.approx((0.010, 0.002, 0.005), rel=1e-3)


def test_nothing_more_is_timed_where_something_is_accumulated() -> None:
    assert speed_probe(batch_candidates((8, 2), "balanced")) is None
    assert speed_probe(batch_candidates((16, 1), "memory")) is None
    assert speed_probe(batch_candidates((1, 1), "balanced")) is None


def predicted(seconds: float) -> Claim:
    return Claim(value=seconds, low=0.6 * seconds, high=1.7 * seconds, basis="predicted", source="a test")


def test_predicted_times_are_taken_apart_and_what_they_get_wrong_together_is_in_the_intervals() -> None:
    truth = (0.03, 0.001, 0.01)
    found = fit_predictions({(b, a): predicted(model(*truth, b, a)) for b in (4, 8, 32) for a in (1, 2, 4)})
    assert (found.alpha_s, found.beta_s, found.gamma_s) == pytest.approx(truth, rel=1e-3)
    for interval, true in zip((found.alpha_interval_s, found.beta_interval_s, found.gamma_interval_s), truth):
        assert interval == pytest.approx((0.6 * true, 1.7 * true), rel=1e-2)
    assert found.knee_micro_batch == 29


def test_predicted_times_that_follow_no_such_law_are_not_taken_apart() -> None:
    waits_for_the_host = {(b, a): predicted(a * max(0.02, 0.001 * b)) for b in (2, 8, 32, 256, 1024) for a in (1, 2)}
    with pytest.raises(NoSpeedFitError, match="misses"):
        fit_predictions(waits_for_the_host)
    with pytest.raises(NoSpeedFitError, match="both micro-batch and accumulation"):
        fit_predictions({(2, a): predicted(a * 0.02) for a in (1, 2, 3, 4)})
