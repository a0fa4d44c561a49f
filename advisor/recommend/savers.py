"""Ways to save memory at the present setting: which are worth a try, and what each of them costs. Pure.

They are looked at where the present setting does not fit, or where less memory is the goal.
"""

from collections.abc import Iterable

from advisor.measure.messages import Rehearsed
from advisor.recommend import options as price
from advisor.recommend.case import Case
from advisor.recommend.dataset import steps_per_epoch
from advisor.recommend.duration import beside_steps, run_time, training_time
from advisor.recommend.options import SaverId
from advisor.recommend.precision import BF16_FROM
from advisor.recommend.reasons import reason
from advisor.records import Claim, Device, Measurement, MemoryPrediction, Option, Reason, StepTime, Verdict, record
from advisor.workload.description import Built

# A step is about one forward and two of its kind backward; checkpointing adds a second forward pass.
# Chen et al., arXiv 1604.06174, section 4.2.
_CHECKPOINTING_PRICE = Claim(
    value=4 / 3, basis="rule", source="one more forward pass, about a third of a step (arXiv 1604.06174)"
)
_NOT_RUN = Claim(value=None, basis="rule", source="not run")


@record
class Saver:
    """One way to save memory, and what is known of it: measured here, predicted for a card, or neither."""

    id: SaverId
    measurement: Measurement | None = None
    prediction: MemoryPrediction | None = None


@record
class Present:
    """The present setting beside which they are seen."""

    case: Case
    fits: bool
    peak_bytes: int | None
    step_s: StepTime | None
    rehearsed: tuple[Rehearsed, ...] = ()


def worth_trying(built: Built | None, device: Device, *, checkpoints: bool = False) -> tuple[SaverId, ...]:
    """What this step does not do yet, of what the device does well: what changes no number comes first."""
    found: list[SaverId] = [] if checkpoints else ["checkpointing"]
    if built is None or built.precision is None:
        if device.kind == "cuda":
            found.append("bf16" if float(device.compute_capability or 0) >= BF16_FROM else "fp16")
        elif device.kind == "cpu":
            found.append("bf16")
    return tuple(found)


def saver_options(savers: Iterable[Saver], present: Present, budget_bytes: int | None) -> tuple[Option, ...]:
    """An option for each, at the present batch and learning rate."""
    return tuple(_option(one, present, budget_bytes) for one in savers)


def _option(one: Saver, present: Present, budget_bytes: int | None) -> Option:
    case, setting = present.case, present.case.present
    training_s = training_time(case.run_samples, setting.effective_batch, one.measurement)
    batch, step_s = setting.effective_batch, one.measurement.step_s if one.measurement else None
    problem = _problem(one, budget_bytes)
    peak = _peak(one)
    verdict: Verdict = "acceptable" if problem is None else "infeasible"
    return Option(
        id=one.id,
        micro_batch=setting.micro_batch,
        accumulation=setting.accumulation,
        effective_batch=batch,
        lr=setting.lr,
        betas=(setting.beta1, setting.beta2),
        ema_decay=setting.ema_decay,
        warmup_samples=setting.warmup_samples,
        peak_reserved_bytes=peak,
        memory_frac=_share(peak, budget_bytes),
        step_s=price.step_time(step_s) if one.measurement else _NOT_RUN,
        samples_per_s=price.throughput(batch, step_s) if one.measurement else _NOT_RUN,
        steps_per_epoch=steps_per_epoch(case.dataset.num_items, batch),
        run_s=run_time(training_s, beside_steps(case.planned, present.rehearsed, one.measurement))
        if one.measurement
        else _NOT_RUN,
        time_to_same_progress=_progress(one, present),
        verdict=verdict,
        reasons=_reasons(one, present, budget_bytes) if problem is None else (_how(one), problem),
        training_s=training_s if one.measurement else None,
    )


def _problem(one: Saver, budget_bytes: int | None) -> Reason | None:
    """Why it does not help, if it was tried and did not."""
    if one.measurement is not None and one.measurement.outcome != "ok":
        if one.measurement.outcome == "oom":
            known = budget_bytes is not None
            return (
                reason("-", "out_of_memory", budget_bytes=budget_bytes)
                if known
                else reason("-", "out_of_memory_unknown")
            )
        return reason("-", "failed", message=one.measurement.message)
    peak_bytes, high_bytes = _peak_bytes(one), one.prediction.high if one.prediction else None
    if peak_bytes is None or budget_bytes is None:
        return None
    if peak_bytes > budget_bytes:
        return reason("-", "does_not_fit", peak_bytes=peak_bytes, budget_bytes=budget_bytes)
    if high_bytes is not None and high_bytes > budget_bytes:
        return reason("-", "may_not_fit", peak_bytes=peak_bytes, high_bytes=high_bytes, budget_bytes=budget_bytes)
    return None


