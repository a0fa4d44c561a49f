"""What an evaluation found: copies, likeness, classes and use, which checkpoint to take and how to sample."""

from advisor import units
from advisor.evaluation import CheckpointEvaluation, ClassifierAccuracy, Compared, Evaluation, Judgement, Likeness
from advisor.records import Claim, Note
from reports.blocks import (
    Block,
    Bullet,
    Bullets,
    Code,
    Column,
    Figure,
    Heading,
    Line,
    Mark,
    Paragraph,
    Picture,
    Section,
    Table,
    say,
)
from reports.view import RunView
from reports.wording import Wording, all_as, exact

UNKNOWN = Claim(value=None, basis="measured", source="not evaluated")
_GOOD, _TODO, _REMARKS = (
    ("found_apart",),
    ("remedy_guidance", "remedy_longer", "remedy_condition", "remedy_unknown"),
    ("found_confused",),
)


def quality(run: RunView, w: Wording) -> Section:
    """What the generated items of the chosen checkpoint are like, and what they are good for."""
    m, evaluation = w.messages, run.evaluation
    chosen = evaluation.chosen if evaluation else None
    if evaluation is None or chosen is None:
        return Section(id="quality", title=m.section_quality, blocks=(Paragraph(line=(m.quality_unknown,)),))
    blocks: list[Block] = []
    if evaluation.findings:
        blocks.append(Bullets(items=tuple(_finding(one, w) for one in evaluation.findings)))
    for judgement in chosen.judgements:
        blocks += _figures(judgement, chosen, w)
    if evaluation.accuracy is not None:
        blocks += _uses(evaluation.accuracy, w)
    return Section(id="quality", title=m.section_quality, blocks=tuple(blocks))


def _finding(finding: Note, w: Wording) -> Bullet:
    mark: Mark = "!"
    if finding.id in _GOOD:
        mark = "+"
    elif finding.id in _TODO:
        mark = "todo"
    elif finding.id in _REMARKS:
        mark = "i"
    return Bullet(mark=mark, line=_said(finding, w))


def _said(note: Note, w: Wording) -> Line:
    """A note of the evaluation: its figures were measured."""
    return w.note(note, all_as("measured", "evaluation.json", note.values))


def _figures(judgement: Judgement, checkpoint: CheckpointEvaluation, w: Wording) -> list[Block]:
    """Each figure of one set of generated items, beside that of real ones, both with their intervals."""
    m = w.messages
    how = m.quality_made.format(
        generated=units.format_count(judgement.num_generated),
        checkpoint=units.format_count(checkpoint.samples),
        guidance=f"{judgement.guidance:g}",
        steps=judgement.sampling_steps,
    )
    columns = (
        Column(title=m.column_metric, numeric=False),
        Column(title=m.column_generated),
        Column(title=m.column_interval),
        Column(title=m.column_real),
        Column(title=m.column_interval),
    )
    rows = [*_copy_rows(judgement, w), *_likeness_rows(judgement, w), *_class_rows(judgement, w)]
    return [Paragraph(line=(how,)), Table(columns=columns, rows=tuple(rows))]


def _row(name: str, generated: Figure, real: Figure | None) -> tuple[Line, ...]:
    control: tuple[Line, Line] = (("-",), ("-",)) if real is None else ((real,), (real.interval or "-",))
    return ((name,), (generated,), (generated.interval or "-",), *control)


def _share_row(name: str, compared: Compared, w: Wording) -> tuple[Line, ...]:
    return _row(name, w.percent(compared.generated), w.percent(compared.real))


def _copy_rows(judgement: Judgement, w: Wording) -> list[tuple[Line, ...]]:
    m, copies = w.messages, judgement.copies
    if copies is None:
        return []
    return [_share_row(m.copies_pca, copies.in_pca, w), _share_row(m.copies_pixels, copies.in_pixels, w)]


