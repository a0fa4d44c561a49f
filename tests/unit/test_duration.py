"""How long a run takes: steps by their mean, and what comes between them."""

import dataclasses
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_advice import RECOMMENDED

from advisor.measure.messages import Rehearsed
from advisor.measure.timing import mean_time, student_quantile
from advisor.recommend.duration import (
    CONDITIONS_LOG_SD,
    NAMES,
    TIMES,
    Planned,
    at_the_end,
    beside_steps,
    elapsed,
    run_time,
    training_time,
)
from advisor.recommend.sessions import plan_sessions
from advisor.records import Claim, Measurement

SAMPLES = Claim(value=1600, basis="user", source="given")
DURATIONS_S = [1.0, 1.0, 1.0, 1.4]
TIMED = Measurement(micro_batch=16, accumulation=1, outcome="ok", first_step_s=5.0, mean_step_s=mean_time(DURATIONS_S))
GRIDS = Planned(id="grids", rehearsal="sampling", num_times=5, units=400)
AT_END = Planned(id="final_pictures", rehearsal="sampling", num_times=1, units=1000, when="end")
JUDGING = Planned(id="classifiers", rehearsal="classifiers", num_times=1)
SAMPLING = Rehearsed(id="sampling", seconds=0.5, units=100)


def test_the_mean_counts_and_not_the_median():
    found = training_time(SAMPLES, 16, TIMED)
    assert found.value == pytest.approx(100 * statistics.fmean(DURATIONS_S))
    assert found.low < found.value < found.high
    assert found.source == "100 steps x mean of 4 timings; 80 % band"


def test_after_the_last_step_comes_what_is_planned_for_the_end():
    found = at_the_end(beside_steps((GRIDS, AT_END, JUDGING), [SAMPLING], TIMED).occasions)
    assert found.value == pytest.approx(5.0)
    assert found.low < found.value < found.high
    assert at_the_end(()).value == 0


def test_what_a_run_does_beside_its_steps_is_scaled_to_its_size_and_counted():
    beside = beside_steps((GRIDS, AT_END, JUDGING), [SAMPLING], TIMED)
    first, grids, at_end = beside.occasions
    assert (first.id, first.num_times, first.when) == ("first_step", 1, "start")
    assert first.each_s.value == pytest.approx(5.0 - 1.1)
    assert (grids.num_times, grids.each_s.value) == (5, pytest.approx(2.0))
    assert at_end.each_s.value == pytest.approx(5.0)
    whole = run_time(training_time(SAMPLES, 16, TIMED), beside)
    assert whole.value == pytest.approx(110 + 3.9 + 5 * 2.0 + 5.0)
    assert "5 x sample grid" in whole.source
    assert whole.source.endswith(f"; without {NAMES['classifiers']}; 80 % band")


def test_an_evaluation_of_ones_own_is_taken_to_come_every_5_percent():
    beside = beside_steps((), [Rehearsed(id="evaluation", seconds=3.0, units=1)], TIMED)
    assert [(one.id, one.num_times) for one in beside.occasions] == [("first_step", 1), ("evaluation", TIMES)]
    assert beside.untimed == ("checkpoint",)
    assert "without" not in run_time(training_time(SAMPLES, 16, TIMED), dataclasses.replace(beside, untimed=())).source


def test_nothing_timed_is_nothing_known():
    unknown = training_time(SAMPLES, 16, Measurement(micro_batch=16, accumulation=1, outcome="oom"))
    assert unknown.value is None
    assert run_time(unknown, beside_steps((GRIDS,), [SAMPLING], None)).value is None


@pytest.mark.parametrize(("share", "expected"), [(0.0, 3.9), (0.5, 55 + 3.9 + 5), (1.0, 110 + 3.9 + 10 + 5)])
def test_on_the_clock_the_end_comes_last(share, expected):
    occasions = beside_steps((GRIDS, AT_END), [SAMPLING], TIMED).occasions
    assert elapsed(share, training_time(SAMPLES, 16, TIMED), occasions).value == pytest.approx(expected)


@given(
    durations_s=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20),
    seconds=st.floats(1e-3, 1e3),
    units=st.floats(0.1, 1e4),
)
def test_a_band_holds_its_value_and_is_never_narrower_than_the_conditions_allow(durations_s, seconds, units):
    measurement = dataclasses.replace(TIMED, mean_step_s=mean_time(durations_s))
    training = training_time(SAMPLES, 16, measurement)
    beside = beside_steps(
        (dataclasses.replace(GRIDS, units=units),), [Rehearsed(id="sampling", seconds=seconds, units=7)], measurement
    )
    whole = run_time(training, beside)
    assert 0 <= whole.low <= whole.value <= whole.high
    assert whole.value >= training.value
    assert math.log(training.high / training.low) >= 2 * 1.28 * CONDITIONS_LOG_SD


def test_the_band_of_a_mean_covers_it_in_four_of_five_measurements():
    import random

    chance, inside = random.Random(1), 0
    for _ in range(400):
        found = mean_time([math.exp(chance.gauss(0, 0.1)) for _ in range(8)])
        inside += found.low <= math.exp(0.1**2 / 2) <= found.high
    assert 0.75 < inside / 400 < 0.85


@pytest.mark.parametrize(("freedom", "expected"), [(2, 1.886), (4, 1.533), (19, 1.328)])
def test_students_quantile(freedom, expected):
    assert student_quantile(1.2816, freedom) == pytest.approx(expected, rel=0.03)


def test_a_session_waits_for_what_comes_between_the_steps():
    training, whole = (Claim(value=x, low=x, high=x, basis="predicted", source="") for x in (80.0, 100.0))
    option = dataclasses.replace(
        RECOMMENDED, effective_batch=16, training_s=training, run_s=whole,
        samples_per_s=Claim(value=20.0, basis="measured", source=""),
    )  # fmt: skip
    found = plan_sessions(option, SAMPLES, 1000)
    assert found.images_per_session.value <= 16_000
    assert found.images_per_session.value + found.checkpoint_every_samples > 16_000
