"""Where to look during the run, and what would be a sign: in this run's own samples, steps and seconds.

No threshold on a loss is absolute: its scale depends on the objective. What is compared is the run with
itself, by rules that are named here.
"""

from advisor.recommend.dataset import epochs, num_steps
from advisor.recommend.duration import elapsed
from advisor.recommend.reasons import note
from advisor.records import Claim, Dataset, Measurement, Milestone, Note, Occasion, Option

MILESTONES = {"first_look": 0.05, "quarter": 0.25, "half": 0.5, "three_quarters": 0.75, "end": 1.0}
PLATEAU_SHARE, PLATEAU_TOLERANCE = 0.2, 0.005  # validation loss on fixed noise, 20 % of the run apart
CHECKPOINT_SHARE = 0.05
BLOCK_STEPS, OSCILLATION_FACTOR = 50, 2.0  # F test of block means against what single steps explain
CLIPPED_SHARE = 0.2  # beyond this, clipping and not the learning rate sets the size of the steps


def plan_milestones(
    option: Option, run_samples: Claim, dataset: Dataset, occasions: tuple[Occasion, ...] = ()
) -> tuple[Milestone, ...]:
    """Points of the run at whole optimizer steps; in a short run, several may fall together and are one."""
    if run_samples.value is None:
        return ()
    total_steps = num_steps(run_samples.value, option.effective_batch)
    found: dict[int, Milestone] = {}
    for name, share in MILESTONES.items():
        step = max(1, round(share * total_steps))
        samples = step * option.effective_batch
        found[step] = Milestone(
            id=name,
            samples=samples,
            step=step,
            epoch=epochs(samples, dataset.num_items),
            elapsed_s=_elapsed(step, option.step_s)
            if option.training_s is None
            else elapsed(step / total_steps, option.training_s, occasions),
        )
    return tuple(found[step] for step in sorted(found))


def plan_monitoring(
    option: Option,
    milestones: tuple[Milestone, ...],
    measurement: Measurement | None,
    budget_bytes: int | None,
    clip_norm: float | None,
) -> tuple[Note, ...]:
    """What to watch, each with a threshold that is computed or a rule that is named."""
    if not milestones:
        return ()
    total_steps, first = milestones[-1].step, milestones[0]
    notes = [
        note("loss_baseline", step=first.step, samples=first.samples),
        note(
            "plateau",
            every_steps=max(1, round(PLATEAU_SHARE * total_steps)),
            share=PLATEAU_SHARE,
            tolerance=PLATEAU_TOLERANCE,
        ),
        note("overfitting", every_steps=max(1, round(CHECKPOINT_SHARE * total_steps))),
        note("oscillation", block_steps=BLOCK_STEPS, factor=OSCILLATION_FACTOR),
    ]
    if clip_norm is not None:
        notes.append(note("clipping", clip_norm=clip_norm, share=CLIPPED_SHARE))
    if measurement is None:
        return (*notes, note("look"))
    if measurement.step_s is not None:
        times = measurement.step_s
        notes.append(note("step_time", median_s=times.median, high_s=times.high, block_steps=BLOCK_STEPS))
    if measurement.peak_reserved_bytes is not None and budget_bytes is not None:
        notes.append(note("memory", peak_bytes=measurement.peak_reserved_bytes, budget_bytes=budget_bytes))
    return (*notes, note("look"))


def _elapsed(step: int, step_s: Claim) -> Claim:
    if step_s.value is None:
        return Claim(value=None, basis="predicted", source="no step was timed")
    low, high = step_s.low or step_s.value, step_s.high or step_s.value
    return Claim(
        value=step * step_s.value,
        low=step * low,
        high=step * high,
        basis="predicted",
        source=f"steps x {step_s.basis} time of a step",
    )