def _likeness_rows(judgement: Judgement, w: Wording) -> list[tuple[Line, ...]]:
    m, likeness = w.messages, judgement.likeness
    if likeness is None:
        return []
    floor = w.loss(likeness.kid_floor)
    return [
        _row(m.kid_held_out, w.loss(likeness.kid_held_out), floor),
        _row(m.kid_train, w.loss(likeness.kid_train), floor),
        *(_share_row(name, one, w) for name, one in _neighbourhoods(likeness, w)),
        _row(m.diversity, w.percent(likeness.diversity), w.percent(exact(1.0))),
    ]


def _neighbourhoods(likeness: Likeness, w: Wording) -> list[tuple[str, Compared]]:
    m = w.messages
    return [(m.precision, likeness.precision), (m.recall, likeness.recall), (m.coverage, likeness.coverage)]


def _class_rows(judgement: Judgement, w: Wording) -> list[tuple[Line, ...]]:
    told = judgement.separability
    return [] if told is None else [_share_row(w.messages.classes_recognised, told.accuracy, w)]


def _uses(accuracy: ClassifierAccuracy, w: Wording) -> list[Block]:
    """Accuracies of a classifier on held-out real items, by what it was trained on."""
    m = w.messages
    how = m.quality_how.format(
        classifier=m.source(accuracy.classifier), test=units.format_count(accuracy.num_test_items)
    )
    columns = (
        Column(title=m.column_trained_on, numeric=False),
        Column(title=m.column_accuracy),
        Column(title=m.column_interval),
    )
    named = [
        (m.real_only, w.percent(accuracy.real_only)),
        (m.synthetic_only, w.percent(accuracy.synthetic_only)),
        (m.real_and_synthetic, w.percent(accuracy.real_and_synthetic)),
    ]
    rows = tuple(((name,), (figure,), (figure.interval or "-",)) for name, figure in named)
    return [Heading(text=m.quality_use), Paragraph(line=(how,)), Table(columns=columns, rows=rows), _gain(accuracy, w)]


def _gain(accuracy: ClassifierAccuracy, w: Wording) -> Paragraph:
    """Whether the synthetic items helped, beyond what chance does to the same test items."""
    m, gain = w.messages, accuracy.gain
    low, high = gain.low or 0.0, gain.high or 0.0
    template = m.quality_helps if low > 0 else m.quality_hurts if high < 0 else m.quality_same
    return Paragraph(line=say(template, gain=w.points(gain)))


# ---- which checkpoint, and how to sample ---------------------------------------------------------


def checkpoint_choice(run: RunView, w: Wording) -> Section:
    """Every checkpoint that was judged, the one to use and why, and the setting to sample with."""
    m, evaluation = w.messages, run.evaluation
    if evaluation is None or evaluation.choice is None:
        return Section(id="choice", title=m.section_choice, blocks=(Paragraph(line=(m.choice_unknown,)),))
    choice = evaluation.choice
    columns = (
        Column(title=m.column_samples),
        Column(title=m.column_copies),
        Column(title=m.column_kid),
        Column(title=m.column_recognised),
        Column(title=m.column_synthetic),
        Column(title=m.column_verdict, numeric=False),
    )
    reasons = {one.samples: _said(one.reason, w) for one in choice.rejected}
    rows = tuple(_checkpoint_row(one, evaluation, reasons, w) for one in evaluation.checkpoints)
    chosen = next((k for k, one in enumerate(evaluation.checkpoints) if one.samples == choice.samples), None)
    used = m.choice_use.format(samples=units.format_count(choice.samples))
    blocks: list[Block] = [
        Paragraph(line=(used, *_said(choice.reason, w))),
        Table(columns=columns, rows=rows, chosen=chosen),
        Paragraph(line=(m.choice_rule,)),
        *_sampling(evaluation, run, w),
    ]
    return Section(id="choice", title=m.section_choice, blocks=tuple(blocks))


def _checkpoint_row(
    one: CheckpointEvaluation, evaluation: Evaluation, reasons: dict[int, Line], w: Wording
) -> tuple[Line, ...]:
    m, choice = w.messages, evaluation.choice
    is_chosen = choice is not None and one.samples == choice.samples
    verdict: Line = reasons.get(one.samples, (m.choice_chosen if is_chosen else m.choice_feasible,))
    copies, kid, recognised, synthetic = (_shown(figure) for figure in plain_figures(one, w))
    return ((units.format_count(one.samples),), (copies,), (kid,), (recognised,), (synthetic,), verdict)


