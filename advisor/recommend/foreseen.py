"""What a predicted step time makes of an option: its throughput, its run, its progress against the present setting."""

from advisor.predict.affine import MIN_MICRO_BATCH
from advisor.predict.speed import NoSpeedFitError, fit_predictions
from advisor.predict.step_time import StepTimeModel
from advisor.recommend.dataset import num_steps
from advisor.recommend.options import UNKNOWN_PROGRESS, Candidate
from advisor.recommend.reasons import reason
from advisor.recommend.verdicts import MIN_GAIN_FRAC, is_clear_gain
from advisor.records import Claim, Reason, Sign, Speed

NOT_TIMED = Claim(value=None, basis="predicted", source="the card is not here: no step was timed")
_AROUND, _ACCUMULATIONS = (1, 2, 4, 8, 16), (1, 2, 4)  # halves of the present micro-batch
_ANY_NOISE = "predicted step-time ratio x bounds over every gradient noise scale (arXiv 1812.06162)"


def step_time(times: StepTimeModel | None, candidate: Candidate) -> Claim:
    """Seconds of an optimizer step; unknown where no GPU could be simulated."""
    return NOT_TIMED if times is None else times.step_time(candidate.micro_batch, candidate.accumulation)


def throughput(batch: int, step_s: Claim) -> Claim:
    """Samples a second."""
    if not (step_s.value and step_s.low and step_s.high):
        return NOT_TIMED
    return _predicted(
        batch / step_s.value, batch / step_s.high, batch / step_s.low, "effective batch / predicted time of a step"
    )


def run_time(samples: Claim, batch: int, step_s: Claim) -> Claim:
    """Seconds of the whole run, without evaluation, sampling and checkpoints."""
    if samples.value is None or not (step_s.value and step_s.low and step_s.high):
        return NOT_TIMED
    steps = num_steps(samples.value, batch)
    source = f"{steps} steps x predicted time of a step, without evaluation, sampling and checkpoints"
    return _predicted(steps * step_s.value, steps * step_s.low, steps * step_s.high, source)


def speed(times: StepTimeModel | None, present: Candidate, largest: int) -> Speed:
    """The parts of the predicted step time around the present micro-batch, up to the largest that fits."""
    sizes = {present.micro_batch * factor // 2 for factor in _AROUND}
    fitting = [size for size in sorted(sizes) if MIN_MICRO_BATCH <= size <= largest]
    if times is None:
        return Speed()
    try:
        return fit_predictions({(b, a): times.step_time(b, a) for b in fitting for a in _ACCUMULATIONS})
    except NoSpeedFitError:
        return Speed()


def progress(times: StepTimeModel | None, candidate: Candidate, present: Candidate) -> Claim:
    """Time to the same progress as a ratio to the present setting.

    At another effective batch only its bounds over every gradient noise scale are known: no gradient was seen.
    """
    if times is None or candidate.lr_factor != 1:
        return UNKNOWN_PROGRESS
    ratio = times.ratio((candidate.micro_batch, candidate.accumulation), (present.micro_batch, present.accumulation))
    if candidate.effective_batch == present.effective_batch or ratio.low is None or ratio.high is None:
        return ratio
    steps = sorted((1.0, present.effective_batch / candidate.effective_batch))
    low, high = ratio.low * steps[0], ratio.high * steps[1]
    return Claim(value=None, low=low, high=high, basis="predicted", source=_ANY_NOISE)


def speed_reason(one: Candidate, present: Candidate, ratio: Claim, times: StepTimeModel | None) -> Reason | None:
    """What the predicted times say for or against an option."""
    if times is None or one.id == "keep":
        return None
    step_s, present_s = (float(step_time(times, x).value or 0) for x in (one, present))
    if one.effective_batch != present.effective_batch:
        rates = one.effective_batch / step_s, present.effective_batch / present_s
        sign: Sign = "+" if rates[0] > rates[1] else "-"
        return reason(sign, "throughput", samples_per_s=rates[0], present_samples_per_s=rates[1])
    values = {"step_s": step_s, "present_step_s": present_s, "low": ratio.low, "high": ratio.high}
    if is_clear_gain(ratio):
        return reason("+", "faster", ratio=ratio.value, **values)
    if ratio.low is not None and ratio.low > 1:
        return reason("-", "slower", ratio=ratio.value, **values)
    return reason("-", "within_forecast", min_gain=MIN_GAIN_FRAC, **values)


def _predicted(value: float, low: float, high: float, source: str) -> Claim:
    return Claim(value=value, low=low, high=high, basis="predicted", source=source)
