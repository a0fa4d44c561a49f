"""Two pieces of advice or two runs side by side: what differs in the setting, in its price, and in what came of it."""

import json
from collections.abc import Callable

from advisor import schema
from advisor.records import Advice, Claim, Option
from reports.blocks import (
    Bullet,
    Bullets,
    Column,
    Document,
    Figure,
    Inline,
    Lang,
    Line,
    Paragraph,
    Section,
    Table,
)
from reports.loss_charts import two_losses, validation_loss
from reports.run import source_json
from reports.view import RunView
from reports.wording import Wording, exact

Source = tuple[str, Advice | None, RunView | None]
_NOTHING = Claim(value=None, basis="measured", source="not measured")


def build_comparison(first: Source, second: Source, lang: Lang) -> Document:
    """The comparison of two sources, each a name with its advice, its run, or both."""
    kinds = {advice.device.kind if advice else run.device_kind if run else "cpu" for _, advice, run in (first, second)}
    w = Wording(lang, "cuda" if "cuda" in kinds else "cpu")
    m = w.messages
    names = _names(first[0], second[0])
    sections = [_what(first, second, names, w), _settings(first, second, w)]
    if first[1] is not None and second[1] is not None:
        sections.append(_expected(first[1].recommended, second[1].recommended, w))
    if first[2] is not None and second[2] is not None:
        sections.append(_happened(first[2], second[2], w))
    return Document(
        lang=lang,
        title=m.compare_title,
        subtitle=m.compare_legend.format(first=names[0], second=names[1]),
        legend=w.legend(),
        marks=w.marks,
        sections=tuple(sections),
    )


def comparison_json(first: Source, second: Source) -> str:
    """The records of both as one JSON object."""
    parts = [{"name": name, **json.loads(source_json(advice, run))} for name, advice, run in (first, second)]
    return schema.to_json({"schema": "cfgadvise.comparison/1", "first": parts[0], "second": parts[1]})


def _names(first: str, second: str) -> tuple[str, str]:
    return (first, second) if first != second else (f"{first} (A)", f"{second} (B)")


def _what(first: Source, second: Source, names: tuple[str, str], w: Wording) -> Section:
    """Whether the two can be compared at all: what else differs between them."""
    m = w.messages
    a, b = first[1], second[1]
    compared: list[tuple[str, object, object]] = []
    if a is not None and b is not None:
        compared += [
            (m.compare_device, a.device.name, b.device.name),
            (m.compare_step, (a.workload.name, a.workload.parameters), (b.workload.name, b.workload.parameters)),
            (m.compare_dataset, a.dataset.num_items, b.dataset.num_items),
            (m.compare_length, a.run_samples.value, b.run_samples.value),
        ]
    if first[2] is not None and second[2] is not None:
        compared += [
            (m.compare_dataset, first[2].dataset, second[2].dataset),
            (m.compare_length, first[2].samples, second[2].samples),
        ]
    differing = list(dict.fromkeys(name for name, one, other in compared if one != other))
    listed = m.list_separator.join(differing)
    said = m.compare_other_data.format(differences=listed) if differing else m.compare_same_data
    items = tuple(Bullet(line=(f"{letter}: {name}",)) for letter, name in zip("AB", names))
    return Section(id="verdict", title=m.section_verdict, blocks=(Paragraph(line=(said,)), Bullets(items=items)))


# ---- tables -------------------------------------------------------------------------------------


def _settings(first: Source, second: Source, w: Wording) -> Section:
    m = w.messages
    one, other = (_setting(source, w) for source in (first, second))
    columns = (Column(title=m.column_setting, numeric=False), Column(title="A"), Column(title="B"))
    rows = tuple(((name,), (value,), (other[name],)) for name, value in one.items())
    return Section(id="settings", title=m.compare_settings, blocks=(Table(columns=columns, rows=rows),))