def plain_figures(one: CheckpointEvaluation | None, w: Wording) -> tuple[Figure, Figure, Figure, Figure]:
    """Copies, KID, share recognised and accuracy of synthetic only, of items made without guidance."""
    plain = one.plain if one else None
    if plain is None:
        return w.percent(UNKNOWN), w.loss(UNKNOWN), w.percent(UNKNOWN), w.percent(UNKNOWN)
    synthetic = plain.accuracy.synthetic_only if plain.accuracy else UNKNOWN
    return (*_short_figures(plain, w), w.percent(synthetic))


def _short_figures(one: Judgement, w: Wording) -> tuple[Figure, Figure, Figure]:
    copies = (one.copies.in_pca.generated, one.copies.in_pixels.generated) if one.copies else (UNKNOWN,)
    return (
        w.percent(max(copies, key=lambda claim: claim.value or 0.0)),
        w.loss(one.likeness.kid_held_out if one.likeness else UNKNOWN),
        w.percent(one.separability.accuracy.generated if one.separability else UNKNOWN),
    )


def real_figures(evaluation: Evaluation, w: Wording) -> tuple[Figure, Figure, Figure] | None:
    """The same of real items that training never saw: share of copies, KID floor, share recognised."""
    plain = next((one.plain for one in reversed(evaluation.checkpoints) if one.plain), None)
    if plain is None:
        return None
    copies = (plain.copies.in_pca.real, plain.copies.in_pixels.real) if plain.copies else (UNKNOWN,)
    return (
        w.percent(max(copies, key=lambda claim: claim.value or 0.0)),
        w.loss(plain.likeness.kid_floor if plain.likeness else UNKNOWN),
        w.percent(plain.separability.accuracy.real if plain.separability else UNKNOWN),
    )


def _shown(figure: Figure) -> Figure | str:
    return figure if figure.is_known else "-"


def _sampling(evaluation: Evaluation, run: RunView, w: Wording) -> list[Block]:
    m, advised = w.messages, evaluation.sampling
    if advised is None:
        command = f"cfgadvise evaluate {run.folder}"
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
    command = f"cfgadvise sample {run.folder} -n 8 --guidance {advised.guidance:g} --steps {advised.sampling_steps}"
    return [
        Heading(text=m.sampling_title),
        Paragraph(line=_said(advised.reason, w)),
        Table(columns=columns, rows=rows, chosen=chosen),
        Code(language="bash", text=command),
    ]


def _trial_row(one: Judgement, w: Wording) -> tuple[Line, ...]:
    copies, kid, recognised = _short_figures(one, w)
    diversity = w.percent(one.likeness.diversity if one.likeness else UNKNOWN)
    return (
        (f"{one.guidance:g}",),
        (str(one.sampling_steps),),
        (_shown(copies),),
        (_shown(kid),),
        (kid.interval or "-",),
        (_shown(recognised),),
        (_shown(diversity),),
    )


# ---- pictures ------------------------------------------------------------------------------------


def real_picture(run: RunView, w: Wording) -> tuple[Picture, ...]:
    """Real items in the layout of the sample grids, to look at beside them."""
    path = run.evaluation.real_grid if run.evaluation else None
    return (Picture(path=path, caption=w.messages.grid_real),) if path else ()


def closest_pairs(run: RunView, w: Wording) -> tuple[Block, ...]:
    """The generated items nearest to training items, beside them: copies are for the eye to judge."""
    m, chosen = w.messages, run.evaluation.chosen if run.evaluation else None
    sheets = [
        Picture(path=one.copies.sheet, caption=m.pairs_at.format(guidance=f"{one.guidance:g}"))
        for one in (chosen.judgements if chosen else ())
        if one.copies and one.copies.sheet
    ]
    return (Paragraph(line=(m.pairs_note,)), *sheets) if sheets else ()
