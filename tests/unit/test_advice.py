"""The choice: what may be recommended, whatever was measured."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from advisor import schema
from advisor.errors import DeviceError
from advisor.measure.campaign import Campaign, Point
from advisor.measure.messages import Built
from advisor.recommend.advice import Evidence, make_advice
from advisor.recommend.case import Case
from advisor.recommend.note_texts import NOTES
from advisor.recommend.options import Goal, batch_candidates, more_accumulation
from advisor.recommend.reason_texts import REASONS
from advisor.recommend.reasons import fill
from advisor.records import (
    Advice,
    Breakdown,
    Claim,
    Dataset,
    Device,
    Measurement,
    NoiseScale,
    Option,
    Outcome,
    Provenance,
    Setting,
    Speed,
    StepTime,
    WorkloadRef,
)

GIB = 2**30
CPU = Device(
    index=None, kind="cpu", name="a CPU", uuid=None, total_bytes=4 * GIB, free_bytes=3 * GIB, usable_bytes=2 * GIB,
    used_by_others_bytes=GIB, compute_capability=None, num_cores=2, temperature_c=None, power_w=None,
    power_limit_w=None, default_power_limit_w=None,
)  # fmt: skip
BUILT = Built(lr=1e-4, beta1=0.9, beta2=0.999, ema_decay=0.9995, has_ema=True, clip_norm=1.0, tracking_costs_time=True)


def user(value: float) -> Claim:
    return Claim(value=value, basis="user", source="test")


def setting(micro_batch: int, accumulation: int) -> Setting:
    return Setting(
        micro_batch=micro_batch, accumulation=accumulation, lr=user(1e-4), beta1=user(0.9), beta2=user(0.999),
        ema_decay=user(0.9995), warmup_samples=user(3200),
    )  # fmt: skip


def point(
    layout: tuple[int, int], ratio: tuple[float, float, float] = (1, 1, 1), *, mib: int = 100, outcome: Outcome = "ok"
) -> Point:
    low, median, high = ratio
    ok = outcome == "ok"
    return Point(
        measurement=Measurement(
            micro_batch=layout[0],
            accumulation=layout[1],
            outcome=outcome,
            peak_allocated_bytes=mib * 2**19 if ok else None,
            peak_reserved_bytes=mib * 2**20 if ok else None,
            first_step_s=0.5 if ok else None,
            step_s=StepTime(median=0.1 * median, low=0.1 * low, high=0.1 * high, n=20) if ok else None,
            steps_run=22 if ok else 0,
            message=None if ok else "it did not work",
        ),
        ratio_to_present=StepTime(median=median, low=low, high=high, n=20) if ok else None,
        phase_bytes={"first_micro_batch": mib * 2**19} if ok else {},
        breakdown=Breakdown(weights_bytes=1000) if ok else None,
    )


def advise(
    points: list[Point],
    present: tuple[int, int] = (8, 2),
    *,
    budget_bytes: int | None = GIB,
    max_batch: int | None = None,
    noise_scale: NoiseScale | None = None,
    goal: Goal = "balanced",
    num_items: int = 1550,
) -> Advice:
    candidates = batch_candidates(present, goal)
    if points[0].measurement.outcome == "oom" and (further := more_accumulation(present)):
        candidates = (candidates[0], further)
    return make_advice(
        Evidence(
            case=Case(
                workload=WorkloadRef(name="test", parameters={}),
                dataset=Dataset(num_items=num_items, source="test"),
                run_samples=user(100_000),
                present=setting(*present),
                budget_bytes=budget_bytes,
                max_batch=max_batch,
                goal=goal,
                elapsed_s=12.0,
                provenance=Provenance(cfgadvise_version="0", created_at_utc="", command="", host=None),
            ),
            device=CPU,
            candidates=candidates,
            campaign=Campaign(points=tuple(points), built=BUILT, interleaved=True),
            noise_scale=noise_scale,
        )
    )


def option(advice: Advice, name: str) -> Option:
    return next(one for one in advice.options if one.id == name)


FASTER, NOISY, SMALL = (0.6, 0.65, 0.7), (0.5, 0.65, 1.05), (0.94, 0.96, 0.98)
PRESENT = point((8, 2))


def full(ratio: tuple[float, float, float], larger: tuple[float, float, float] = (0.9, 1.0, 1.1)) -> list[Point]:
    return [PRESENT, point((16, 1), ratio, mib=150), point((32, 1), larger, mib=250), point((8, 1), (0.4, 0.5, 0.6))]


def test_the_reference_case() -> None:
    advice = advise(full(FASTER))
    keep, same, larger = (option(advice, name) for name in ("keep", "no_accumulation", "larger_batch"))
    assert (keep.effective_batch, same.effective_batch, larger.effective_batch) == (16, 16, 32)
    assert (keep.steps_per_epoch, same.steps_per_epoch, larger.steps_per_epoch) == (97, 97, 49)
    assert (same.lr, same.ema_decay, same.warmup_samples) == (keep.lr, keep.ema_decay, keep.warmup_samples)
    assert (larger.lr.value, larger.lr.low, larger.lr.high) == pytest.approx((1.41e-4, 1.19e-4, 1.68e-4), rel=3e-3)
    assert advice.recommended == same
    assert keep.verdict == "acceptable"
    assert larger.verdict == "not_recommended"


@pytest.mark.parametrize("ratio", [NOISY, SMALL, (1.0, 1.0, 1.0), (1.2, 1.3, 1.4)])
def test_a_gain_inside_the_noise_or_a_small_one_keeps_the_present_setting(ratio: tuple[float, float, float]) -> None:
    assert advise(full(ratio)).recommended.id == "keep"


def test_the_goal_time_takes_a_small_but_clear_gain_and_memory_the_smallest() -> None:
    assert advise(full(SMALL), goal="time").recommended.id == "no_accumulation"
    assert advise(full(NOISY), goal="time").recommended.id == "keep"
    points = [*full(FASTER), point((4, 4), (1.5, 1.6, 1.7), mib=60)]
    assert advise(points, goal="memory").recommended.id == "less_memory"


def test_the_model_of_step_times_is_part_of_the_advice_where_it_holds() -> None:
    times = {(8, 2): 1.0, (16, 1): 0.85, (32, 1): 1.35, (8, 1): 0.6}  # in present steps: a (0.15 + b / 32) + 0.2
    speed = advise([point(layout, (t, t, t)) for layout, t in times.items()]).speed
    assert (speed.alpha_s, speed.beta_s, speed.gamma_s) == pytest.approx((0.015, 0.003125, 0.02), rel=1e-4)
    assert speed.knee_micro_batch is not None
    without_accumulation = [point(layout) for layout in ((16, 1), (32, 1), (8, 1))]
    assert advise(without_accumulation, (16, 1)).speed == Speed()


def test_without_a_noise_scale_only_bounds_of_a_larger_batch_are_known() -> None:
    larger = option(advise(full(FASTER, larger=(0.9, 1.0, 1.1))), "larger_batch").time_to_same_progress
    assert larger.value is None
    assert (larger.low, larger.high) == pytest.approx((0.45, 1.1))
    smaller = option(advise(full(FASTER)), "smaller_batch").time_to_same_progress
    assert (smaller.low, smaller.high) == pytest.approx((0.4, 1.2))


def test_the_noise_scale_decides_between_a_larger_and_a_smaller_batch() -> None:
    noise_scale = NoiseScale(value=1000, low=500, high=2000, n=200)
    advice = advise(full((0.95, 1.0, 1.05), larger=(0.9, 1.0, 1.1)), noise_scale=noise_scale)
    assert advice.recommended.id == "larger_batch"
    assert advice.recommended.time_to_same_progress.value == pytest.approx((1 + 1000 / 32) / (1 + 1000 / 16))
    small = NoiseScale(value=2, low=1, high=4, n=200)
    assert advise(full((0.95, 1.0, 1.05), larger=(0.9, 1.0, 1.1)), noise_scale=small).recommended.id == "smaller_batch"


def test_where_the_present_setting_does_not_fit_a_smaller_micro_batch_is_recommended() -> None:
    advice = advise([point((8, 2), outcome="oom"), point((4, 4))])
    assert advice.recommended.id == "less_memory"
    assert advice.present.verdict == "infeasible"
    assert advice.oom_count == 1
    assert "present_does_not_fit" in {one.id for one in advice.warnings}
    with pytest.raises(DeviceError, match="no setting with the effective batch 16 can be run"):
        advise([point((8, 2), outcome="oom"), point((4, 4), outcome="oom")])


def test_infeasible_options_say_why() -> None:
    points = [PRESENT, point((16, 1), FASTER, mib=2000), point((8, 1), (0.4, 0.5, 0.6))]
    advice = advise([*points, point((32, 1), outcome="oom")], max_batch=None)
    assert [one.id for one in option(advice, "no_accumulation").reasons] == ["does_not_fit"]
    assert [one.id for one in option(advice, "larger_batch").reasons] == ["out_of_memory"]
    assert [one.id for one in option(advise(points, max_batch=20), "larger_batch").reasons] == ["over_max_batch"]
    smaller = [PRESENT, point((16, 1), mib=2000)]
    (only,) = option(advise(smaller), "larger_batch").reasons
    assert only.text == "Not run: micro-batch 16, which is smaller, does not fit already."
    for outcome, name in (("timeout", "timed_out"), ("error", "failed"), ("non_finite", "non_finite")):
        advice = advise([*points, point((32, 1), outcome=outcome)])
        assert [one.id for one in option(advice, "larger_batch").reasons] == [name]


def test_the_learning_rate_grid_stands_at_the_recommended_layout() -> None:
    advice = advise(full(FASTER))
    higher, lower = option(advice, "higher_lr"), option(advice, "lower_lr")
    assert (higher.micro_batch, higher.accumulation) == (16, 1)
    assert (higher.lr.value, lower.lr.value) == pytest.approx((2e-4, 5e-5))
    assert higher.step_s == advice.recommended.step_s
    assert higher.time_to_same_progress.value is None


def test_milestones_are_whole_steps_of_the_recommended_setting() -> None:
    advice = advise(full(FASTER))
    assert [one.id for one in advice.milestones] == ["first_look", "quarter", "half", "three_quarters", "end"]
    assert all(one.samples == one.step * 16 for one in advice.milestones)
    assert advice.milestones[-1].samples >= 100_000 > advice.milestones[-1].samples - 16
    end = advice.milestones[-1].elapsed_s
    assert end.value == pytest.approx(advice.recommended.run_s.value)


def test_memory_names_the_largest_that_ran_and_what_a_sample_adds() -> None:
    memory = advise(full(FASTER)).memory
    assert memory.max_micro_batch == 32
    assert memory.breakdown.activations_bytes_per_sample == round(100 * 2**19 / 16)
    assert memory.breakdown.weights_bytes == 1000


# ---- properties ---------------------------------------------------------------------------------

RATIOS = st.lists(st.floats(min_value=0.1, max_value=5), min_size=3, max_size=3).map(lambda x: tuple(sorted(x)))
OUTCOMES = st.sampled_from(["ok", "ok", "ok", "oom", "error", "timeout", "non_finite"])
LAYOUTS = st.tuples(st.integers(1, 32), st.integers(1, 8))
NOISE = st.none() | st.lists(st.floats(0.1, 1e5), min_size=3, max_size=3).map(
    lambda x: NoiseScale(low=sorted(x)[0], value=sorted(x)[1], high=sorted(x)[2], n=200)
)


@st.composite
def campaigns(draw: st.DrawFn) -> tuple[tuple[int, int], Goal, list[Point]]:
    present, goal = draw(LAYOUTS), draw(st.sampled_from(["balanced", "time", "memory"]))
    layouts = [(one.micro_batch, one.accumulation) for one in batch_candidates(present, goal)]
    points = [point(present, mib=draw(st.integers(1, 1500)))]
    for layout in dict.fromkeys(layouts[1:]):
        if draw(st.integers(0, 9)):
            points.append(point(layout, draw(RATIOS), mib=draw(st.integers(1, 1500)), outcome=draw(OUTCOMES)))
    return present, goal, points


@settings(max_examples=300, deadline=None)
@given(campaigns(), st.none() | st.integers(1, 1500), NOISE, st.none() | st.integers(1, 256), st.integers(1, 10**5))
def test_whatever_was_measured(
    campaign: tuple[tuple[int, int], Goal, list[Point]],
    budget_mib: int | None,
    noise_scale: NoiseScale | None,
    max_batch: int | None,
    num_items: int,
) -> None:
    present, goal, points = campaign
    assume(max_batch is None or present[0] <= max_batch)
    budget_bytes = None if budget_mib is None else budget_mib * 2**20
    try:
        advice = advise(
            points, present, budget_bytes=budget_bytes, max_batch=max_batch, noise_scale=noise_scale, goal=goal,
            num_items=num_items,
        )  # fmt: skip
    except DeviceError:
        assert budget_bytes is not None
        assert (points[0].measurement.peak_reserved_bytes or 0) > budget_bytes
        return
    best = advice.recommended
    ran = {(p.measurement.micro_batch, p.measurement.accumulation): p for p in points if p.measurement.outcome == "ok"}

    assert (best.micro_batch, best.accumulation) in ran, "recommended without being run"
    assert budget_bytes is None or (best.peak_reserved_bytes.value or 0) <= budget_bytes
    assert max_batch is None or best.micro_batch <= max_batch
    assert [one for one in advice.options if one.verdict == "recommended"] == [best]
    if noise_scale is None:
        assert best.effective_batch == present[0] * present[1]
    if best.effective_batch == present[0] * present[1]:
        assert (best.lr, best.betas, best.ema_decay) == (
            advice.present.lr,
            advice.present.betas,
            advice.present.ema_decay,
        )
    if best.id != "keep" and advice.present.verdict != "infeasible" and goal != "memory":
        progress = best.time_to_same_progress
        assert progress.high is not None and progress.high < 1, "a change inside the noise"
        assert progress.value is not None and progress.value <= (1 / 1.05 if goal == "balanced" else 1)
    assert schema.from_json(Advice, advice.to_json(), where="round trip") == advice


@given(campaigns(), st.integers(1, 1500), st.integers(0, 1500))
def test_a_larger_budget_never_makes_it_slower(
    campaign: tuple[tuple[int, int], Goal, list[Point]], budget_mib: int, more_mib: int
) -> None:
    present, _, points = campaign
    ratios = []
    for mib in (budget_mib, budget_mib + more_mib):
        try:
            ratios.append(
                advise(points, present, budget_bytes=mib * 2**20).recommended.time_to_same_progress.value or 1
            )
        except DeviceError:
            assume(False)
    assert ratios[1] <= ratios[0] or points[0].measurement.peak_reserved_bytes > budget_mib * 2**20  # type: ignore[operator]


# ---- sentences ----------------------------------------------------------------------------------


def test_every_sentence_has_one_id_and_writes_unknown_values() -> None:
    assert not REASONS.keys() & NOTES.keys()
    assert fill("{a:bytes} {b:duration} {c:lr} {d:percent} {e:ratio} {f:count}", dict.fromkeys("abcdef")) == " ".join(
        ["unknown"] * 6
    )
    values = {"a": 2**30, "b": 0.05, "c": 1.41e-4, "d": 0.125, "e": 0.654, "f": 20000}
    text = fill("{a:bytes} {b:duration} {c:lr} {d:percent} {e:ratio} {f:count}", values)
    assert text == "1.00 GiB 50.0 ms 1.41e-4 12.5 % 0.65 20 000"
