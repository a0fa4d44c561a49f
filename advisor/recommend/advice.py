"""From evidence to advice. Pure: nothing is measured, read or printed here.

What is recommended was run, ended well and fits; and a change is recommended only for a gain that
stands out of the noise. Otherwise the advice is to keep the present setting.
"""

import dataclasses

from advisor.errors import DeviceError
from advisor.measure.campaign import Campaign, Point
from advisor.predict.speed import NoSpeedFitError, fit_measurements
from advisor.recommend import options as price
from advisor.recommend.case import Case
from advisor.recommend.dataset import exposure, last_batch, steps_per_epoch, steps_per_epoch_drop_last
from advisor.recommend.duration import Beside, beside_steps, run_time, training_time
from advisor.recommend.monitoring import plan_milestones, plan_monitoring
from advisor.recommend.options import Candidate, Goal, lr_candidates
from advisor.recommend.precision import precision_notes
from advisor.recommend.reasons import note
from advisor.recommend.savers import Present, Saver, saver_options
from advisor.recommend.scaling import scale_setting
from advisor.recommend.searched import Searched
from advisor.recommend.timing_notes import timing_notes
from advisor.recommend.traps import trap_notes
from advisor.recommend.verdicts import (
    MIN_GAIN_FRAC,
    Appraisal,
    Limits,
    exceeds,
    find_problem,
    is_clear_gain,
    reasons_for,
)
from advisor.records import (
    Advice,
    Breakdown,
    Claim,
    Device,
    Measurement,
    Memory,
    NoiseScale,
    Note,
    Option,
    Speed,
    Verdict,
    record,
)

_TIE_FRAC = 0.05  # of settings this close in time, the smaller batch is taken


@record
class Evidence:
    """Everything that an advice is made of."""

    case: Case
    device: Device
    candidates: tuple[Candidate, ...]
    campaign: Campaign
    searched: Searched | None = None
    noise_scale: NoiseScale | None = None
    savers: tuple[Saver, ...] = ()
    remarks: tuple[Note, ...] = ()


def make_advice(evidence: Evidence) -> Advice:
    """The advice that the evidence supports.

    Raises:
        DeviceError: if no setting with a known effect on training could be run within the memory.
    """
    limits = _limits(evidence)
    appraisals = [_appraise(candidate, evidence, limits) for candidate in evidence.candidates]
    present, best = appraisals[0], _choose(appraisals, evidence.case.goal)
    layout = (best.candidate.micro_batch, best.candidate.accumulation)
    appraisals += [_appraise(candidate, evidence, limits) for candidate in lr_candidates(layout)]
    options = tuple(_option(one, present, best, evidence, limits) for one in appraisals)
    recommended = options[appraisals.index(best)]
    options += saver_options(evidence.savers, _beside(present, evidence), evidence.case.budget_bytes)
    built, measured = evidence.campaign.built, best.measurement
    occasions = _beside_steps(measured, evidence).occasions
    milestones = plan_milestones(recommended, evidence.case.run_samples, evidence.case.dataset, occasions)
    measurements = _measurements(evidence)
    return Advice(
        device=evidence.device,
        workload=evidence.case.workload,
        dataset=evidence.case.dataset,
        run_samples=evidence.case.run_samples,
        measurements=measurements,
        optimizer_steps_run=sum(one.steps_run for one in measurements),
        oom_count=sum(one.outcome == "oom" for one in measurements),
        elapsed_s=evidence.case.elapsed_s,
        memory=_memory(evidence, {one.micro_batch for one in options}),
        speed=_speed(evidence),
        noise_scale=evidence.noise_scale,
        recommended=recommended,
        options=options,
        milestones=milestones,
        monitoring=plan_monitoring(
            recommended, milestones, measured, evidence.case.budget_bytes, built.clip_norm if built else None
        )
        if measured
        else (),
        warnings=_warnings(evidence, present, recommended),
        provenance=evidence.case.provenance,
        exposure=exposure(evidence.case.run_samples, evidence.case.dataset),
        occasions=occasions,
    )


# ---- the choice ---------------------------------------------------------------------------------


