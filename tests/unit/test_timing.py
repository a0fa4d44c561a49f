"""Intervals of medians, and the order in which settings take turns."""

import random
import statistics
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from advisor.measure.timing import (
    MAX_STEPS_IN_TURN,
    TURN_S,
    Turn,
    interleave,
    median_interval,
    paired_ratio,
    steps_in_turn,
    summarize,
)


@given(st.lists(st.floats(min_value=1e-6, max_value=1e3), min_size=1, max_size=60))
def test_the_interval_holds_the_median_and_lies_within_the_values(values: list[float]) -> None:
    low, high = median_interval(values)
    assert min(values) <= low <= statistics.median(values) <= high <= max(values)


@pytest.mark.parametrize(("n", "low", "high"), [(1, 1, 1), (2, 1, 2), (5, 1, 5), (8, 1, 8), (9, 2, 8), (20, 6, 15)])
def test_order_statistics_are_the_published_ones(n: int, low: int, high: int) -> None:
    assert median_interval([float(k) for k in range(n, 0, -1)]) == (low, high)


@pytest.mark.parametrize("n", [6, 9, 20])
def test_the_interval_covers_the_true_median_as_often_as_it_says(n: int) -> None:
    draw, covered, repeats = random.Random(n), 0, 2000
    for _ in range(repeats):
        low, high = median_interval([draw.expovariate(1.0) for _ in range(n)])
        covered += low <= 0.6931471805599453 <= high
    assert covered / repeats > 0.935


def test_summary_counts_its_values() -> None:
    summary = summarize([3.0, 1.0, 2.0])
    assert (summary.median, summary.low, summary.high, summary.n) == (2.0, 1.0, 3.0, 3)


def test_paired_ratio_cancels_a_drift_that_both_share() -> None:
    present = [1.0 * 1.5**k for k in range(6)]
    ratio = paired_ratio([0.8 * value for value in present], present)
    assert ratio is not None
    assert ratio.low == pytest.approx(0.8)
    assert ratio.high == pytest.approx(0.8)
    assert paired_ratio([], []) is None


@given(st.floats(min_value=0, max_value=1e3))
@example(5e-324)
@example(float("inf"))
def test_a_turn_lasts_a_quarter_of_a_second_or_one_step_and_its_first_of_several_does_not_count(step_s: float) -> None:
    num_steps = steps_in_turn(step_s)
    if step_s >= TURN_S:
        assert num_steps == 1
    else:
        assert num_steps == 1 + MAX_STEPS_IN_TURN or (num_steps - 2) * step_s <= TURN_S <= (num_steps - 1) * step_s


def turn(step_s: float, num_steps: int = 1) -> Turn:
    return Turn(step_s=step_s, spent_s=num_steps * step_s)


def recorded_turn(name: str, step_s: float | None, calls: list[str]) -> Callable[[], Turn | None]:
    def step() -> Turn | None:
        calls.append(name)
        return None if step_s is None else turn(step_s)

    return step


def test_settings_take_turns_and_the_first_place_rotates() -> None:
    calls: list[str] = []
    turns = {name: recorded_turn(name, 0.001, calls) for name in "abc"}
    durations = interleave(turns, max_rounds=3)
    assert "".join(calls) == "abcbcacab"
    assert {name: len(values) for name, values in durations.items()} == {"a": 3, "b": 3, "c": 3}


def test_long_steps_end_after_the_least_rounds_and_short_ones_after_the_most() -> None:
    assert interleave({"a": lambda: turn(100.0)}, min_rounds=2) == {"a": [100.0, 100.0]}
    assert len(interleave({"a": lambda: turn(0.001)}, max_rounds=8)["a"]) == 8


def test_all_steps_of_a_turn_count_for_how_long_it_took() -> None:
    assert len(interleave({"a": lambda: turn(0.01, 50)}, seconds_per_setting=2.0)["a"]) == 4


def test_a_setting_that_fails_takes_no_further_part() -> None:
    calls: list[str] = []
    durations = interleave({"good": lambda: turn(0.1), "bad": recorded_turn("bad", None, calls)}, max_rounds=4)
    assert durations == {"good": [0.1] * 4, "bad": []}
    assert calls == ["bad"]
    assert interleave({}) == {}