def _setting(source: Source, w: Wording) -> dict[str, Inline]:
    """The setting of a source: what its run was trained with, else what its advice recommends."""
    m, (_, advice, run) = w.messages, source
    best = advice.recommended if advice else None
    micro_batch = run.micro_batch if run else best.micro_batch if best else None
    accumulation = run.accumulation if run else best.accumulation if best else None
    effective = micro_batch * accumulation if micro_batch and accumulation else None
    lr = best.lr if best else _NOTHING
    if run is not None and run.plan.lr is not None and run.plan.lr != lr.value:
        lr = Claim(value=run.plan.lr, basis="user", source="config.toml")
    return {
        m.column_micro_batch: str(micro_batch or m.unknown),
        m.name_accumulation: str(accumulation or m.unknown),
        m.column_effective: str(effective or m.unknown),
        m.name_lr: w.lr(lr),
        "beta2": w.number(best.betas[1] if best else _NOTHING),
        m.name_ema: w.number(best.ema_decay if best else _NOTHING),
    }


def _expected(one: Option, other: Option, w: Wording) -> Section:
    m = w.messages
    rows = (
        _row(m.name_peak.format(memory=w.memory), one.peak_reserved_bytes, other.peak_reserved_bytes, w.bytes, w),
        _row(m.column_step, one.step_s, other.step_s, w.duration, w),
        _row(m.column_samples_per_s, one.samples_per_s, other.samples_per_s, w.rate, w),
        _row(m.name_run, one.run_s, other.run_s, w.duration, w),
        _row(m.name_same_progress, one.time_to_same_progress, other.time_to_same_progress, w.percent, w),
    )
    blocks = (Table(columns=_columns(w), rows=rows), Paragraph(line=(m.compare_note,)))
    return Section(id="expected", title=m.compare_expected, blocks=blocks)


def _happened(one: RunView, other: RunView, w: Wording) -> Section:
    m, a, b = w.messages, one.actual, other.actual
    rows = [
        _row(m.column_samples, _seen(one), _seen(other), w.count, w),
        _row(m.column_step, a.step_s, b.step_s, w.duration, w),
        _row(m.column_samples_per_s, a.samples_per_s, b.samples_per_s, w.rate, w),
        _row(m.name_whole_peak.format(memory=w.memory), a.peak_reserved_bytes, b.peak_reserved_bytes, w.bytes, w),
        _row(m.name_run, a.elapsed_s, b.elapsed_s, w.duration, w),
        _row(m.column_validation_loss, _best_loss(one), _best_loss(other), w.loss, w),
    ]
    trained_on = {
        "real_only": m.real_only,
        "synthetic_only": m.synthetic_only,
        "real_and_synthetic": m.real_and_synthetic,
    }
    for part, name in trained_on.items():
        title = f"{m.column_accuracy}{m.compare_colon}{name}"
        rows.append(_row(title, _accuracy(one, part), _accuracy(other, part), w.percent, w))
    table = Table(columns=_columns(w), rows=tuple(rows))
    blocks = (table, Paragraph(line=(m.compare_note,)), *two_losses(one, other, w))
    return Section(id="happened", title=m.compare_happened, blocks=blocks)


def _columns(w: Wording) -> tuple[Column, ...]:
    m = w.messages
    numeric = tuple(Column(title=title) for title in ("A", "B", m.compare_ratio))
    return (Column(title=m.column_metric, numeric=False), *numeric, Column(title=m.compare_apart, numeric=False))


def _row(name: str, one: Claim, other: Claim, spell: Callable[[Claim], Figure], w: Wording) -> tuple[Line, ...]:
    m, a, b = w.messages, spell(one), spell(other)
    ratio = exact(other.value / one.value, "B / A") if one.value and other.value is not None else None
    apart = "-"
    if None not in (one.low, one.high, other.low, other.high):
        touching = (one.low or 0) <= (other.high or 0) and (other.low or 0) <= (one.high or 0)
        apart = m.no if touching else m.yes
    cells: tuple[Inline, ...] = (a, b, w.rate(ratio) if ratio else "-", apart)
    return ((name,), *((cell,) for cell in cells))


def _seen(run: RunView) -> Claim:
    return Claim(value=run.samples, basis="measured", source="metrics.jsonl: samples")


def _best_loss(run: RunView) -> Claim:
    best = run.best_validation
    value = validation_loss(best.loss, best.ema_loss) if best else None
    return Claim(value=value, basis="measured", source="metrics.jsonl: validation")


def _accuracy(run: RunView, part: str) -> Claim:
    accuracy = run.evaluation.accuracy if run.evaluation else None
    known: Claim | None = getattr(accuracy, part) if accuracy else None
    return known or Claim(value=None, basis="measured", source=f"evaluation.json: {part}")
