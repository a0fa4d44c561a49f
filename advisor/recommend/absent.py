"""Advice for a card that is not here: memory from a simulated one, nothing measured, no time known.

Pure but for :func:`foresee`, which lets the step be traced.
"""

import dataclasses
from collections.abc import Callable

from advisor.errors import DeviceError
from advisor.hardware.gpus import peaks_of, read_table
from advisor.predict.cards import Card, card_named, card_of
from advisor.predict.memory import LARGEST_MICRO_BATCH, MemoryModel, predict_memory
from advisor.predict.simulation import Simulation
from advisor.recommend import options as price
from advisor.recommend.dataset import steps_per_epoch
from advisor.recommend.monitoring import plan_milestones, plan_monitoring
from advisor.recommend.options import Candidate, Goal, batch_candidates, lr_candidates, more_accumulation
from advisor.recommend.reasons import note, reason
from advisor.recommend.scaling import scale_setting
from advisor.recommend.verdicts import Appraisal, changed_batch_reasons, lr_reasons
from advisor.records import (
    Advice,
    Breakdown,
    Claim,
    Dataset,
    Device,
    Memory,
    Note,
    Option,
    Provenance,
    Reason,
    Setting,
    Speed,
    Value,
    Verdict,
    WorkloadRef,
    record,
)
from advisor.units import format_bytes

_SOURCE = "step traced on a simulated GPU, caching allocator replayed"
_NOT_TIMED = Claim(value=None, basis="predicted", source="the card is not here: no step was timed")


@record
class Request:
    """What was asked, in full."""

    card: Card
    workload: WorkloadRef
    dataset: Dataset
    run_samples: Claim
    present: Setting
    budget_bytes: int
    max_batch: int | None
    goal: Goal
    notes: tuple[Note, ...]
    elapsed_s: float
    provenance: Provenance


def foresee(
    gpu: str,
    spec: str,
    parameters: dict[str, Value],
    accumulation: int,
    timeout_s: float,
    on_progress: Callable[[str], None],
) -> tuple[Card, MemoryModel]:
    """The card of that name, and the memory of the step on it at any batch.

    Raises:
        UsageError: if there is no such card, or the workload cannot be used.
        WorkloadError: if the user's own step raises.
        DeviceError: if the memory of the step cannot be predicted.
    """
    card = card_named(gpu)
    on_progress(f"tracing the step on a simulated {card.name} ...")
    with Simulation() as simulation:
        model = predict_memory(
            spec, parameters, card, accumulation=accumulation, simulation=simulation, timeout_s=timeout_s
        )
    return card, model


def budget_on(card: Card, memory_budget_bytes: int | None) -> int:
    """Bytes that PyTorch's allocator may take on this card, and that the user allows."""
    return min(card.usable_bytes, memory_budget_bytes or card.usable_bytes)


def advise_from(model: MemoryModel, request: Request) -> Advice:
    """The advice that a prediction of memory supports: the present setting if it surely fits.

    Raises:
        DeviceError: if not even micro-batch 2 fits, or none with the present effective batch.
    """
    most = request.max_batch or LARGEST_MICRO_BATCH
    safe = model.largest_safe(request.budget_bytes, most)
    _require_room(model, request, safe)
    appraisals = [_appraise(one, request, model) for one in _candidates(request, safe)]
    present, best = appraisals[0], _choose(appraisals, request)
    layout = (best.candidate.micro_batch, best.candidate.accumulation)
    appraisals += [_appraise(one, request, model) for one in lr_candidates(layout)]
    options = tuple(_option(one, present, best, request, model) for one in appraisals)
    recommended = options[appraisals.index(best)]
    milestones = plan_milestones(recommended, request.run_samples, request.dataset)
    return Advice(
        device=device_of(request.card),
        workload=request.workload,
        dataset=request.dataset,
        run_samples=request.run_samples,
        measurements=(),
        optimizer_steps_run=0,
        oom_count=0,
        elapsed_s=request.elapsed_s,
        memory=_memory(model, request, safe, tuple(one.micro_batch for one in options)),
        speed=Speed(),
        noise_scale=None,
        recommended=recommended,
        options=options,
        milestones=milestones,
        monitoring=plan_monitoring(recommended, milestones, None, request.budget_bytes, model.built.clip_norm),
        warnings=(*request.notes, *_warnings(model, request, safe, present)),
        provenance=request.provenance,
    )