# ---- figures ------------------------------------------------------------------------------------


def _peak_bytes(one: Saver) -> int | None:
    if one.prediction is not None:
        return one.prediction.reserved_bytes
    return one.measurement.peak_reserved_bytes if one.measurement else None


def _peak(one: Saver) -> Claim:
    if one.prediction is not None:
        found = one.prediction
        source = "step traced on a simulated GPU, caching allocator replayed"
        return Claim(value=found.reserved_bytes, low=found.low, high=found.high, basis="predicted", source=source)
    return price.peak_memory(one.measurement) if one.measurement else _NOT_RUN


def _share(peak: Claim, budget_bytes: int | None) -> Claim:
    if peak.value is None or budget_bytes is None:
        return _NOT_RUN
    low, high = (None if x is None else x / budget_bytes for x in (peak.low, peak.high))
    source = "peak memory / memory that may be used"
    return Claim(value=peak.value / budget_bytes, low=low, high=high, basis=peak.basis, source=source)


def _progress(one: Saver, present: Present) -> Claim:
    """Time to the same progress; the batch is the same, so it is the price in time."""
    step_s = one.measurement.step_s if one.measurement else None
    if step_s is None or present.step_s is None:
        return _CHECKPOINTING_PRICE if one.id == "checkpointing" and one.measurement is None else price.UNKNOWN_PROGRESS
    return Claim(
        value=step_s.median / present.step_s.median,
        low=step_s.low / present.step_s.high,
        high=step_s.high / present.step_s.low,
        basis="measured",
        source="ratio of step times, not measured in turns; the same effective batch makes the same progress",
    )


# ---- words --------------------------------------------------------------------------------------


def _how(one: Saver) -> Reason:
    if one.id == "checkpointing":
        return reason("+", "recomputes_activations")
    return reason("+", "half_precision", precision=one.id)


def _reasons(one: Saver, present: Present, budget_bytes: int | None) -> tuple[Reason, ...]:
    peak_bytes = _peak_bytes(one)
    found: list[Reason | None] = [_how(one)]
    if peak_bytes is not None and not present.fits:
        found.append(reason("+", "buys_batch", micro_batch=present.case.present.micro_batch))
    found += [_memory_reason(peak_bytes, present), _time_reason(one, present)]
    if one.id != "checkpointing":
        found.append(reason("!", "check_half_precision", precision=one.id))
    if peak_bytes is None:
        found.append(reason("!", "saver_untried"))
    elif budget_bytes is not None:
        share = peak_bytes / budget_bytes
        found.append(reason("+", "fits", peak_bytes=peak_bytes, share=share, budget_bytes=budget_bytes))
    return tuple(x for x in found if x is not None)


def _memory_reason(peak_bytes: int | None, present: Present) -> Reason | None:
    if peak_bytes is None or present.peak_bytes is None or peak_bytes == present.peak_bytes:
        return None
    sign, name = ("+", "less_memory") if peak_bytes < present.peak_bytes else ("-", "more_memory")
    return reason(sign, name, peak_bytes=peak_bytes, present_bytes=present.peak_bytes)  # type: ignore[arg-type]


def _time_reason(one: Saver, present: Present) -> Reason | None:
    step_s = one.measurement.step_s if one.measurement else None
    if step_s is None:
        return reason("-", "checkpointing_price") if one.id == "checkpointing" else None
    if present.step_s is None:
        return None
    progress = _progress(one, present)
    times = {"step_s": step_s.median, "present_step_s": present.step_s.median}
    if progress.low is not None and progress.low > 1:
        return reason("-", "slower", ratio=progress.value, low=progress.low, high=progress.high, **times)
    if progress.high is not None and progress.high < 1:
        return reason("+", "faster", ratio=progress.value, low=progress.low, high=progress.high, **times)
    return reason("-", "about_as_fast", low=progress.low, high=progress.high, **times)
