"""The gradient noise scale of a workload before it is trained: some hundred of its steps in a child process.

At the start of a training the loss falls fast and the noise scale is not that of mid-training (in our runs 6 samples
in the first 50 steps, about 40 from then on). So steps are only counted once the loss has fallen to half of its first
value; where it does not get there, the last steps count and the result says that it is early.
"""

import time
from collections.abc import Callable
from typing import Literal

from advisor.measure.campaign import Place, Subject
from advisor.measure.messages import BuildOrder, Built, Failure, WatchReport
from advisor.measure.noise_scale import MIN_STEPS
from advisor.measure.sandbox import Sandbox
from advisor.records import NoiseScale, record

MAX_STEPS = 400
ENOUGH_STEPS = 200
_STEPS_AT_ONCE = 10
_FALLEN_FRAC = 0.5

Refusal = Literal["not_wanted", "made_up_data", "batch_norm", "one_sample", "too_slow", "undetermined", "failed"]


@record
class NoiseOutcome:
    """The noise scale, or why there is none; ``message`` says more where there is more to say."""

    noise_scale: NoiseScale | None = None
    refusal: Refusal | None = None
    message: str | None = None
    steps_run: int = 0
    needed_s: float | None = None


def measure_noise_scale(
    layout: tuple[int, int],
    step_s: float,
    built: Built,
    subject: Subject,
    place: Place,
    *,
    seconds: float,
    timeout_s: float,
    on_progress: Callable[[str], None] = lambda _: None,
) -> NoiseOutcome:
    """Run watched steps at the present effective batch, for about so many seconds at most.

    Args:
        layout: micro-batch and accumulation; a batch that is not accumulated is cut in two.
        step_s: what a step of it takes.
        built: what the workload said of itself.
        subject: the workload.
        place: where it runs.
        seconds: what it may take; below 100 steps it is not begun.
        timeout_s: for building the workload, and for ten steps.
        on_progress: told what is being done.
    """
    cut = _cut(layout)
    if not built.real_data:
        return NoiseOutcome(refusal="made_up_data")
    if built.has_batch_norm:
        return NoiseOutcome(refusal="batch_norm")
    if cut is None:
        return NoiseOutcome(refusal="one_sample")
    if MIN_STEPS * step_s > seconds:
        return NoiseOutcome(refusal="too_slow", needed_s=MIN_STEPS * step_s)
    on_progress(f"measuring the gradient noise scale: {MIN_STEPS} to {MAX_STEPS} steps of {cut[0]} x {cut[1]} ...")
    with Sandbox(subject.spec, place.environment) as sandbox:
        order = BuildOrder(
            spec=subject.spec,
            parameters=dict(subject.parameters),
            device=place.torch_device,
            micro_batch=cut[0],
            accumulation=cut[1],
            cap_bytes=place.budget_bytes,
        )
        built_again = sandbox.build(order, timeout_s=timeout_s)
        if isinstance(built_again, Failure):
            return NoiseOutcome(refusal="failed", message=built_again.message)
        most = max(MIN_STEPS, min(MAX_STEPS, int(seconds / step_s)))
        return _watch(sandbox, most, time.perf_counter() + seconds, timeout_s)


def _cut(layout: tuple[int, int]) -> tuple[int, int] | None:
    """Micro-batches of equal size, two or more a step."""
    micro_batch, accumulation = layout
    if accumulation > 1:
        return layout
    return (micro_batch // 2, 2) if micro_batch > 1 else None


def _watch(sandbox: Sandbox, most: int, end_s: float, timeout_s: float) -> NoiseOutcome:
    """Steps until the noise scale is known well enough, or the steps or the time are used up."""
    steps, has_fallen, first_loss, anew = 0, False, 0.0, False
    while True:
        report = sandbox.watch(_STEPS_AT_ONCE, anew=anew, timeout_s=timeout_s)
        if isinstance(report, Failure):
            return NoiseOutcome(refusal="failed", message=report.message, steps_run=steps)
        steps += _STEPS_AT_ONCE
        first_loss, anew = first_loss or report.loss, False
        late = time.perf_counter() > end_s and report.num_watched >= MIN_STEPS
        if steps >= most or late or (has_fallen and report.num_watched >= ENOUGH_STEPS):
            return _judged(report, steps, is_early=not has_fallen)
        if not has_fallen and report.loss <= _FALLEN_FRAC * first_loss and most - steps >= MIN_STEPS:
            has_fallen = anew = True
        elif not has_fallen and most - steps == MIN_STEPS:
            anew = True  # the last chance: what was watched so far is the very start


def _judged(report: WatchReport, steps: int, *, is_early: bool) -> NoiseOutcome:
    if report.noise_scale is None:
        return NoiseOutcome(refusal="undetermined", message=report.refusal, steps_run=steps)
    found = report.noise_scale
    scale = NoiseScale(
        value=found.value,
        low=found.low,
        high=found.high,
        n=found.n,
        preconditioned=found.preconditioned,
        is_early=is_early,
    )
    return NoiseOutcome(noise_scale=scale, steps_run=steps)
