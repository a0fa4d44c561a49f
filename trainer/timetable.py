"""What a run does beside its optimizer steps, and how often: validations, sample grids, judged pictures, checkpoints.

Loads no torch. What they take is timed by :mod:`trainer.rehearsal`; passes of the network for a picture are the units.
"""

import dataclasses
import math
from typing import Any

from advisor.recommend.duration import Planned
from trainer.amounts import (
    MAX_AT_MILESTONE,
    MAX_GRID_CLASSES,
    grid_rows,
    num_at_milestone,
    num_to_generate,
    num_validated,
)
from trainer.config import NO_VAE, TrainConfig

_USUAL: dict[str, Any] = {
    field.name: field.default
    for field in dataclasses.fields(TrainConfig)
    if field.name in ("num_milestones", "sampling_steps", "guidance")
}
USUAL_SHARE = 20  # of a run pass between two validations, or two checkpoints


def timetable_of(config: TrainConfig, num_classes: int, num_held_out: int) -> tuple[Planned, ...]:
    """Of a run with this configuration."""
    given = {name: getattr(config, name) for name in _USUAL}
    return timetable(
        config.samples,
        config.effective_batch,
        num_classes,
        num_held_out,
        validate_every_samples=config.validate_every_samples,
        checkpoint_every_samples=config.checkpoint_every_samples,
        decodes=config.vae != NO_VAE,
        **given,
    )


def timetable(
    samples: int,
    batch: int,
    num_classes: int,
    num_held_out: int,
    *,
    validate_every_samples: int | None = None,
    checkpoint_every_samples: int | None = None,
    num_milestones: int = _USUAL["num_milestones"],
    sampling_steps: int = _USUAL["sampling_steps"],
    guidance: float = _USUAL["guidance"],
    decodes: bool = False,
) -> tuple[Planned, ...]:
    """Of a run of this length; what is not given is as :func:`trainer.plan.plan_values` has it."""
    usual = max(1, samples // USUAL_SHARE)
    tuples = num_validated(num_held_out)
    milestone, guided = samples / num_milestones, 1 if guidance == 1 else 2
    in_grid = min(num_classes, MAX_GRID_CLASSES) * grid_rows(min(num_classes, MAX_GRID_CLASSES))
    judged, at_end = num_at_milestone(samples, num_milestones, num_classes), num_to_generate(samples, num_classes)
    guided_at_end = 0 if guidance == 1 else 2 * min(MAX_AT_MILESTONE, at_end)
    num_judged = num_milestones - 1 if judged else 0
    validations = _num_times([validate_every_samples or usual], samples, batch) if tuples else 0
    saves = _num_times([checkpoint_every_samples or usual, milestone], samples, batch)
    return (
        Planned(id="validation", rehearsal="validation", num_times=validations, units=tuples),
        Planned(id="grids", rehearsal="sampling", num_times=num_milestones, units=in_grid * sampling_steps * guided),
        Planned(
            id="milestone_pictures", rehearsal="sampling", num_times=num_judged, units=judged * sampling_steps + tuples
        ),
        Planned(id="checkpoints", rehearsal="checkpoint", num_times=saves),
        Planned(
            id="final_pictures",
            rehearsal="sampling",
            num_times=1,
            units=(at_end + guided_at_end) * sampling_steps + tuples,
            when="end",
        ),
        Planned(id="classifiers", rehearsal="classifiers", num_times=num_judged + 1),
        Planned(id="decoding", rehearsal="decoding", num_times=int(decodes)),
    )


def _num_times(intervals_samples: list[float], samples: int, batch: int) -> int:
    """After how many steps one of these intervals, or the run, is over; what falls on the same step is done once."""
    steps = math.ceil(samples / batch)
    if min(intervals_samples) <= batch:
        return steps
    ends = {
        math.ceil(k * every / batch - 1e-9)
        for every in intervals_samples
        for k in range(1, math.floor(steps * batch / every + 1e-9) + 1)
    }
    return len(ends | {steps})
