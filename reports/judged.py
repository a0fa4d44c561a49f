"""The few figures by which checkpoints are compared, and what an evaluation says of one in words."""

from advisor.evaluation import CheckpointEvaluation, Evaluation, Judgement
from advisor.records import Claim, Note
from reports.blocks import Figure, Line
from reports.wording import Wording, all_as

UNKNOWN = Claim(value=None, basis="measured", source="not evaluated")


def said(note: Note, w: Wording) -> Line:
    """A note of the evaluation: its figures were measured."""
    return w.note(note, all_as("measured", "evaluation.json", note.values))


def plain_figures(one: CheckpointEvaluation | None, w: Wording) -> tuple[Figure, Figure, Figure, Figure]:
    """Copies, KID, share recognised and accuracy of synthetic only, of items made without guidance."""
    plain = one.plain if one else None
    if plain is None:
        return w.percent(UNKNOWN), w.loss(UNKNOWN), w.percent(UNKNOWN), w.percent(UNKNOWN)
    synthetic = plain.accuracy.synthetic_only if plain.accuracy else UNKNOWN
    return (*short_figures(plain, w), w.percent(synthetic))


def short_figures(one: Judgement, w: Wording) -> tuple[Figure, Figure, Figure]:
    """Share of copies, KID and share recognised, of one set of generated items."""
    copies = (one.copies.in_pca.generated, one.copies.in_pixels.generated) if one.copies else (UNKNOWN,)
    return (
        w.percent(max(copies, key=lambda claim: claim.value or 0.0)),
        w.kid(one.likeness.kid_held_out if one.likeness else UNKNOWN),
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
        w.kid(plain.likeness.kid_floor if plain.likeness else UNKNOWN),
        w.percent(plain.separability.accuracy.real if plain.separability else UNKNOWN),
    )


def shown(figure: Figure) -> Figure | str:
    """The figure, or a hyphen where it is not known."""
    return figure if figure.is_known else "-"
