"""Advice for a card that is not here. Pure: memory and time from a simulated one, nothing measured."""

import dataclasses

from advisor.errors import DeviceError
from advisor.recommend import foreseen
from advisor.recommend import options as price
from advisor.recommend.absent_card import Forecast, device_of
from advisor.recommend.dataset import exposure, steps_per_epoch
from advisor.recommend.monitoring import plan_milestones, plan_monitoring
from advisor.recommend.options import Candidate, batch_candidates, lr_candidates, more_accumulation
from advisor.recommend.precision import precision_notes
from advisor.recommend.reasons import note, reason
from advisor.recommend.savers import Present, saver_options
from advisor.recommend.scaling import scale_setting
from advisor.recommend.traps import trap_notes
from advisor.recommend.verdicts import MIN_GAIN_FRAC, Appraisal, changed_batch_reasons, is_clear_gain, lr_reasons
from advisor.records import (
    Advice,
    Breakdown,
    Claim,
    Memory,
    Note,
    Option,
    Reason,
    Verdict,
)

_SOURCE = "step traced on a simulated GPU, caching allocator replayed"


def advise_for(forecast: Forecast) -> Advice:
    """The advice that a prediction supports: the present setting if it surely fits and nothing is surely faster.

    Raises:
        DeviceError: if no setting with the present effective batch fits.
    """
    case = forecast.case
    appraisals = [_appraise(one, forecast) for one in _candidates(forecast)]
    present, best = appraisals[0], _choose(appraisals, forecast)
    layout = (best.candidate.micro_batch, best.candidate.accumulation)
    appraisals += [_appraise(one, forecast) for one in lr_candidates(layout)]
    options = tuple(_option(one, present, best, forecast) for one in appraisals)
    recommended = options[appraisals.index(best)]
    options += saver_options(forecast.savers, _beside(present, forecast), forecast.budget_bytes)
    milestones = plan_milestones(recommended, case.run_samples, case.dataset)
    return Advice(
        device=device_of(forecast.card),
        workload=case.workload,
        dataset=case.dataset,
        run_samples=case.run_samples,
        measurements=(),
        optimizer_steps_run=0,
        oom_count=0,
        elapsed_s=case.elapsed_s,
        memory=_memory(forecast, tuple(one.micro_batch for one in options), recommended.micro_batch),
        speed=foreseen.speed(forecast.times, _present(forecast), forecast.safe),
        noise_scale=None,
        recommended=recommended,
        options=options,
        milestones=milestones,
        monitoring=plan_monitoring(
            recommended, milestones, None, forecast.budget_bytes, forecast.model.built.clip_norm
        ),
        warnings=(*case.notes, *_warnings(forecast, present)),
        provenance=case.provenance,
        exposure=exposure(case.run_samples, case.dataset),
    )


# ---- what fits ----------------------------------------------------------------------------------


def _candidates(forecast: Forecast) -> tuple[Candidate, ...]:
    present = (forecast.case.present.micro_batch, forecast.case.present.accumulation)
    found = list(batch_candidates(present, forecast.case.goal))
    further = more_accumulation(present)
    while further is not None and present[0] > forecast.safe:
        if further.micro_batch <= forecast.safe:
            found = [one for one in found if one.id != further.id] + [further]
            break
        further = more_accumulation((further.micro_batch, further.accumulation))
    return tuple(found)


def _choose(appraisals: list[Appraisal], forecast: Forecast) -> Appraisal:
    present, *others = appraisals
    same = [one for one in others if one.problem is None and one.effective_batch == present.effective_batch]
    if present.problem is None:
        smaller = [one for one in same if one.candidate.micro_batch < present.candidate.micro_batch]
        if forecast.case.goal == "memory":
            return smaller[0] if smaller else present
        min_gain_frac = MIN_GAIN_FRAC if forecast.case.goal == "balanced" else 0.0
        faster = [one for one in same if is_clear_gain(one.progress, min_gain_frac)]
        return min(faster, key=lambda one: one.progress.value or 0, default=present)
    if same:
        return max(same, key=lambda one: one.candidate.micro_batch)
    raise DeviceError(
        f"no setting with the effective batch {present.effective_batch} surely fits on a {forecast.card.name}."
        f" {present.problem.text} Give a smaller --batch-size, or another --gpu"
    )


