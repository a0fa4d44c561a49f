"""How long a run takes: its optimizer steps by their mean, and what it does beside them, each timed once. Pure.

A run waits for its slow steps, too, so it is the mean that counts, not the median. The bands hold 80 %.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal

from advisor.measure.messages import Rehearsed
from advisor.measure.timing import BAND, Z_80
from advisor.recommend.dataset import num_steps
from advisor.records import Claim, Measurement, Occasion, record

# By rule, as standard deviations of a logarithm: what changes between the seconds of a measurement and the hours of a
# run (clocks, other programs), and how far off something is that was timed once, and smaller than it is in the run.
CONDITIONS_LOG_SD = 0.05
ONCE_LOG_SD = 0.2
TIMES = 20  # one every 5 % of the run: as often as an advice on monitoring compares the validation loss
UNTIMED = Claim(value=None, basis="predicted", source="no step was timed")
NAMES = {
    "first_step": "longer first step",
    "evaluation": "evaluation (taken to come every 5 % of the run)",
    "validation": "validation",
    "grids": "sample grid",
    "milestone_pictures": "pictures to judge at a milestone",
    "checkpoints": "checkpoint",
    "final_pictures": "pictures to judge at the end",
    "classifiers": "judging the pictures",
    "decoding": "decoding by the VAE",
}


@record
class Planned:
    """Something that the run is going to do beside its steps: how often, and of how many units each time.

    ``rehearsal`` is what was timed for it.
    """

    id: str
    rehearsal: str
    num_times: int
    units: float = 1.0
    when: Literal["spread", "end"] = "spread"


# What a workload whose run nobody planned is taken to do, as far as it can be timed.
USUAL = (
    Planned(id="evaluation", rehearsal="evaluation", num_times=TIMES),
    Planned(id="checkpoints", rehearsal="checkpoint", num_times=TIMES),
)


@record
class Beside:
    """What a run does beside its steps; ``untimed`` are the names of what is not known."""

    occasions: tuple[Occasion, ...] = ()
    untimed: tuple[str, ...] = ()


def beside_steps(planned: Sequence[Planned], rehearsed: Sequence[Rehearsed], measurement: Measurement | None) -> Beside:
    """What is planned, as far as it was timed, after a first step that takes longer than the others."""
    timed = {one.id: one for one in rehearsed}
    wanted = [one for one in planned or USUAL if one.num_times]
    first = _first_step(measurement)
    return Beside(
        occasions=(
            *([first] if first else []),
            *(_occasion(one, timed[one.rehearsal]) for one in wanted if one.rehearsal in timed),
        ),
        untimed=tuple(NAMES.get(one.id, one.id) for one in wanted if one.rehearsal not in timed),
    )


def _first_step(measurement: Measurement | None) -> Occasion | None:
    first_s, mean_s = measurement.first_step_s if measurement else None, _mean(measurement).value
    if first_s is None or mean_s is None or first_s <= mean_s:
        return None
    each = Claim(value=first_s - mean_s, basis="measured", source="first step - mean of the others")
    return Occasion(id="first_step", num_times=1, each_s=each, when="start")


def _mean(measurement: Measurement | None) -> Claim:
    """Seconds of a step on average; the median where only that was kept."""
    if measurement is not None and measurement.mean_step_s is not None:
        return measurement.mean_step_s
    step_s = measurement.step_s if measurement else None
    if step_s is None:
        return UNTIMED
    source = f"median of {step_s.n} timings"
    return Claim(value=step_s.median, low=step_s.low, high=step_s.high, basis="measured", source=source)


def _occasion(planned: Planned, timed: Rehearsed) -> Occasion:
    each_s, spread = timed.seconds * planned.units / timed.units, math.exp(Z_80 * ONCE_LOG_SD)
    source = f"{timed.seconds:.3g} s for {timed.units:g} of {planned.units:g} parts, timed once{BAND}"
    each = Claim(value=each_s, low=each_s / spread, high=each_s * spread, basis="predicted", source=source)
    return Occasion(id=planned.id, num_times=planned.num_times, each_s=each, when=planned.when)


# ---- the whole run, and parts of it -------------------------------------------------------------


def training_time(samples: Claim, batch: int, measurement: Measurement | None) -> Claim:
    """Seconds of all optimizer steps."""
    mean = _mean(measurement)
    if mean.value is None or samples.value is None:
        return UNTIMED
    steps = num_steps(samples.value, batch)
    of_mean = math.log(mean.high / mean.low) / 2 if mean.low and mean.high else 0.0
    spread = math.exp(math.hypot(Z_80 * CONDITIONS_LOG_SD, of_mean))
    return Claim(
        value=steps * mean.value,
        low=steps * mean.value / spread,
        high=steps * mean.value * spread,
        basis="predicted",
        source=f"{steps} steps x {mean.source.removesuffix(BAND)}{BAND}",
    )


def run_time(training: Claim, beside: Beside) -> Claim:
    """Seconds of the whole run; says what is in it, and what is not."""
    source = training.source.removesuffix(BAND)
    if beside.occasions:
        source += " + " + ", ".join(f"{one.num_times} x {NAMES.get(one.id, one.id)}" for one in beside.occasions)
    if beside.untimed:
        source += "; without " + ", ".join(beside.untimed)
    return _total(training, [(one.each_s, one.num_times) for one in beside.occasions], source + BAND)


def elapsed(share: float, training: Claim, occasions: Sequence[Occasion]) -> Claim:
    """Seconds on the clock until so much of the run is done."""
    done = {"start": 1.0, "spread": share, "end": float(share >= 1)}
    parts = [(one.each_s, one.num_times * done[one.when]) for one in occasions]
    return _total(_scaled(training, share), parts, f"steps x mean time of a step + what comes between them{BAND}")


def at_the_end(occasions: Sequence[Occasion]) -> Claim:
    """Seconds of what comes after the last step, as far as that could be timed."""
    nothing = Claim(value=0.0, basis="predicted", source="no step")
    return _total(nothing, [(one.each_s, one.num_times) for one in occasions if one.when == "end"], "timed small")


def _scaled(claim: Claim, factor: float) -> Claim:
    value, low, high = (None if x is None else factor * x for x in (claim.value, claim.low, claim.high))
    return Claim(value=value, low=low, high=high, basis=claim.basis, source=claim.source)


def _total(training: Claim, parts: Iterable[tuple[Claim, float]], source: str) -> Claim:
    """Values add up; the errors of steps and of the rest by their squares, for they have different causes."""
    if training.value is None:
        return training
    value, low, high = _bounds(training)
    rest = [[times * x for x in _bounds(each)] for each, times in parts]
    more, more_low, more_high = (math.fsum(column) for column in zip((0.0, 0.0, 0.0), *rest, strict=True))
    total, below = value + more, math.hypot(value - low, more - more_low)
    above = math.hypot(high - value, more_high - more)
    return Claim(value=total, low=max(0.0, total - below), high=total + above, basis="predicted", source=source)


def _bounds(claim: Claim) -> tuple[float, float, float]:
    value = float(claim.value or 0)
    return value, value if claim.low is None else float(claim.low), value if claim.high is None else float(claim.high)
