"""The search for the largest micro-batch on devices whose memory is known: what is run, and what is found."""

import dataclasses
import itertools
import math
from collections.abc import Callable

import pytest

from advisor.measure.attempts import Attempt, Plan
from advisor.measure.found import Found, Ground
from advisor.measure.search import MAX_FAILURES, MAX_STEPS, MAX_STEPS_WITHOUT_LAW, search
from advisor.predict.trace import UNIT_BYTES, Trace
from advisor.records import Outcome
from advisor.workload.child import Failure

KEPT_BYTES, SAMPLE_BYTES = 400_000 * UNIT_BYTES, 100 * UNIT_BYTES
FLAT_UP_TO = 2 * KEPT_BYTES // SAMPLE_BYTES  # where the optimizer takes more than the micro-batch
Peak = Callable[[int], int]


def affine(batch: int) -> int:
    return KEPT_BYTES + SAMPLE_BYTES * batch


def two_phases(batch: int) -> int:
    """The optimizer's step dominates at small batches: flat, then steep."""
    return max(3 * KEPT_BYTES, affine(batch))


def square(batch: int) -> int:
    return KEPT_BYTES + 3 * UNIT_BYTES * batch * batch


def trace(batch: int, sizes: list[int], *, extra: int = 0) -> Trace:
    events = [0, 1, -2, 2, -3, *(x for _ in range(extra) for x in (3, -4))]
    return Trace(micro_batch=batch, events=tuple(events), sizes_bytes=(*sizes, *([1] * bool(extra))))


def history(batch: int, peak: Peak) -> Trace:
    """Weights that stay, activations that grow, and what the optimizer takes for a moment."""
    if peak is square:
        return trace(batch, [KEPT_BYTES, square(batch) - KEPT_BYTES, 0])
    return trace(batch, [KEPT_BYTES, SAMPLE_BYTES * batch, 2 * KEPT_BYTES if peak is two_phases else 0])


class Device:
    """Runs out of memory above ``limit_bytes``, or fails as ``fails`` says; takes ``overhead`` besides its tensors."""

    def __init__(
        self,
        peak: Peak,
        *,
        limit_bytes: float = math.inf,
        traces: bool = True,
        overhead: Peak = lambda _: 0,
        fails: Callable[[int], tuple[Outcome, bool] | None] = lambda _: None,
        step_s: Callable[[int], float] = lambda batch: 0.001 * batch,
        aligned: bool = True,
    ) -> None:
        self._peak, self._limit_bytes, self._traces, self._overhead = peak, limit_bytes, traces, overhead
        self._fails, self._step_s, self._aligned = fails, step_s, aligned
        self.plans: list[Plan] = []

    def run(self, plan: Plan) -> Attempt:
        self.plans.append(plan)
        batch = plan.micro_batch
        taken = self._peak(batch) + self._overhead(batch)
        failed = ("oom", False) if taken > self._limit_bytes else self._fails(batch)
        if failed is not None:
            failure = Failure(outcome=failed[0], message=f"at {batch}", is_size_limit=failed[1])
            return Attempt(plan=plan, outcome=failed[0], steps_run=0, failure=failure)
        made = history(batch, self._peak) if self._aligned else trace(batch, [1, 1, 1], extra=batch)
        return Attempt(
            plan=plan,
            outcome="ok",
            steps_run=plan.num_steps,
            peak_bytes=taken,
            kept_bytes=KEPT_BYTES,
            step_s=self._step_s(batch),
            elapsed_s=plan.num_steps * self._step_s(batch),
            trace=made if self._traces else None,
        )


def ground(peak: Peak, true_max: int, **changes: object) -> Ground:
    """A budget for exactly so many samples."""
    within = Ground(
        budget_bytes=peak(true_max), most=2**20, most_is="dataset_size", start=16, forecast=peak, margin_frac=0.0
    )
    return dataclasses.replace(within, **changes)  # type: ignore[arg-type]


def is_checked(found: Found) -> bool:
    return any(
        one.plan.checks and one.outcome == "ok" and one.micro_batch == found.micro_batch for one in found.attempts
    )


@pytest.mark.parametrize("peak", [affine, two_phases, square])
@pytest.mark.parametrize("true_max", [99, 300, 777, 999, 6000, 16000])
def test_a_foreseen_device_is_filled_without_an_error(peak: Peak, true_max: int) -> None:
    true_max = true_max + FLAT_UP_TO if peak is two_phases else true_max
    device = Device(peak, limit_bytes=peak(true_max))
    found = search(ground(peak, true_max), device.run)
    assert found.micro_batch == true_max
    assert (found.stop, found.oom_count) == ("memory", 0)
    assert found.steps_run <= MAX_STEPS
    assert is_checked(found)


@pytest.mark.parametrize("true_max", [2, 3, 5, 17, 99, 6000])
def test_without_a_forecast_two_histories_say_enough(true_max: int) -> None:
    device = Device(affine, limit_bytes=affine(true_max))
    found = search(ground(affine, true_max, forecast=None, start=2), device.run)
    assert found.micro_batch == true_max
    assert (found.oom_count, is_checked(found)) == (0, True)
    assert found.steps_run <= MAX_STEPS


@pytest.mark.parametrize("true_max", [99, 777, 6000])
@pytest.mark.parametrize("peak", [affine, two_phases, square])
def test_without_aligned_histories_it_goes_up_guardedly(peak: Peak, true_max: int) -> None:
    true_max = true_max + FLAT_UP_TO if peak is two_phases else true_max
    device = Device(peak, limit_bytes=peak(true_max), aligned=False)
    found = search(ground(peak, true_max, forecast=None), device.run)
    assert found.micro_batch is not None
    assert found.micro_batch <= true_max
    assert found.oom_count == 0
    assert found.steps_run <= MAX_STEPS_WITHOUT_LAW
    assert is_checked(found)
    batches = [one.micro_batch for one in found.attempts]
    assert all(later <= 2 * earlier or peak is not square for earlier, later in itertools.pairwise(batches))