def device_of(card: Card) -> Device:
    """The card as a device of which nothing could be read."""
    unread = ("free_bytes", "used_by_others_bytes", "num_cores", "temperature_c", "power_w", "power_limit_w")
    device = Device(
        index=None,
        kind="cuda",
        name=card.name,
        uuid=None,
        total_bytes=card.total_bytes,
        free_bytes=None,
        usable_bytes=card.usable_bytes + card.context_bytes,  # as of a card that is here: its context is within it
        used_by_others_bytes=None,
        compute_capability=f"{card.compute_capability:.1f}",
        num_cores=None,
        temperature_c=None,
        power_w=None,
        power_limit_w=None,
        default_power_limit_w=None,
        unknown={name: "not_here" for name in unread},
    )
    return dataclasses.replace(device, peaks=peaks_of(device))


# ---- what fits ----------------------------------------------------------------------------------


def _require_room(model: MemoryModel, request: Request, safe: int) -> None:
    if safe >= 2 or request.max_batch == 1:
        return
    needed, kept = model.at(2), model.breakdown(request.card)
    kept_bytes = sum(x or 0 for x in (kept.weights_bytes, kept.gradients_bytes, kept.optimizer_bytes, kept.ema_bytes))
    raise DeviceError(
        f"not even micro-batch 2 fits on a {request.card.name}: it takes {format_bytes(needed.reserved_bytes)}"
        f" (at most {format_bytes(needed.high)}) of {format_bytes(request.budget_bytes)}, of which weights, gradients,"
        f" optimizer state and EMA are {format_bytes(kept_bytes)}. To make it fit: {_remedy(needed.high, kept_bytes)}"
    )


def _remedy(needed_bytes: int, kept_bytes: int) -> str:
    cards = [card_of(gpu) for gpu in read_table() if gpu.vendor == "NVIDIA" and gpu.compute_capability]
    enough = [card for card in cards if card.usable_bytes >= needed_bytes]
    smallest = min(enough, key=lambda card: card.total_bytes, default=None)
    larger = f"a card like the {smallest.name}, or " if smallest else ""
    if kept_bytes > needed_bytes / 2:
        return f"{larger}a smaller network, or an optimizer that keeps less for every weight"
    return f"{larger}gradient checkpointing, half precision, or smaller inputs"


def _candidates(request: Request, safe: int) -> tuple[Candidate, ...]:
    present = (request.present.micro_batch, request.present.accumulation)
    found = list(batch_candidates(present, request.goal))
    further = more_accumulation(present)
    while further is not None and present[0] > safe:
        if further.micro_batch <= safe:
            found = [one for one in found if one.id != further.id] + [further]
            break
        further = more_accumulation((further.micro_batch, further.accumulation))
    return tuple(found)


def _choose(appraisals: list[Appraisal], request: Request) -> Appraisal:
    present, *others = appraisals
    same = [one for one in others if one.problem is None and one.effective_batch == present.effective_batch]
    if present.problem is None:
        smaller = [one for one in same if one.candidate.micro_batch < present.candidate.micro_batch]
        return smaller[0] if request.goal == "memory" and smaller else present
    if same:
        return max(same, key=lambda one: one.candidate.micro_batch)
    raise DeviceError(
        f"no setting with the effective batch {present.effective_batch} surely fits on a {request.card.name}."
        f" {present.problem.text} Give a smaller --batch-size, or another --gpu"
    )


def _appraise(candidate: Candidate, request: Request, model: MemoryModel) -> Appraisal:
    setting = scale_setting(request.present, candidate.micro_batch, candidate.accumulation, None)
    if candidate.lr_factor != 1 and setting.lr.value is not None:
        grid = f"grid with factor {price.LR_GRID_FACTOR:g}"
        lr = Claim(value=setting.lr.value * candidate.lr_factor, basis="rule", source=grid)
        setting = dataclasses.replace(setting, lr=lr)
    return Appraisal(
        candidate=candidate,
        setting=setting,
        point=None,
        progress=price.UNKNOWN_PROGRESS,
        problem=_problem(candidate, request, model),
    )


