"""Several cards side by side: what each would take of the run, in one table, and what can be told apart."""

from advisor.records import Advice, Advices, Claim, Note, Value
from reports.blocks import Block, Bullet, Bullets, Column, Document, Lang, Line, Paragraph, Section, Table, say
from reports.plan import batch_text
from reports.wording import Wording, all_as

_TIMING_NOTES = ("predicted_step", "predicted_step_alike", "predicted_only", "host_bound")
_NOT_ASKED = Claim(value=None, basis="user", source="given")


def build_cards(found: Advices, lang: Lang) -> Document:
    """The comparison of pieces of advice for one step on several cards."""
    w = Wording(lang, "cuda")
    m = w.messages
    sections = [_table(found, w), _notes(found, w)]
    return Document(
        lang=lang,
        title=m.cards_title,
        subtitle=m.list_separator.join(one.device.name for one in found.advices),
        legend=w.legend(),
        marks=w.marks,
        sections=tuple(part for part in sections if part.blocks),
    )


def _table(found: Advices, w: Wording) -> Section:
    m = w.messages
    has_cost = any(one.cost for one in found.advices)
    has_sessions = any(one.sessions for one in found.advices)
    titles = [m.column_batch, m.column_peak.format(memory=w.memory), m.column_step, m.column_samples_per_s]
    titles += [m.column_run, m.column_interval]
    titles += [*([m.column_cost] if has_cost else []), *([m.column_sessions] if has_sessions else [])]
    columns = (Column(title=m.column_card, numeric=False), *(Column(title=title) for title in titles))
    rows = tuple(_row(one, w, has_cost=has_cost, has_sessions=has_sessions) for one in found.advices)
    fastest = clearly_first(found.advices)
    blocks: list[Block] = [Table(columns=columns, rows=rows, chosen=fastest)]
    if len(found.advices) > 1:
        name = None if fastest is None else found.advices[fastest].device.name
        blocks.append(Paragraph(line=(m.cards_unclear,) if name is None else say(m.cards_clear, card=name)))
    return Section(id="cards", title=m.section_cards, blocks=tuple(blocks))


def _row(advice: Advice, w: Wording, *, has_cost: bool, has_sessions: bool) -> tuple[Line, ...]:
    best = advice.recommended
    cells: list[Line] = [
        (advice.device.name,),
        (batch_text(best),),
        (w.bytes(best.peak_reserved_bytes),),
        (w.duration(best.step_s),),
        (w.rate(best.samples_per_s),),
        (w.duration(best.run_s),),
        (w.duration(best.run_s).interval or "-",),
    ]
    if has_cost:
        cells.append((w.money(advice.cost.run if advice.cost else _NOT_ASKED),))
    if has_sessions:
        cells.append((w.count(advice.sessions.num_sessions if advice.sessions else _NOT_ASKED),))
    return tuple(cells)


def clearly_first(advices: tuple[Advice, ...]) -> int | None:
    """Which run surely ends first: its whole interval lies below those of all others; ``None`` if none does."""
    runs = [one.recommended.run_s for one in advices]
    if any(run.low is None or run.high is None for run in runs):
        return None
    first = min(range(len(runs)), key=lambda k: runs[k].value or 0)
    others = [run.low for k, run in enumerate(runs) if k != first]
    return first if all((runs[first].high or 0) < (low or 0) for low in others) and others else None


def _together(notes: list[Note], w: Wording) -> list[Note]:
    """Notes that say the same of several cards as one that names them all."""
    names: dict[tuple[str, frozenset[tuple[str, Value]]], list[str]] = {}
    for one in notes:
        rest = frozenset((name, value) for name, value in one.values.items() if name != "gpu")
        names.setdefault((one.id, rest), []).append(str(one.values.get("gpu", "")))
    joined = w.messages.list_separator.join
    texts = {one.id: one.text for one in notes}
    return [
        Note(id=note_id, text=texts[note_id], values={**dict(rest), "gpu": joined(gpus)})
        for (note_id, rest), gpus in names.items()
    ]


def _notes(found: Advices, w: Wording) -> Section:
    notes = [one for advice in found.advices for one in advice.warnings if one.id in _TIMING_NOTES]
    bullets = [
        Bullet(mark="!", line=w.note(one, all_as("predicted", "warnings", one.values))) for one in _together(notes, w)
    ]
    bullets += [Bullet(mark="-", line=(f"{one.gpu}: {one.message}",)) for one in found.refused]
    blocks: tuple[Block, ...] = (Bullets(items=tuple(bullets)),) if bullets else ()
    return Section(id="warnings", title=w.messages.section_warnings, blocks=blocks)
