"""What an evaluation found in the items of the chosen checkpoint: copies, likeness, classes and use."""

from advisor import units
from advisor.evaluation import (
    CheckpointEvaluation,
    ClassifierAccuracy,
    Compared,
    Judgement,
    Likeness,
)
from advisor.records import Note
from reports.blocks import (
    Block,
    Bullet,
    Bullets,
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
from reports.judged import said
from reports.view import RunView
from reports.wording import Wording, exact

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
    return Bullet(mark=mark, line=said(finding, w))


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
        Column(title=m.column_real_interval),
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
    floor = w.kid(likeness.kid_floor)
    return [
        _row(m.kid_held_out, w.kid(likeness.kid_held_out), floor),
        _row(m.kid_train, w.kid(likeness.kid_train), floor),
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