def _appraise(candidate: Candidate, forecast: Forecast) -> Appraisal:
    setting = scale_setting(forecast.case.present, candidate.micro_batch, candidate.accumulation, None)
    if candidate.lr_factor != 1 and setting.lr.value is not None:
        grid = f"grid with factor {price.LR_GRID_FACTOR:g}"
        lr = Claim(value=setting.lr.value * candidate.lr_factor, basis="rule", source=grid)
        setting = dataclasses.replace(setting, lr=lr)
    return Appraisal(
        candidate=candidate,
        setting=setting,
        point=None,
        progress=foreseen.progress(forecast.times, candidate, _present(forecast)),
        problem=_problem(candidate, forecast),
    )


def _present(forecast: Forecast) -> Candidate:
    present = forecast.case.present
    return Candidate(id="keep", micro_batch=present.micro_batch, accumulation=present.accumulation)


def _beside(present: Appraisal, forecast: Forecast) -> Present:
    return Present(
        case=forecast.case,
        fits=present.problem is None,
        peak_bytes=forecast.model.at(present.candidate.micro_batch).reserved_bytes,
        step_s=None,
    )


def _problem(candidate: Candidate, forecast: Forecast) -> Reason | None:
    if forecast.case.max_batch is not None and candidate.micro_batch > forecast.case.max_batch:
        return reason("-", "over_max_batch", micro_batch=candidate.micro_batch, max_batch=forecast.case.max_batch)
    peak, budget_bytes = forecast.model.at(candidate.micro_batch), forecast.budget_bytes
    if peak.high <= budget_bytes:
        return None
    name = "does_not_fit" if peak.reserved_bytes > budget_bytes else "may_not_fit"
    values = {"peak_bytes": peak.reserved_bytes, "budget_bytes": budget_bytes}
    return reason("-", name, **values, **({"high_bytes": peak.high} if name == "may_not_fit" else {}))


# ---- the document -------------------------------------------------------------------------------


def _option(one: Appraisal, present: Appraisal, best: Appraisal, forecast: Forecast) -> Option:
    peak, budget_bytes = forecast.model.at(one.candidate.micro_batch), forecast.budget_bytes
    fits = one.problem is None
    step_s = foreseen.step_time(forecast.times if fits else None, one.candidate)
    return Option(
        id=one.candidate.id,
        micro_batch=one.candidate.micro_batch,
        accumulation=one.candidate.accumulation,
        effective_batch=one.effective_batch,
        lr=one.setting.lr,
        betas=(one.setting.beta1, one.setting.beta2),
        ema_decay=one.setting.ema_decay,
        warmup_samples=one.setting.warmup_samples,
        peak_reserved_bytes=_predicted(peak.reserved_bytes, peak.low, peak.high, _SOURCE),
        memory_frac=_predicted(
            peak.reserved_bytes / budget_bytes,
            peak.low / budget_bytes,
            peak.high / budget_bytes,
            "predicted memory / memory that may be used",
        ),
        step_s=step_s,
        samples_per_s=foreseen.throughput(one.effective_batch, step_s),
        steps_per_epoch=steps_per_epoch(forecast.case.dataset.num_items, one.effective_batch),
        run_s=foreseen.run_time(forecast.case.run_samples, one.effective_batch, step_s),
        time_to_same_progress=one.progress if fits and present.problem is None else price.UNKNOWN_PROGRESS,
        verdict=_verdict(one, present, best),
        reasons=_reasons(one, present, forecast),
    )


def _predicted(value: float, low: float, high: float, source: str) -> Claim:
    return Claim(value=value, low=low, high=high, basis="predicted", source=source)


