"""Why an option cannot be had, and what speaks for and against one that can."""

from advisor.measure.campaign import Point
from advisor.recommend.dataset import steps_per_epoch
from advisor.recommend.options import Candidate
from advisor.recommend.reasons import reason
from advisor.recommend.scaling import needs_retuning
from advisor.records import Claim, Measurement, Reason, Setting, Sign, record

MIN_GAIN_FRAC = 0.05  # a smaller speed-up is not worth a change; AdaptDL (arXiv 2008.12260) draws the same line


@record
class Limits:
    """What an option must keep to."""

    budget_bytes: int | None
    max_batch: int | None
    smallest_failed: int | None
    largest_safe: int | None = None


@record
class Appraisal:
    """A candidate with its measurement, and the reason why it cannot be had, if there is one."""

    candidate: Candidate
    setting: Setting
    point: Point | None
    progress: Claim
    problem: Reason | None

    @property
    def measurement(self) -> Measurement | None:
        """What was measured, if it was run at all."""
        return self.point.measurement if self.point else None

    @property
    def effective_batch(self) -> int:
        """Samples an optimizer step sees."""
        return self.candidate.effective_batch


def find_problem(candidate: Candidate, point: Point | None, limits: Limits) -> Reason | None:
    """Why the candidate cannot be had, or ``None``: it was run, it ended well, and it fits."""
    if limits.max_batch is not None and candidate.micro_batch > limits.max_batch:
        return reason("-", "over_max_batch", micro_batch=candidate.micro_batch, max_batch=limits.max_batch)
    if point is None and limits.largest_safe is not None and candidate.micro_batch > limits.largest_safe:
        return reason("-", "above_largest", largest=limits.largest_safe)
    if point is None:
        return reason("-", "smaller_did_not_fit", micro_batch=limits.smallest_failed)
    measurement, budget_bytes = point.measurement, limits.budget_bytes
    if measurement.outcome == "oom":
        if budget_bytes is None:
            return reason("-", "out_of_memory_unknown")
        return reason("-", "out_of_memory", budget_bytes=budget_bytes)
    if measurement.outcome != "ok" or measurement.step_s is None:
        names = {"timeout": "timed_out", "non_finite": "non_finite"}
        return reason("-", names.get(measurement.outcome, "failed"), message=measurement.message)
    if exceeds(measurement, budget_bytes):
        return reason("-", "does_not_fit", peak_bytes=measurement.peak_reserved_bytes, budget_bytes=budget_bytes)
    return None


def exceeds(measurement: Measurement, budget_bytes: int | None) -> bool:
    """Whether the peak is known to be above the budget."""
    peak_bytes = measurement.peak_reserved_bytes
    return peak_bytes is not None and budget_bytes is not None and peak_bytes > budget_bytes


def reasons_for(one: Appraisal, present: Appraisal, num_items: int, limits: Limits) -> tuple[Reason, ...]:
    """For, against and warnings, the most important first."""
    if one.problem is not None:
        return (one.problem,)
    if one.candidate.lr_factor != 1:
        return lr_reasons(one)
    found: list[Reason | None] = [_batch_reason(one, present)]
    if one.candidate.id != "keep":
        found += [_speed_reason(one, present), *changed_batch_reasons(one, present, num_items)]
    found += [_memory_reason(one, present), _fit_reason(one, limits)]
    return tuple(x for x in found if x is not None)


def _batch_reason(one: Appraisal, present: Appraisal) -> Reason | None:
    if one.candidate.id == "keep":
        return reason("+", "present_setting")
    if one.effective_batch == present.effective_batch:
        return reason("+", "same_effective_batch", effective_batch=one.effective_batch)
    return None


def _speed_reason(one: Appraisal, present: Appraisal) -> Reason | None:
    step_s = one.measurement.step_s if one.measurement else None
    present_s = present.measurement.step_s if present.measurement else None
    ratio = one.point.ratio_to_present if one.point else None
    if step_s is None or present_s is None or ratio is None:
        return None if present.problem is None else reason("+", "saves_memory")
    if one.effective_batch != present.effective_batch:
        rates = one.effective_batch / step_s.median, present.effective_batch / present_s.median
        sign: Sign = "+" if rates[0] > rates[1] else "-"
        return reason(sign, "throughput", samples_per_s=rates[0], present_samples_per_s=rates[1])
    times = {"step_s": step_s.median, "present_step_s": present_s.median, "low": ratio.low, "high": ratio.high}
    if is_clear_gain(one.progress):
        return reason("+", "faster", ratio=ratio.median, **times)
    if ratio.low > 1:
        return reason("-", "slower", ratio=ratio.median, **times)
    return reason("-", "within_noise", min_gain=MIN_GAIN_FRAC, **times)


def is_clear_gain(progress: Claim, min_gain_frac: float = MIN_GAIN_FRAC) -> bool:
    """Whether the same progress surely takes less time, and less by at least this share."""
    if progress.value is None or progress.high is None:
        return False
    return progress.high < 1 and progress.value <= 1 / (1 + min_gain_frac)


def changed_batch_reasons(one: Appraisal, present: Appraisal, num_items: int) -> list[Reason | None]:
    """What a change of the effective batch brings with it."""
    if one.effective_batch == present.effective_batch:
        return []
    steps, present_steps = (steps_per_epoch(num_items, x.effective_batch) for x in (one, present))
    lr, present_lr, factor = one.setting.lr, present.setting.lr, one.effective_batch / present.effective_batch
    unknown = one.progress.value is None
    return [
        reason("!", "scaled_lr", present_lr=present_lr.value, lr=lr.value, low=lr.low, high=lr.high),
        reason("!", "no_noise_scale", low=one.progress.low, high=one.progress.high) if unknown else None,
        reason("!", "steps_per_epoch", steps=steps, present_steps=present_steps),
        reason("!", "retune", factor=factor) if needs_retuning(present.effective_batch, one.effective_batch) else None,
    ]


def _memory_reason(one: Appraisal, present: Appraisal) -> Reason | None:
    peak_bytes = one.measurement.peak_reserved_bytes if one.measurement else None
    present_bytes = present.measurement.peak_reserved_bytes if present.measurement else None
    if one.candidate.id == "keep" or peak_bytes is None or present_bytes is None or peak_bytes == present_bytes:
        return None
    more = peak_bytes > present_bytes
    return reason(
        "-" if more else "+",
        "more_memory" if more else "less_memory",
        peak_bytes=peak_bytes,
        present_bytes=present_bytes,
    )


def _fit_reason(one: Appraisal, limits: Limits) -> Reason | None:
    peak_bytes = one.measurement.peak_reserved_bytes if one.measurement else None
    if peak_bytes is None or limits.budget_bytes is None:
        return None
    share = peak_bytes / limits.budget_bytes
    return reason("+", "fits", peak_bytes=peak_bytes, share=share, budget_bytes=limits.budget_bytes)


def lr_reasons(one: Appraisal) -> tuple[Reason, ...]:
    """For and against another learning rate at the same batch."""
    higher = one.candidate.lr_factor > 1
    return (
        reason("+", "when_slow" if higher else "when_unstable"),
        reason("-", "unstable_risk" if higher else "slow_risk"),
        reason("!", "untested_lr"),
    )