def _choose(appraisals: list[Appraisal], goal: Goal) -> Appraisal:
    """The present setting unless another is clearly better, or the present one cannot be had."""
    present, *others = appraisals
    usable = [one for one in others if one.problem is None]
    if present.problem is not None:
        return _replacement(present, usable)
    if goal == "memory":
        return min([present, *(one for one in usable if _saves_memory(one, present))], key=_peak_bytes)
    min_gain_frac = MIN_GAIN_FRAC if goal == "balanced" else 0.0
    better = [one for one in usable if is_clear_gain(one.progress, min_gain_frac)]
    if not better:
        return present
    fastest = min(one.progress.value or 0 for one in better)
    tied = [one for one in better if (one.progress.value or 0) <= fastest * (1 + _TIE_FRAC)]
    return min(tied, key=lambda one: (one.effective_batch, one.candidate.accumulation))


def _replacement(present: Appraisal, usable: list[Appraisal]) -> Appraisal:
    """What to run where the present setting cannot: the same effective batch, with the shortest step."""
    same = [one for one in usable if one.effective_batch == present.effective_batch]
    if same:
        return min(
            same, key=lambda one: one.measurement.step_s.median if one.measurement and one.measurement.step_s else 0
        )
    why = present.problem.text if present.problem else ""
    raise DeviceError(
        f"no setting with the effective batch {present.effective_batch} can be run. {why} "
        "Give a smaller --batch-size, a larger --memory-budget, or another --device"
    )


def _saves_memory(one: Appraisal, present: Appraisal) -> bool:
    same_batch = one.effective_batch == present.effective_batch
    return same_batch and _peak_bytes(one) * (1 + MIN_GAIN_FRAC) < _peak_bytes(present)


def _peak_bytes(one: Appraisal) -> float:
    peak_bytes = one.measurement.peak_reserved_bytes if one.measurement else None
    return float("inf") if peak_bytes is None else peak_bytes


# ---- options ------------------------------------------------------------------------------------


def _beside(present: Appraisal, evidence: Evidence) -> Present:
    measurement = present.measurement
    return Present(
        case=evidence.case,
        fits=present.problem is None,
        peak_bytes=measurement.peak_reserved_bytes if measurement else None,
        step_s=measurement.step_s if measurement else None,
        rehearsed=evidence.campaign.rehearsed,
    )


def _limits(evidence: Evidence) -> Limits:
    failed = [
        p.measurement.micro_batch
        for p in evidence.campaign.points
        if p.measurement.outcome == "oom" or exceeds(p.measurement, evidence.case.budget_bytes)
    ]
    return Limits(
        budget_bytes=evidence.case.budget_bytes,
        max_batch=evidence.case.max_batch,
        smallest_failed=min(failed, default=None),
        largest_safe=evidence.searched.micro_batch if evidence.searched else None,
    )


def _appraise(candidate: Candidate, evidence: Evidence, limits: Limits) -> Appraisal:
    point = _point_at(evidence.campaign.points, candidate)
    setting = scale_setting(evidence.case.present, candidate.micro_batch, candidate.accumulation, evidence.noise_scale)
    if candidate.lr_factor != 1:
        setting = dataclasses.replace(setting, lr=_grid_lr(setting.lr, candidate.lr_factor))
    progress = price.time_to_same_progress(
        candidate, evidence.case.present, point.ratio_to_present if point else None, evidence.noise_scale
    )
    problem = find_problem(candidate, point, limits)
    return Appraisal(candidate=candidate, setting=setting, point=point, progress=progress, problem=problem)


def _point_at(points: tuple[Point, ...], candidate: Candidate) -> Point | None:
    layout = (candidate.micro_batch, candidate.accumulation)
    return next((p for p in points if (p.measurement.micro_batch, p.measurement.accumulation) == layout), None)


def _grid_lr(lr: Claim, factor: float) -> Claim:
    if lr.value is None:
        return lr
    return Claim(value=lr.value * factor, basis="rule", source=f"grid with factor {price.LR_GRID_FACTOR:g}")


def _option(one: Appraisal, present: Appraisal, best: Appraisal, evidence: Evidence, limits: Limits) -> Option:
    batch, measurement = one.effective_batch, one.measurement
    step_s = measurement.step_s if measurement else None
    training_s = training_time(evidence.case.run_samples, batch, measurement)
    return Option(
        id=one.candidate.id,
        micro_batch=one.candidate.micro_batch,
        accumulation=one.candidate.accumulation,
        effective_batch=batch,
        lr=one.setting.lr,
        betas=(one.setting.beta1, one.setting.beta2),
        ema_decay=one.setting.ema_decay,
        warmup_samples=one.setting.warmup_samples,
        peak_reserved_bytes=price.peak_memory(measurement),
        memory_frac=price.memory_share(measurement, evidence.case.budget_bytes),
        step_s=price.step_time(step_s),
        samples_per_s=price.throughput(batch, step_s),
        steps_per_epoch=steps_per_epoch(evidence.case.dataset.num_items, batch),
        run_s=run_time(training_s, _beside_steps(measurement, evidence)),
        time_to_same_progress=one.progress,
        verdict=_verdict(one, best, present),
        reasons=reasons_for(one, present, evidence.case.dataset.num_items, limits),
        training_s=training_s,
    )


