"""The gradient noise scale that a run measured, and what it says of the batch that was used."""

from advisor import units
from advisor.records import Claim, NoiseScale, Note
from reports.blocks import Block, Bullet, Bullets, Column, Line, Paragraph, Section, Table
from reports.entries import NOISE_SOURCE
from reports.view import NoiseReading, RunView
from reports.wording import Wording

WORTH_SOURCE = "1 / (1 + batch / measured gradient noise scale) (arXiv 1812.06162)"
_MEASURED = ("value", "low", "high")
_PREDICTED = ("ratio", "ratio_low", "ratio_high")


def noise(run: RunView, w: Wording) -> tuple[Section, ...]:
    """The section, or nothing for a run that was too short to look for it."""
    found, m = run.noise, w.messages
    if found is None:
        return ()
    blocks: list[Block] = []
    measured = [one for one in found.readings if one.scale is not None]
    if measured:
        blocks += [Paragraph(line=(m.noise_how,)), _readings(measured, run, w)]
    if measured and _batch(run) is not None:
        blocks.append(Paragraph(line=(m.noise_worth,)))
    items = [Bullet(mark="i", line=_refused(one, w)) for one in found.readings if one.scale is None]
    if found.better is not None:
        items.append(Bullet(mark="!", line=_better(found.better, w)))
    if items:
        blocks.append(Bullets(items=tuple(items)))
    return (Section(id="noise", title=m.section_noise, blocks=tuple(blocks)),)


def worth(batch: int, scale: NoiseScale) -> Claim:
    """What a sample of a batch is worth beside one of a very small batch: ``1 / (1 + B/Bn)``.

    McCandlish et al., arXiv 1812.06162, section 2; the interval is over what the advice holds possible.
    """
    low, high = scale.bounds
    value, least, most = (one / (one + batch) for one in (scale.expected, low, high))
    return Claim(value=value, low=least, high=most, basis="predicted", source=WORTH_SOURCE)


def _readings(measured: list[NoiseReading], run: RunView, w: Wording) -> Table:
    m, batch = w.messages, _batch(run)
    named = [m.column_share_of_run, m.column_samples, m.column_noise, m.column_interval]
    named += [m.column_noise_adam, m.column_interval]
    if batch is not None:
        named += [m.column_worth.format(batch=units.format_count(batch)), m.column_interval]
    rows = tuple(_row(one, one.scale, batch, w) for one in measured if one.scale is not None)
    return Table(columns=tuple(Column(title=title) for title in named), rows=rows)


def _row(one: NoiseReading, scale: NoiseScale, batch: int | None, w: Wording) -> tuple[Line, ...]:
    raw = Claim(value=scale.value, low=scale.low, high=scale.high, basis="measured", source=NOISE_SOURCE)
    unknown = Claim(value=None, basis="measured", source=NOISE_SOURCE)
    figures = [w.rate(raw), w.rate(scale.preconditioned or unknown)]
    if batch is not None:
        figures.append(w.percent(worth(batch, scale)))
    share = w.percent_text(one.share) if one.share is not None else w.messages.unknown
    pairs = [line for figure in figures for line in ((figure,), (figure.interval or "-",))]
    return ((share,), (units.format_count(one.samples),), *pairs)


def _batch(run: RunView) -> int | None:
    return run.micro_batch * run.accumulation if run.micro_batch and run.accumulation else None


def _refused(one: NoiseReading, w: Wording) -> Line:
    m = w.messages
    return (m.noise_refused.format(samples=units.format_count(one.samples), why=one.refusal or m.unknown),)


def _better(said: Note, w: Wording) -> Line:
    """The noise scale in it was measured, the gain is predicted from it, the learning rate follows a rule."""
    claims: dict[str, Claim] = {}
    for name, value in said.values.items():
        if isinstance(value, (int, float)) and name in _MEASURED:
            claims[name] = Claim(value=value, basis="measured", source=NOISE_SOURCE)
        elif isinstance(value, (int, float)) and name in _PREDICTED:
            claims[name] = Claim(value=value, basis="predicted", source="events.jsonl: noise_advice")
    return w.note(said, claims)
