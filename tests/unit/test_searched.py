"""What a search means for an advice: which candidates are run, what is predicted, what is said."""

import pytest

from advisor.measure.attempts import Attempt, Plan
from advisor.measure.found import Found, Stop
from advisor.measure.history import trace_of
from advisor.recommend.options import Candidate
from advisor.recommend.searched import Searched
from advisor.workload.child import Failure

MIB = 2**20


class Line:
    """100 MiB, and 10 more for each sample."""

    def at(self, micro_batch: int) -> int:
        return (100 + 10 * micro_batch) * MIB


def attempt(micro_batch: int, *, checks: bool = False, fits: bool = True) -> Attempt:
    return Attempt(
        plan=Plan(micro_batch=micro_batch, num_steps=2, checks=checks),
        outcome="ok" if fits else "oom",
        steps_run=2 if fits else 0,
        peak_bytes=Line().at(micro_batch) if fits else None,
        peak_reserved_bytes=Line().at(micro_batch) if fits else None,
        gradients_bytes=20 * MIB,
        failure=None if fits else Failure(outcome="oom", message="out of memory"),
    )


def searched(stop: Stop = "memory", *, micro_batch: int | None = 40, error_frac: float = 0.01) -> Searched:
    attempts = (attempt(5), attempt(10), attempt(40, checks=True), attempt(50, fits=False))
    found = Found(micro_batch=micro_batch, stop=stop, attempts=attempts, curve=Line(), error_frac=error_frac)
    return Searched(found=found, accumulation=2)


def candidate(micro_batch: int, accumulation: int) -> Candidate:
    return Candidate(id="any", micro_batch=micro_batch, accumulation=accumulation)


def test_what_is_above_the_largest_is_not_run_unless_gradients_make_the_difference() -> None:
    found, budget_bytes = searched(), 500 * MIB
    assert found.allows(candidate(40, 2), budget_bytes)
    assert not found.allows(candidate(41, 2), budget_bytes)
    assert found.allows(candidate(42, 1), budget_bytes), "without accumulation there are no gradients yet: 20 MiB less"
    assert not found.allows(candidate(43, 1), budget_bytes)
    assert not searched("out_of_memory").allows(candidate(42, 1), budget_bytes)


@pytest.mark.parametrize("stop", ["time", "steps"])
def test_a_search_that_was_cut_short_forbids_nothing(stop: Stop) -> None:
    assert searched(stop).allows(candidate(100, 2), 500 * MIB)


def test_a_search_in_vain_forbids_nothing_and_says_so() -> None:
    found = searched("failure", micro_batch=None)
    assert found.allows(candidate(100, 2), 500 * MIB)
    assert [one.id for one in found.notes(500 * MIB)] == ["searched_in_vain"]


def test_what_was_run_is_not_predicted_and_intervals_are_those_of_the_check() -> None:
    (twenty, eighty) = searched(error_frac=0.1).predictions([5, 20, 40, 80])
    assert (twenty.micro_batch, eighty.micro_batch) == (20, 80)
    assert (twenty.low, twenty.reserved_bytes, twenty.high) == (270 * MIB, 300 * MIB, 330 * MIB)


def test_every_attempt_is_a_measurement() -> None:
    measurements = searched().measurements
    assert [(one.micro_batch, one.accumulation, one.outcome, one.steps_run) for one in measurements] == [
        (5, 2, "ok", 2),
        (10, 2, "ok", 2),
        (40, 2, "ok", 2),
        (50, 2, "oom", 0),
    ]


@pytest.mark.parametrize(
    "stop", ["memory", "max_batch", "dataset_size", "out_of_memory", "size_limit", "failure", "time", "steps"]
)
def test_every_end_has_its_sentence(stop: Stop) -> None:
    said = searched(stop).notes(500 * MIB)
    assert [one.id for one in said] == ["searched", f"stopped_{stop}"]
    assert "ran out of memory 1 times" in said[0].text


def test_the_history_of_cuda_becomes_allocations_and_frees() -> None:
    entries = [
        {"action": "free_completed", "addr": 3},  # of before the recording began
        {"action": "segment_alloc", "addr": 1, "size": 2 * MIB},
        {"action": "alloc", "addr": 1, "size": 700},
        {"action": "alloc", "addr": 2, "size": 512},
        {"action": "free_requested", "addr": 1, "size": 700},
        {"action": "free_completed", "addr": 1, "size": 700},
        {"action": "alloc", "addr": 1, "size": 100},
    ]
    trace = trace_of(entries, 8)
    assert (trace.micro_batch, trace.events, trace.sizes_bytes) == (8, (0, 1, -1, 2), (700, 512, 100))
