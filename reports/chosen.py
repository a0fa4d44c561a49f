"""The section of a report that says which checkpoint to use, and how to sample from it."""

import shlex

from advisor import units
from advisor.evaluation import CheckpointEvaluation, Choice, Evaluation, Judgement
from reports.blocks import Block, Code, Column, Heading, Line, Paragraph, Section, Table
from reports.judged import UNKNOWN, plain_figures, said, short_figures, shown
from reports.view import RunView
from reports.wording import Wording


def checkpoint_choice(run: RunView, w: Wording) -> Section:
    """Every checkpoint that was judged, the one to use and why, and the setting to sample with."""
    m, evaluation = w.messages, run.evaluation
    if evaluation is None or evaluation.choice is None:
        return Section(id="choice", title=m.section_choice, blocks=(Paragraph(line=(m.choice_unknown,)),))
    choice = evaluation.choice
    columns = (
        Column(title=m.column_samples),
        Column(title=m.column_generated),
        Column(title=m.column_copies),
        Column(title=m.column_kid),
        Column(title=m.column_recognised),
        Column(title=m.column_synthetic),
        Column(title=m.column_verdict, numeric=False),
    )
    rows = tuple(_checkpoint_row(one, _verdict(one, run, choice, w), w) for one in evaluation.checkpoints)
    chosen = next((k for k, one in enumerate(evaluation.checkpoints) if one.samples == choice.samples), None)
    used = m.choice_use.format(samples=units.format_count(choice.samples))
    blocks: list[Block] = [
        Paragraph(line=(used, *said(choice.reason, w))),
        Table(columns=columns, rows=rows, chosen=chosen),
        Paragraph(line=(m.choice_rule,)),
        *_sampling(evaluation, run, w),
    ]
    return Section(id="choice", title=m.section_choice, blocks=tuple(blocks))


def _verdict(one: CheckpointEvaluation, run: RunView, choice: Choice, w: Wording) -> Line:
    """What the choice says of a checkpoint; one that is not on the disk any more could not be chosen."""
    m = w.messages
    rejected = next((other for other in choice.rejected if other.samples == one.samples), None)
    if rejected is not None:
        return said(rejected.reason, w)
    if one.samples == choice.samples:
        return (m.choice_chosen,)
    is_gone = run.checkpoints_samples and one.samples not in run.checkpoints_samples
    return (m.choice_gone if is_gone else m.choice_feasible,)


def _checkpoint_row(one: CheckpointEvaluation, verdict: Line, w: Wording) -> tuple[Line, ...]:
    generated = units.format_count(one.plain.num_generated) if one.plain else "-"
    copies, kid, recognised, synthetic = (shown(figure) for figure in plain_figures(one, w))
    return ((units.format_count(one.samples),), (generated,), (copies,), (kid,), (recognised,), (synthetic,), verdict)


def _sampling(evaluation: Evaluation, run: RunView, w: Wording) -> list[Block]:
    m, advised = w.messages, evaluation.sampling
    if advised is None:
        command = f"cfgadvise evaluate {shlex.quote(run.address)}"
        return [Paragraph(line=(m.sampling_unknown,)), Code(language="bash", text=command)]
    columns = (
        Column(title=m.column_guidance),
        Column(title=m.column_sampling_steps),
        Column(title=m.column_copies),
        Column(title=m.column_kid),
        Column(title=m.column_interval),
        Column(title=m.column_recognised),
        Column(title=m.column_diversity),
    )
    rows = tuple(_trial_row(one, w) for one in advised.tried)
    setting = (advised.guidance, advised.sampling_steps)
    chosen = next((k for k, one in enumerate(advised.tried) if (one.guidance, one.sampling_steps) == setting), None)
    options = f"-n 8 --guidance {advised.guidance:g} --steps {advised.sampling_steps}"
    command = f"cfgadvise sample {shlex.quote(run.address)} {options}"
    return [
        Heading(text=m.sampling_title),
        Paragraph(line=said(advised.reason, w)),
        Table(columns=columns, rows=rows, chosen=chosen),
        Code(language="bash", text=command),
    ]


def _trial_row(one: Judgement, w: Wording) -> tuple[Line, ...]:
    copies, kid, recognised = short_figures(one, w)
    diversity = w.percent(one.likeness.diversity if one.likeness else UNKNOWN)
    return (
        (f"{one.guidance:g}",),
        (str(one.sampling_steps),),
        (shown(copies),),
        (shown(kid),),
        (kid.interval or "-",),
        (shown(recognised),),
        (shown(diversity),),
    )
