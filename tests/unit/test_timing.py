"""Intervals of medians, and the order in which settings take turns."""

import random
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.measure.timing import interleave, median_interval, paired_ratio, summarize


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


def recorded_step(name: str, seconds: float | None, calls: list[str]) -> Callable[[], float | None]:
    def step() -> float | None:
        calls.append(name)
        return seconds

    return step


def test_settings_take_turns_and_the_first_place_rotates() -> None:
    calls: list[str] = []
    steps = {name: recorded_step(name, 0.001, calls) for name in "abc"}
    durations = interleave(steps, max_rounds=3)
    assert "".join(calls) == "abcbcacab"
    assert {name: len(values) for name, values in durations.items()} == {"a": 3, "b": 3, "c": 3}


def test_long_steps_end_after_the_least_rounds_and_short_ones_after_the_most() -> None:
    assert interleave({"a": lambda: 100.0}, min_rounds=2) == {"a": [100.0, 100.0]}
    assert len(interleave({"a": lambda: 0.001}, max_rounds=8)["a"]) == 8


def test_a_setting_that_fails_takes_no_further_part() -> None:
    calls: list[str] = []
    durations = interleave({"good": lambda: 0.1, "bad": recorded_step("bad", None, calls)}, max_rounds=4)
    assert durations == {"good": [0.1] * 4, "bad": []}
    assert calls == ["bad"]
    assert interleave({}) == {}