def test_a_line_through_small_batches_is_not_trusted() -> None:
    """Flat up to 8000 samples: a line through two probes there would say infinity."""
    true_max = 9000
    device = Device(two_phases, limit_bytes=two_phases(true_max), traces=False)
    found = search(ground(two_phases, true_max, forecast=None), device.run)
    assert found.oom_count == 0
    assert is_checked(found)


def test_what_a_device_takes_besides_tensors_is_measured_and_added() -> None:
    def overhead(batch: int) -> int:
        return KEPT_BYTES // 4 + SAMPLE_BYTES * batch // 10

    limit_bytes = affine(777) + overhead(777)
    device = Device(affine, overhead=overhead)
    found = search(ground(affine, 777, budget_bytes=limit_bytes), device.run)
    assert found.micro_batch == 777
    assert found.steps_run <= MAX_STEPS


def test_a_check_above_the_budget_is_followed_by_a_smaller_one() -> None:
    """Something that only large batches take, as no probe could show."""

    def jump(batch: int) -> int:
        return 40 * SAMPLE_BYTES if batch > 400 else 0

    device = Device(affine, overhead=jump)
    found = search(ground(affine, 777), device.run)
    assert found.micro_batch is not None
    assert 700 <= found.micro_batch <= 777 - 40
    assert (found.steps_run <= MAX_STEPS, is_checked(found)) == (True, True)


@pytest.mark.parametrize("by_hand", [1, 2, 3, 15, 16, 99, 500, 777, 5000])
@pytest.mark.parametrize("forecast", [affine, None])
def test_an_error_that_nobody_could_foresee_leaves_an_answer_below_it(by_hand: int, forecast: Peak | None) -> None:
    device = Device(affine, fails=lambda batch: ("oom", False) if batch > by_hand else None)
    start = min(16, by_hand)
    found = search(ground(affine, 6000, forecast=forecast, start=start), device.run)
    assert found.micro_batch is not None
    assert start <= found.micro_batch <= by_hand
    assert found.oom_count <= MAX_FAILURES
    assert found.steps_run <= 20
    assert is_checked(found)
    assert found.stop == "out_of_memory"


def test_limits_of_the_question_and_of_kernels_are_kept_apart_from_memory() -> None:
    limited = search(ground(affine, 6000, most=777, most_is="max_batch"), Device(affine).run)
    assert (limited.micro_batch, limited.stop) == (777, "max_batch")
    small_data = search(ground(affine, 6000, most=9), Device(affine).run)
    assert (small_data.micro_batch, small_data.stop) == (9, "dataset_size")
    of_kernels = Device(affine, fails=lambda batch: ("error", True) if batch > 2000 else None)
    found = search(ground(affine, 6000), of_kernels.run)
    assert found.micro_batch is not None
    assert (1000 <= found.micro_batch <= 2000, found.stop, found.oom_count) == (True, "size_limit", 0)


def test_a_step_that_wants_multiples_gets_them() -> None:
    device = Device(affine, fails=lambda batch: ("error", False) if batch % 16 else None)
    found = search(ground(affine, 777), device.run)
    assert (found.micro_batch, found.oom_count) == (768, 0)


def test_a_failure_at_batch_one_is_never_met() -> None:
    device = Device(affine, fails=lambda batch: ("error", False) if batch == 1 else None)
    found = search(ground(affine, 5, start=1), device.run)
    assert found.micro_batch == 5
    assert 1 not in [plan.micro_batch for plan in device.plans]


def test_a_hang_ends_the_search_with_what_ran() -> None:
    device = Device(affine, fails=lambda batch: ("timeout", False) if batch > 1000 else None)
    found = search(ground(affine, 6000), device.run)
    assert found.micro_batch == 750
    assert sum(one.outcome == "timeout" for one in found.attempts) == 1
    always = search(ground(affine, 6000), Device(affine, fails=lambda _: ("timeout", False)).run)
    assert (always.micro_batch, always.stop, len(always.attempts)) == (None, "failure", 1)


def test_the_users_own_error_is_met_twice_at_most() -> None:
    device = Device(affine, fails=lambda _: ("error", False))
    found = search(ground(affine, 6000), device.run)
    assert (found.micro_batch, found.stop, found.message) == (None, "failure", f"at {device.plans[-1].micro_batch}")
    assert [plan.micro_batch for plan in device.plans] == [750, 16]


def test_nothing_fits() -> None:
    device = Device(affine, limit_bytes=KEPT_BYTES)
    found = search(ground(affine, 6000, budget_bytes=KEPT_BYTES), device.run)
    assert (found.micro_batch, found.stop) == (None, "nothing_fits")
    assert found.oom_count <= MAX_FAILURES


def test_a_spill_into_the_hosts_memory_is_noticed() -> None:
    device = Device(affine, step_s=lambda batch: batch * (0.01 if batch > 3000 else 0.001))
    found = search(ground(affine, 6000, notices_spills=True), device.run)
    assert found.micro_batch is not None
    assert found.micro_batch <= 3000


def test_a_search_has_an_end_in_time() -> None:
    found = search(ground(affine, 6000, time_limit_s=20.0), Device(affine).run)
    assert found.stop == "time"
    assert found.micro_batch is not None
    assert sum(one.elapsed_s for one in found.attempts) <= 20.0
