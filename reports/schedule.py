"""When a run of the trainer stops to draw samples, and what its logs say about each of these moments."""

import math
from pathlib import PurePosixPath

from advisor import units
from advisor.records import Advice, Claim, Milestone, Option
from reports.blocks import Block, Column, Line, Paragraph, Section, Table
from reports.judged import plain_figures, real_figures, shown
from reports.loss_charts import validation_loss
from reports.outlook import FAR, NUM_CURVES, NUM_INSIDE, NUM_LATER, outlook
from reports.view import RunView, TrainPoint, ValidationPoint
from reports.wording import Wording, spelled_epoch

NUM_GRIDS = 5  # the trainer's own default: grid k is drawn at k/5 of the run
_UNKNOWN = Claim(value=None, basis="predicted", source="run_s")


def of_run(run: RunView) -> tuple[int, ...]:
    """Samples seen at each milestone of this run, as its configuration says; empty where it does not."""
    total, num = run.plan.samples, run.plan.num_milestones
    if not total or not num or total < 0 or not 0 < num <= total:
        return ()
    return tuple(round(k * total / num) for k in range(1, num + 1))


def option_run(advice: Advice, run: RunView) -> Option | None:
    """The option that the run was trained with; ``None`` if it was none of them."""
    if run.micro_batch is None or run.accumulation is None:
        return advice.recommended
    batch = (run.micro_batch, run.accumulation)
    options = (advice.recommended, *advice.options)
    return next((one for one in options if (one.micro_batch, one.accumulation) == batch), None)


def predicted_training_s(advice: Advice, option: Option, samples: int) -> Claim:
    """The time that was predicted for the training steps of the first so many samples of the run."""
    total, claim = advice.run_samples.value, option.training_s or option.run_s
    if claim.value is None or not total or not samples:
        return _UNKNOWN
    part = samples / total

    def scaled(bound: float | None) -> float | None:
        return None if bound is None else bound * part

    return Claim(
        value=scaled(claim.value),
        low=scaled(claim.low),
        high=scaled(claim.high),
        basis=claim.basis,
        source=f"run_s x {part:.4g}" if part != 1 else claim.source,
    )


def planned(advice: Advice, run: RunView) -> tuple[Milestone, ...]:
    """The run's milestones as the advice would have them: with steps, epochs and predicted times."""
    batch = (run.micro_batch or advice.recommended.micro_batch) * (run.accumulation or advice.recommended.accumulation)
    return tuple(
        Milestone(
            id=f"grid_{k}",
            samples=samples,
            step=math.ceil(samples / batch),
            epoch=samples / advice.dataset.num_items,
            elapsed_s=_predicted(advice, run, samples),
        )
        for k, samples in enumerate(of_run(run), start=1)
    )


def passed(advice: Advice | None, run: RunView, w: Wording) -> Section:
    """Each milestone of the run: when it was expected, when it came, and the losses there."""
    m = w.messages
    looks = of_run(run)
    if not looks:
        return Section(id="milestones", title=m.section_milestones, blocks=(Paragraph(line=(m.milestones_unknown,)),))
    columns = [
        Column(title=m.column_grid, numeric=False),
        Column(title=m.column_samples),
        Column(title=m.column_steps),
        Column(title=m.column_epoch),
        *([Column(title=m.column_time_predicted)] if advice is not None else []),
        Column(title=m.column_time_actual),
        Column(title=m.column_train_loss),
        Column(title=m.column_validation_loss),
        *([Column(title=title) for title in _judged_titles(w)] if run.evaluation else []),
    ]
    rows = (*(_row(samples, advice, run, w) for samples in looks), *_real_row(len(columns), run, w))
    blocks: list[Block] = [Paragraph(line=(m.milestones_run.format(num=len(looks)),))]
    blocks += [Table(columns=tuple(columns), rows=rows), *_about_losses(looks, run, w)]
    return Section(id="milestones", title=m.section_milestones, blocks=tuple(blocks))


