"""The sections of a report that need a run, or that say how its figures came about."""

import dataclasses

from advisor import units
from advisor.records import Advice, Claim, Note
from reports import loss_charts, quality
from reports.blocks import Block, Bullet, Bullets, Code, Column, Figure, Line, Paragraph, Picture, Section, Table, say
from reports.schedule import option_run, predicted_training_s
from reports.view import RunView, SampleGrid
from reports.wording import Wording, all_as, day

NUM_GRIDS_SHOWN = 6
NOT_PREDICTED = Claim(value=None, basis="predicted", source="not measured")
_OF_MEASURED = ("step_time_rose", "step_time_fell", "input_stall", "noise_scale_early", "noise_scale_untrained")
_OF_PREDICTED = ("noise_scale_too_slow", "host_bound", "largest_safe")


def predicted_and_actual(advice: Advice, run: RunView, w: Wording) -> Section:
    """What was said before the run beside what happened."""
    m, option = w.messages, option_run(advice, run)
    if option is None:
        line = m.actual_other_setting.format(micro_batch=run.micro_batch, accumulation=run.accumulation)
        happened = actual(run, w)
        return dataclasses.replace(happened, blocks=(Paragraph(line=(line,)), *happened.blocks))
    columns = (
        Column(title=m.column_metric, numeric=False),
        Column(title=m.column_predicted),
        Column(title=m.column_interval),
        Column(title=m.column_actual),
        Column(title=m.column_difference),
        Column(title=m.column_inside, numeric=False),
    )
    whole = (
        option.training_s is not None and run.status == "finished" and run.samples >= (advice.run_samples.value or 0)
    )
    training_s = predicted_training_s(advice, option, run.samples)
    rows = (
        _compared(m.column_step, w.duration(option.step_s), w.duration(run.actual.step_s), w),
        _compared(m.column_samples_per_s, w.rate(option.samples_per_s), w.rate(run.actual.samples_per_s), w),
        _compared(
            m.name_training_peak.format(memory=w.memory),
            w.bytes(option.peak_reserved_bytes),
            w.bytes(run.actual.training_peak_bytes),
            w,
        ),
        _compared(
            m.name_whole_peak.format(memory=w.memory),
            w.bytes(NOT_PREDICTED),
            w.bytes(run.actual.peak_reserved_bytes),
            w,
        ),
        _compared(m.name_training, w.duration(training_s), w.duration(run.actual.elapsed_s), w),
        *([_compared(m.name_run, w.duration(option.run_s), w.duration(run.actual.total_s), w)] if whole else []),
    )
    blocks: list[Block] = [Table(columns=columns, rows=rows), Paragraph(line=(m.actual_note,))]
    blocks.append(Paragraph(line=(m.actual_memory_note.format(memory=w.memory),)))
    blocks += [*loss_charts.losses(run, w), *_what_happened(run, w)]
    return Section(id="actual", title=m.section_actual, blocks=tuple(blocks))


def actual(run: RunView, w: Wording) -> Section:
    """What a run took for which nothing was predicted."""
    m = w.messages
    named = [
        (m.column_step, w.duration(run.actual.step_s)),
        (m.column_samples_per_s, w.rate(run.actual.samples_per_s)),
        (m.name_training_peak.format(memory=w.memory), w.bytes(run.actual.training_peak_bytes)),
        (m.name_whole_peak.format(memory=w.memory), w.bytes(run.actual.peak_reserved_bytes)),
        (m.name_training, w.duration(run.actual.elapsed_s)),
        (m.name_run, w.duration(run.actual.total_s)),
    ]
    columns = (
        Column(title=m.column_metric, numeric=False),
        Column(title=m.column_actual),
        Column(title=m.column_interval),
    )
    rows = tuple(((name,), (figure,), (figure.interval or "-",)) for name, figure in named)
    blocks = (Table(columns=columns, rows=rows), Paragraph(line=(m.actual_unplanned,)), *loss_charts.losses(run, w))
    return Section(id="actual", title=m.section_happened, blocks=(*blocks, *_what_happened(run, w)))


def configuration(run: RunView, w: Wording) -> Section:
    """What the run was trained with: its own ``config.toml``, with the reasons that stand in it."""
    m = w.messages
    text = run.plan.text.strip()
    blocks = (Code(language="toml", text=text),) if text else (Paragraph(line=(m.config_missing,)),)
    return Section(id="config", title=m.section_config, blocks=blocks)


def _compared(name: str, predicted: Figure, actual: Figure, w: Wording) -> tuple[Line, ...]:
    m = w.messages
    expected, happened = predicted.claim.value, actual.claim.value
    difference, inside = "-", "-"
    if expected and happened is not None:
        ratio = happened / expected
        difference = f"{100 * (ratio - 1):+.1f}{m.percent_sign}" if ratio < 2 else f"× {ratio:.3g}"
        low, high = predicted.claim.low, predicted.claim.high
        if low is not None and high is not None:
            inside = m.yes if low <= happened <= high else m.no
    said: Line = (predicted if predicted.is_known else "-",)
    return ((name,), said, (predicted.interval or "-",), (actual,), (difference,), (inside,))


