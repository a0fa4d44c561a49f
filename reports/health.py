"""What a run's health checks saw: its alarms, and its errors beside those of computed baselines."""

from advisor import units
from advisor.records import Claim, Note
from reports.blocks import Block, Bullet, Bullets, Column, Figure, Line, Paragraph, Section, Table
from reports.view import RunHealth, RunView
from reports.wording import ARITHMETIC, Wording, exact

UNKNOWN = Claim(value=None, basis="rule", source=ARITHMETIC)


def health(run: RunView, w: Wording) -> tuple[Section, ...]:
    """The section, or nothing for a run without checks."""
    found, m = run.health, w.messages
    if found is None:
        return ()
    blocks: list[Block] = [_alarms(found, w)]
    if found.label_is_used is not None:
        blocks.append(Paragraph(line=(m.health_label_used if found.label_is_used else m.health_label_unused,)))
    if found.errors and found.samples is not None:
        blocks += [
            Paragraph(line=(m.health_how.format(samples=units.format_count(found.samples)),)),
            _buckets(found, w),
            Paragraph(line=(m.health_baselines,)),
        ]
    return (Section(id="health", title=m.section_health, blocks=tuple(blocks)),)


def _alarms(found: RunHealth, w: Wording) -> Block:
    if not found.alarms:
        return Paragraph(line=(w.messages.health_no_alarm,))
    items = []
    for one in found.alarms:
        at = w.messages.health_at.format(samples=units.format_count(one.samples))
        items.append(Bullet(mark="!", line=(at, *_said(one.note, w))))
    return Bullets(items=tuple(items))


def _said(note: Note, w: Wording) -> Line:
    """Its statistic was measured; its threshold is a rule."""
    measured = {
        name: Claim(value=value, basis="rule" if name == "threshold" else "measured", source="events.jsonl: alarm")
        for name, value in note.values.items()
        if isinstance(value, (int, float))
    }
    return w.note(note, measured)


def _buckets(found: RunHealth, w: Wording) -> Table:
    m = w.messages
    shown = [name for name in ("zero", "wiener", "copier", "floor") if found.baselines.get(name)]
    titles = {
        "zero": m.column_zero,
        "wiener": m.column_wiener,
        "copier": m.column_copier,
        "floor": m.column_floor,
    }
    columns = (
        Column(title=m.column_bucket),
        Column(title=m.column_error),
        *(Column(title=titles[name]) for name in shown),
        Column(title=m.column_skill),
    )
    rows: list[tuple[Line, ...]] = []
    for k, error in enumerate(found.errors):
        baselines = [_figure(_at(found.baselines[name], k), w) for name in shown]
        rows.append(((str(k + 1),), (_figure(error, w),), *((one,) for one in baselines), (_skill(found, k, w),)))
    return Table(columns=columns, rows=tuple(rows))


def _at(values: tuple[float | None, ...], k: int) -> float | None:
    return values[k] if k < len(values) else None


def _figure(value: float | None, w: Wording) -> Figure:
    return w.loss(Claim(value=value, basis="measured", source="metrics.jsonl: validation"))


def _skill(found: RunHealth, k: int, w: Wording) -> Figure:
    """Share of the best linear denoiser's error that the network has removed."""
    error, wiener = found.errors[k], _at(found.baselines.get("wiener", ()), k)
    return w.percent(exact(1 - error / wiener) if error is not None and wiener else UNKNOWN)