def _beside_steps(measurement: Measurement | None, evidence: Evidence) -> Beside:
    return beside_steps(evidence.case.planned, evidence.campaign.rehearsed, measurement)


def _verdict(one: Appraisal, best: Appraisal, present: Appraisal) -> Verdict:
    if one is best:
        return "recommended"
    if one.problem is not None:
        return "infeasible"
    if one is present or one.candidate.lr_factor != 1:
        return "acceptable"
    slower = one.progress.low is None or one.progress.low > 1
    return "acceptable" if one.effective_batch == present.effective_batch and not slower else "not_recommended"


# ---- the rest of the document -------------------------------------------------------------------


def _measurements(evidence: Evidence) -> tuple[Measurement, ...]:
    timed = tuple(point.measurement for point in evidence.campaign.points)
    return timed + (evidence.searched.measurements if evidence.searched else ())


def _memory(evidence: Evidence, micro_batches: set[int]) -> Memory:
    points, budget_bytes = evidence.campaign.points, evidence.case.budget_bytes
    fitting = [
        p.measurement.micro_batch
        for p in points
        if p.measurement.outcome == "ok" and not exceeds(p.measurement, budget_bytes)
    ]
    known = [p.breakdown for p in points if p.breakdown is not None]
    searched = evidence.searched
    found = searched.micro_batch if searched else None
    not_timed = micro_batches - {p.measurement.micro_batch for p in points if p.measurement.outcome == "ok"}
    return Memory(
        max_micro_batch=max([*fitting, *([found] if found else [])], default=None),
        budget_bytes=budget_bytes,
        predicted=searched.predictions({*not_timed, *([2 * found] if found else [])}) if searched else (),
        breakdown=dataclasses.replace(known[0], activations_bytes_per_sample=_slope(points)) if known else Breakdown(),
    )


def _speed(evidence: Evidence) -> Speed:
    try:
        return fit_measurements([point.measurement for point in evidence.campaign.points]).summary()
    except NoSpeedFitError:
        return Speed()


def _slope(points: tuple[Point, ...]) -> int | None:
    """Bytes a sample adds to the peak of the first micro-batch, from the two largest that were run."""
    peaks = {p.measurement.micro_batch: p.phase_bytes["first_micro_batch"] for p in points if p.phase_bytes}
    if len(peaks) < 2:
        return None
    smaller, larger = sorted(peaks)[-2:]
    return round((peaks[larger] - peaks[smaller]) / (larger - smaller))


def _warnings(evidence: Evidence, present: Appraisal, recommended: Option) -> tuple[Note, ...]:
    batch, num_items = recommended.effective_batch, evidence.case.dataset.num_items
    steps, dropping = recommended.steps_per_epoch, steps_per_epoch_drop_last(num_items, batch)
    found = [
        note("present_does_not_fit", message=present.problem.text) if present.problem else None,
        note("batch_above_dataset", effective_batch=batch, num_items=num_items) if batch > num_items else None,
        note("noise_scale_unmeasured") if evidence.noise_scale is None and not evidence.remarks else None,
        *evidence.remarks,
        note(
            "epoch_convention",
            steps=steps,
            steps_drop_last=dropping,
            last_batch=last_batch(num_items, batch),
            effective_batch=batch,
        )
        if steps != dropping
        else None,
        *precision_notes(evidence.campaign.built, evidence.device),
        *trap_notes(evidence.campaign.built),
        note("not_searched") if evidence.searched is None else None,
        note("no_budget") if evidence.case.budget_bytes is None else None,
        *timing_notes(evidence.campaign, (recommended.micro_batch, recommended.accumulation)),
    ]
    searched = evidence.searched.notes(evidence.case.budget_bytes) if evidence.searched else []
    return (*evidence.case.notes, *searched, *(x for x in found if x is not None))