def _row(samples: int, advice: Advice | None, run: RunView, w: Wording) -> tuple[Line, ...]:
    batch = (run.micro_batch or 0) * (run.accumulation or 0)
    num_train = run.dataset.num_train if run.dataset else None
    grid = next(
        (one.path for one in run.grids if one.samples is not None and 0 <= one.samples - samples < max(batch, 1)), None
    )
    train = _train_at(run, samples)
    expected: tuple[Line, ...] = ((shown(w.duration(_predicted(advice, run, samples))),),) if advice else ()
    return (
        (PurePosixPath(grid).stem if grid else "-",),
        (units.format_count(samples),),
        (units.format_count(math.ceil(samples / batch)) if batch else "-",),
        (spelled_epoch(samples / num_train) if num_train else "-",),
        *expected,
        (shown(w.duration(_logged(train.elapsed_s if train else None, "elapsed_s"))),),
        (shown(w.loss(_logged(train.loss if train else None, "loss"))),),
        (shown(w.loss(_validation_loss(run, samples))),),
        *_judged(run, samples, batch, w),
    )  # fmt: skip


def _validation_loss(run: RunView, samples: int) -> Claim:
    """What was measured there; between which bounds it will be, where the run has not been yet."""
    near = _validation_at(run, samples)
    if near is not None or samples <= run.samples:
        return _logged(validation_loss(near.loss, near.ema_loss) if near else None, "validation")
    return outlook(run.validation_curve, samples) or _logged(None, "validation")


def _about_losses(looks: tuple[int, ...], run: RunView, w: Wording) -> list[Block]:
    """What the bounds of losses to come mean, or why there are none; nothing where all are there."""
    m, to_come = w.messages, [samples for samples in looks if samples > run.samples]
    if not to_come:
        return []
    if all(outlook(run.validation_curve, samples) is None for samples in to_come):
        return [Paragraph(line=(m.milestones_no_loss,))]
    held = m.milestones_bounds.format(far=f"{FAR:g}", inside=NUM_INSIDE, later=NUM_LATER, curves=NUM_CURVES)
    return [Paragraph(line=(held,))]


def _judged_titles(w: Wording) -> tuple[str, str, str]:
    return w.messages.column_copies, w.messages.column_kid, w.messages.column_recognised


def _judged(run: RunView, samples: int, batch: int, w: Wording) -> tuple[Line, ...]:
    """What was found in the items that the milestone's checkpoint generates."""
    if run.evaluation is None:
        return ()
    near = (one for one in run.evaluation.checkpoints if 0 <= one.samples - samples < max(batch, 1))
    return tuple((shown(figure),) for figure in plain_figures(next(near, None), w)[:3])


def _real_row(num_columns: int, run: RunView, w: Wording) -> tuple[tuple[Line, ...], ...]:
    """The same figures of real items, as what the last columns could reach at best."""
    real = real_figures(run.evaluation, w) if run.evaluation else None
    if real is None:
        return ()
    blank: tuple[Line, ...] = (("-",),) * (num_columns - 1 - len(real))
    return (((w.messages.row_real,), *blank, *((shown(figure),) for figure in real)),)


def _train_at(run: RunView, samples: int) -> TrainPoint | None:
    """The first line of the log that covers the milestone, if it is about it and not much later."""
    after = next((one for one in run.train if one.samples >= samples), None)
    return after if after is not None and after.samples <= 1.1 * samples else None


def _validation_at(run: RunView, samples: int) -> ValidationPoint | None:
    """The validation nearest to the milestone, if one is near."""
    nearest = min(run.validation, key=lambda one: abs(one.samples - samples), default=None)
    return nearest if nearest is not None and abs(nearest.samples - samples) <= 0.05 * samples else None


def _logged(value: float | None, name: str) -> Claim:
    return Claim(value=value, basis="measured", source=f"metrics.jsonl: {name}")


def _predicted(advice: Advice | None, run: RunView, samples: int) -> Claim:
    """The training time to so many samples, in proportion to that of the whole run."""
    option = option_run(advice, run) if advice else None
    if advice is None or option is None:
        return _UNKNOWN
    return predicted_training_s(advice, option, samples)