def _problem(candidate: Candidate, request: Request, model: MemoryModel) -> Reason | None:
    if request.max_batch is not None and candidate.micro_batch > request.max_batch:
        return reason("-", "over_max_batch", micro_batch=candidate.micro_batch, max_batch=request.max_batch)
    peak, budget_bytes = model.at(candidate.micro_batch), request.budget_bytes
    if peak.high <= budget_bytes:
        return None
    name = "does_not_fit" if peak.reserved_bytes > budget_bytes else "may_not_fit"
    values = {"peak_bytes": peak.reserved_bytes, "budget_bytes": budget_bytes}
    return reason("-", name, **values, **({"high_bytes": peak.high} if name == "may_not_fit" else {}))


# ---- the document -------------------------------------------------------------------------------


def _option(one: Appraisal, present: Appraisal, best: Appraisal, request: Request, model: MemoryModel) -> Option:
    peak, budget_bytes = model.at(one.candidate.micro_batch), request.budget_bytes
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
        step_s=_NOT_TIMED,
        samples_per_s=_NOT_TIMED,
        steps_per_epoch=steps_per_epoch(request.dataset.num_items, one.effective_batch),
        run_s=_NOT_TIMED,
        time_to_same_progress=one.progress,
        verdict=_verdict(one, present, best),
        reasons=_reasons(one, present, request, model),
    )


def _predicted(value: float, low: float, high: float, source: str) -> Claim:
    return Claim(value=value, low=low, high=high, basis="predicted", source=source)


def _verdict(one: Appraisal, present: Appraisal, best: Appraisal) -> Verdict:
    if one is best:
        return "recommended"
    if one.problem is not None:
        return "infeasible"
    return "acceptable" if one.effective_batch == present.effective_batch else "not_recommended"


def _reasons(one: Appraisal, present: Appraisal, request: Request, model: MemoryModel) -> tuple[Reason, ...]:
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
    found += [
        x for x in changed_batch_reasons(one, present, request.dataset.num_items) if x and x.id != "no_noise_scale"
    ]
    peak_bytes, budget_bytes = model.at(one.candidate.micro_batch).reserved_bytes, request.budget_bytes
    share = peak_bytes / budget_bytes
    found.append(reason("+", "fits", peak_bytes=peak_bytes, share=share, budget_bytes=budget_bytes))
    return tuple(x for x in found if x is not None)


def _memory(model: MemoryModel, request: Request, safe: int, micro_batches: tuple[int, ...]) -> Memory:
    breakdown: Breakdown = model.breakdown(request.card)
    return Memory(
        max_micro_batch=safe or None,
        budget_bytes=request.budget_bytes,
        predicted=tuple(model.at(micro_batch) for micro_batch in sorted({2, *micro_batches, safe or 2})),
        breakdown=breakdown,
    )


def _warnings(model: MemoryModel, request: Request, safe: int, present: Appraisal) -> list[Note]:
    at_safe = model.at(max(1, safe))
    limits = model.limits(request.budget_bytes, most=request.max_batch or LARGEST_MICRO_BATCH)
    name, problem = request.card.name, model.evaluation_problem
    found = [
        note("predicted_only", gpu=name),
        note("largest_safe", gpu=name, micro_batch=safe, peak_bytes=at_safe.reserved_bytes, high_bytes=at_safe.high),
        note("largest_running", micro_batch=limits.safe, retrying=limits.retrying)
        if request.max_batch is None
        else None,
        note("kernels_of_cpu") if not model.is_simulated else None,
        note("evaluation_not_traced", message=problem) if problem is not None else None,
        note("quadratic_memory") if model.fit.degree > 1 else None,
        note("present_does_not_fit", message=present.problem.text) if present.problem is not None else None,
        note("batch_above_dataset", effective_batch=present.effective_batch, num_items=request.dataset.num_items)
        if present.effective_batch > request.dataset.num_items
        else None,
    ]
    return [x for x in found if x is not None]