def _what_happened(run: RunView, w: Wording) -> list[Block]:
    m, items = w.messages, []
    best = run.best_validation
    if best is not None:
        value = best.loss if best.ema_loss is None else best.ema_loss
        loss = Claim(value=value, basis="measured", source="metrics.jsonl: validation")
        line = say(m.run_best_validation, loss=w.loss(loss), samples=units.format_count(best.samples))
        items.append(Bullet(mark="i", line=line))
    last = run.train[-1] if run.train else None
    if last is not None and last.loss is not None:
        loss = Claim(value=last.loss, basis="measured", source="metrics.jsonl: train")
        line = say(m.run_last_loss, loss=w.loss(loss), samples=units.format_count(last.samples))
        items.append(Bullet(mark="i", line=line))
    if run.checkpoints_samples:
        kept = m.list_separator.join(units.format_count(samples) for samples in run.checkpoints_samples)
        items.append(Bullet(mark="i", line=(m.run_checkpoints.format(checkpoints=kept),)))
    items += [Bullet(mark="!", line=w.note(warning)) for warning in run.run_warnings]
    return [Bullets(items=tuple(items))] if items else []


# ---- samples ------------------------------------------------------------------------------------


def samples(run: RunView, w: Wording) -> Section:
    """Real items, sample grids of the run, and the generated items that are nearest to training items."""
    m = w.messages
    grids = tuple(
        Picture(
            path=grid.path,
            caption=m.grid_at.format(samples=units.format_count(grid.samples))
            if grid.samples is not None
            else grid.path,
        )
        for grid in _spread(run.grids)
    )
    blocks = (
        Paragraph(line=(m.samples_note if grids else m.samples_none,)),
        *quality.real_picture(run, w),
        *grids,
        *quality.closest_pairs(run, w),
    )
    return Section(id="samples", title=m.section_samples, blocks=blocks)


def _spread(grids: tuple[SampleGrid, ...]) -> tuple[SampleGrid, ...]:
    if len(grids) <= NUM_GRIDS_SHOWN:
        return grids
    last = len(grids) - 1
    return tuple(grids[round(k * last / (NUM_GRIDS_SHOWN - 1))] for k in range(NUM_GRIDS_SHOWN))


# ---- method and warnings ------------------------------------------------------------------------


def method(advice: Advice, run: RunView | None, w: Wording) -> Section:
    """Where the figures come from, and what was not measured."""
    m, best = w.messages, advice.recommended
    lines = [m.method_measured, m.method_predicted, m.method_rule, m.method_user]
    if advice.noise_scale is None:
        lines.append(m.method_no_noise_scale)
    items = [Bullet(line=(line,)) for line in lines]
    if advice.noise_scale is not None:
        scale = advice.noise_scale
        claim = Claim(value=scale.value, low=scale.low, high=scale.high, basis="measured", source="noise_scale")
        items.append(Bullet(line=say(m.method_noise_scale, value=w.count(claim))))
    sources = [
        (m.name_lr, best.lr),
        ("beta2", best.betas[1]),
        (m.name_ema, best.ema_decay),
        (m.name_peak.format(memory=w.memory), best.peak_reserved_bytes),
        (m.column_step, best.step_s),
        (m.name_run, best.run_s),
        (m.name_same_progress, best.time_to_same_progress),
        (m.name_run_samples, advice.run_samples),
    ]
    columns = tuple(Column(title=title, numeric=False) for title in (m.column_item, m.column_basis, m.column_source))
    rows = tuple(((name,), (w.basis_names[claim.basis],), (m.source(claim.source),)) for name, claim in sources)
    blocks: list[Block] = [Bullets(items=tuple(items)), Table(columns=columns, rows=rows)]
    blocks += _origin(advice, w)
    if run is not None:
        blocks += _problems(run, w)
    return Section(id="method", title=m.section_method, blocks=tuple(blocks))


def run_method(run: RunView, w: Wording) -> Section:
    """Where the figures of a run without an advice come from, and what is not known of it."""
    m = w.messages
    items = tuple(Bullet(line=(line,)) for line in (m.method_logged, m.method_unadvised))
    return Section(id="method", title=m.section_method, blocks=(Bullets(items=items), *_problems(run, w)))


def _problems(run: RunView, w: Wording) -> list[Block]:
    if not run.problems:
        return []
    problems = tuple(Bullet(mark="!", line=(text,)) for text in run.problems)
    return [Paragraph(line=(w.messages.run_problems,)), Bullets(items=problems)]


def _origin(advice: Advice, w: Wording) -> list[Block]:
    origin = advice.provenance
    text = w.messages.method_origin.format(version=origin.cfgadvise_version, day=day(origin.created_at_utc))
    return [Paragraph(line=(text,)), Code(language="bash", text=origin.command)]


def warnings(advice: Advice, w: Wording) -> Section:
    """Everything that the reader should know before believing the rest."""
    m = w.messages
    if not advice.warnings:
        return Section(id="warnings", title=m.section_warnings, blocks=(Paragraph(line=(m.warnings_none,)),))
    items = tuple(Bullet(mark="!", line=w.note(note, _known(note))) for note in advice.warnings)
    return Section(id="warnings", title=m.section_warnings, blocks=(Bullets(items=items),))


def _known(note: Note) -> dict[str, Claim]:
    """What the figures of a warning rest on; those of any other are rules."""
    if note.id in _OF_MEASURED:
        return all_as("measured", "warnings", note.values)
    return all_as("predicted", "warnings", note.values) if note.id in _OF_PREDICTED else {}