def _verdict(one: Appraisal, present: Appraisal, best: Appraisal) -> Verdict:
    if one is best:
        return "recommended"
    if one.problem is not None:
        return "infeasible"
    return "acceptable" if one.effective_batch == present.effective_batch else "not_recommended"


def _reasons(one: Appraisal, present: Appraisal, forecast: Forecast) -> tuple[Reason, ...]:
    if one.problem is not None:
        return (one.problem,)
    if one.candidate.lr_factor != 1:
        return lr_reasons(one)
    found: list[Reason | None] = []
    if one is present:
        found.append(reason("+", "present_setting"))
    elif one.effective_batch == present.effective_batch:
        found.append(reason("+", "same_effective_batch", effective_batch=one.effective_batch))
        found.append(None if present.problem is None else reason("+", "saves_memory"))
    if present.problem is None:
        found.append(foreseen.speed_reason(one.candidate, present.candidate, one.progress, forecast.times))
    found += [
        x
        for x in changed_batch_reasons(one, present, forecast.case.dataset.num_items)
        if x and (x.id != "no_noise_scale" or forecast.times is not None)
    ]
    peak_bytes, budget_bytes = forecast.model.at(one.candidate.micro_batch).reserved_bytes, forecast.budget_bytes
    share = peak_bytes / budget_bytes
    found.append(reason("+", "fits", peak_bytes=peak_bytes, share=share, budget_bytes=budget_bytes))
    return tuple(x for x in found if x is not None)


def _memory(forecast: Forecast, micro_batches: tuple[int, ...], recommended: int) -> Memory:
    breakdown: Breakdown = forecast.model.breakdown(forecast.card, recommended)
    return Memory(
        max_micro_batch=forecast.safe or None,
        budget_bytes=forecast.budget_bytes,
        predicted=tuple(
            forecast.model.at(micro_batch) for micro_batch in sorted({2, *micro_batches, forecast.safe or 2})
        ),
        breakdown=breakdown,
    )


def _warnings(forecast: Forecast, present: Appraisal) -> list[Note]:
    at_safe = forecast.model.at(max(1, forecast.safe))
    name, problem = forecast.card.name, forecast.model.evaluation_problem
    found = [
        *_timing_notes(forecast),
        note(
            "largest_safe",
            gpu=name,
            micro_batch=forecast.safe,
            peak_bytes=at_safe.reserved_bytes,
            high_bytes=at_safe.high,
        ),
        _largest_running(forecast) if forecast.case.max_batch is None else None,
        note("kernels_of_cpu") if not forecast.model.is_simulated else None,
        note("evaluation_not_traced", message=problem) if problem is not None else None,
        *precision_notes(forecast.model.built, device_of(forecast.card)),
        *trap_notes(forecast.model.built),
        note("quadratic_memory") if forecast.model.fit.degree > 1 else None,
        note("present_does_not_fit", message=present.problem.text) if present.problem is not None else None,
        note("batch_above_dataset", effective_batch=present.effective_batch, num_items=forecast.case.dataset.num_items)
        if present.effective_batch > forecast.case.dataset.num_items
        else None,
    ]
    return [x for x in found if x is not None]


def _largest_running(forecast: Forecast) -> Note:
    limits = forecast.model.limits(forecast.budget_bytes)
    return note("largest_running", micro_batch=limits.safe, retrying=limits.retrying)


def _timing_notes(forecast: Forecast) -> list[Note]:
    """What was not run, how its time is known, and what the card would wait for."""
    times, name, present = forecast.times, forecast.card.name, forecast.case.present
    if times is None:
        return [note("predicted_only", gpu=name)]
    found = [note("predicted_step", gpu=name) if times.card.is_own else note("predicted_step_alike", gpu=name)]
    share = times.host_share(present.micro_batch, present.accumulation)
    if share > 1:
        found.append(note("host_bound", gpu=name, ratio=share))
    return found
