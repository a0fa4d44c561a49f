"""An advice looked at again with a noise scale that was measured later: would another batch be better now?

Pure, like the advice: the step times are those that were measured for it.
"""

from advisor.recommend.options import relative_time
from advisor.recommend.scaling import scale_lr
from advisor.recommend.verdicts import is_clear_gain
from advisor.records import Advice, Claim, NoiseScale, Option, StepTime, record

_NOT_A_BATCH = ("higher_lr", "lower_lr")


@record
class BetterBatch:
    """A setting that makes the same progress in clearly less time, and the learning rate that goes with it."""

    micro_batch: int
    accumulation: int
    lr: Claim
    progress: Claim


def better_batch(advice: Advice, layout: tuple[int, int], lr: float, noise_scale: NoiseScale) -> BetterBatch | None:
    """The best of the measured settings if it clearly beats the one that is running, else ``None``.

    Args:
        advice: what was measured before the run.
        layout: micro-batch and accumulation that are running.
        lr: the learning rate that goes with them.
        noise_scale: as it is now.
    """
    usable = [one for one in advice.options if one.verdict != "infeasible" and one.id not in _NOT_A_BATCH]
    running = next((one for one in usable if (one.micro_batch, one.accumulation) == layout), None)
    if running is None:
        return None
    found = [(one, _progress(one, running, noise_scale)) for one in usable if one is not running]
    better = [(one, progress) for one, progress in found if is_clear_gain(progress)]
    if not better:
        return None
    best, progress = min(better, key=lambda pair: pair[1].value or 0)
    now = Claim(value=lr, basis="user", source="the run's own")
    return BetterBatch(
        micro_batch=best.micro_batch,
        accumulation=best.accumulation,
        lr=scale_lr(now, running.effective_batch, best.effective_batch, noise_scale),
        progress=progress,
    )


def _progress(one: Option, running: Option, noise_scale: NoiseScale) -> Claim:
    """Time to the same progress; step times are compared by their intervals, for the pairs are not kept."""
    step, present = one.step_s, running.step_s
    known = [x for x in (step.low, step.value, step.high, present.low, present.value, present.high) if x]
    if len(known) < 6:
        return Claim(value=None, basis="predicted", source="no step was timed")
    low, value, high, present_low, present_value, present_high = known
    ratio = StepTime(median=value / present_value, low=low / present_high, high=high / present_low, n=1)
    return relative_time(one.effective_batch, running.effective_batch, ratio, noise_scale)
