"""Ways to save memory, as options beside the present setting."""

import dataclasses

import pytest
from sample_advice import CPU, P100

from advisor.recommend.case import Case
from advisor.recommend.savers import Present, Saver, saver_options, worth_trying
from advisor.records import (
    Claim,
    Dataset,
    Host,
    Measurement,
    MemoryPrediction,
    Provenance,
    Setting,
    StepTime,
    WorkloadRef,
)
from advisor.workload.description import Built

MIB = 2**20
BUILT = Built(lr=1e-4, beta1=0.9, beta2=0.999, ema_decay=None, has_ema=False, clip_norm=None, tracking_costs_time=False)
UNKNOWN = Claim(value=None, basis="user", source="test data")
HOST = Host(
    os="Linux", cpu_name="Test CPU", num_cores=2, ram_total_bytes=None, ram_available_bytes=None,
    python_version="3.11", torch_version=None, torch_cuda_version=None, driver_version=None,
    driver_cuda_version=None, in_container=None,
)  # fmt: skip
CASE = Case(
    workload=WorkloadRef(name="test", parameters={}),
    dataset=Dataset(num_items=1550, source="test data"),
    run_samples=Claim(value=1000 * 16, basis="user", source="test data"),
    present=Setting(
        micro_batch=8,
        accumulation=2,
        lr=Claim(value=1e-4, basis="user", source="test data"),
        beta1=UNKNOWN,
        beta2=UNKNOWN,
        ema_decay=UNKNOWN,
        warmup_samples=UNKNOWN,
    ),
    budget_bytes=100 * MIB,
    elapsed_s=1.0,
    provenance=Provenance(cfgadvise_version="0", created_at_utc="2026-01-01", command="", host=HOST),
)


def step_s(median: float) -> StepTime:
    return StepTime(median=median, low=0.98 * median, high=1.02 * median, n=20)


def measured(peak_mib: float, seconds: float = 0.1, outcome: str = "ok") -> Measurement:
    return Measurement(
        micro_batch=8,
        accumulation=2,
        outcome=outcome,
        peak_allocated_bytes=None,
        peak_reserved_bytes=round(peak_mib * MIB) if outcome == "ok" else None,
        first_step_s=None,
        step_s=step_s(seconds) if outcome == "ok" else None,
        steps_run=20,
        message=None,
    )


def one_option(saver: Saver, *, fits: bool = True, peak_mib: float = 90, seconds: float | None = 0.1):
    present = Present(
        case=CASE, fits=fits, peak_bytes=round(peak_mib * MIB), step_s=step_s(seconds) if seconds else None
    )
    (option,) = saver_options([saver], present, CASE.budget_bytes)
    return option


def ids(option) -> list[str]:
    return [one.id for one in option.reasons]


def test_what_is_worth_a_try():
    ampere = dataclasses.replace(P100, compute_capability="8.0")
    assert worth_trying(BUILT, P100) == ("checkpointing", "fp16")  # no bfloat16 before compute capability 8.0
    assert worth_trying(BUILT, ampere) == ("checkpointing", "bf16")
    assert worth_trying(BUILT, CPU) == ("checkpointing", "bf16")
    assert worth_trying(None, ampere) == ("checkpointing", "bf16")
    assert worth_trying(dataclasses.replace(BUILT, precision="fp16"), ampere) == ("checkpointing",)
    assert worth_trying(dataclasses.replace(BUILT, precision="bf16"), CPU, checkpoints=True) == ()


def test_a_measured_one_shows_its_memory_and_its_time():
    option = one_option(Saver(id="checkpointing", measurement=measured(50, 0.13)))
    assert (option.verdict, option.micro_batch, option.accumulation, option.effective_batch) == ("acceptable", 8, 2, 16)
    assert option.peak_reserved_bytes.value == 50 * MIB
    assert option.memory_frac.value == 0.5
    assert option.time_to_same_progress.value == pytest.approx(1.3)
    assert option.time_to_same_progress.low < 1.3 < option.time_to_same_progress.high
    assert {option.peak_reserved_bytes.basis, option.step_s.basis, option.time_to_same_progress.basis} == {"measured"}
    assert ids(option) == ["recomputes_activations", "less_memory", "slower", "fits"]


@pytest.mark.parametrize(("seconds", "reason"), [(0.05, "faster"), (0.1, "about_as_fast"), (0.2, "slower")])
def test_the_price_in_time_is_said_as_far_as_it_stands_out(seconds, reason):
    assert reason in ids(one_option(Saver(id="bf16", measurement=measured(50, seconds))))


def test_one_that_buys_the_batch_says_so():
    option = one_option(Saver(id="fp16", measurement=measured(60)), fits=False, peak_mib=120, seconds=None)
    assert ids(option) == ["half_precision", "buys_batch", "less_memory", "check_half_precision", "fits"]
    assert option.time_to_same_progress.value is None


@pytest.mark.parametrize(
    ("saver", "reason"),
    [
        (Saver(id="bf16", measurement=measured(0, outcome="oom")), "out_of_memory"),
        (Saver(id="bf16", measurement=measured(0, outcome="error")), "failed"),
        (Saver(id="bf16", measurement=measured(101)), "does_not_fit"),
        (
            Saver(
                id="bf16",
                prediction=MemoryPrediction(micro_batch=8, reserved_bytes=95 * MIB, low=90 * MIB, high=105 * MIB),
            ),
            "may_not_fit",
        ),
    ],
)
def test_one_that_does_not_help_is_not_possible(saver, reason):
    option = one_option(saver, fits=False)
    assert option.verdict == "infeasible"
    assert ids(option)[-1] == reason


def test_a_predicted_one_has_an_interval_and_its_time_is_a_rule():
    prediction = MemoryPrediction(micro_batch=8, reserved_bytes=50 * MIB, low=46 * MIB, high=55 * MIB)
    option = one_option(Saver(id="checkpointing", prediction=prediction), seconds=None)
    assert option.peak_reserved_bytes == Claim(
        value=50 * MIB, low=46 * MIB, high=55 * MIB, basis="predicted", source=option.peak_reserved_bytes.source
    )
    assert option.memory_frac.high == 0.55
    assert (option.time_to_same_progress.basis, option.step_s.value) == ("rule", None)
    assert option.time_to_same_progress.value == pytest.approx(4 / 3)
    assert "checkpointing_price" in ids(option)


def test_of_a_users_own_step_nothing_is_claimed():
    for name in ("checkpointing", "bf16", "fp16"):
        option = one_option(Saver(id=name))
        figures = (option.peak_reserved_bytes, option.memory_frac, option.step_s, option.samples_per_s, option.run_s)
        assert {(claim.value, claim.basis) for claim in figures} == {(None, "rule")}
        assert option.verdict == "acceptable"
        assert "saver_untried" in ids(option)
        assert not {"fits", "less_memory", "buys_batch"} & set(ids(option))
