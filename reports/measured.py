"""The section of a report that shows what was run: memory and speed against the batch size."""

from advisor.records import Advice, Basis, Claim, Measurement
from reports import charts, memory_chart
from reports.blocks import Block, Code, Column, Line, Paragraph, Section, Table, say
from reports.plan import batch_text
from reports.points import MEASUREMENT, memory_claim, rate_claim, step_claim
from reports.wording import Wording


def measurements(advice: Advice, w: Wording) -> Section:
    """Every point that was run, and what follows for the ones that were not."""
    m = w.messages
    blocks: list[Block] = []
    if advice.measurements:  # none for a card that is not here
        blocks += [Paragraph(line=(m.measured_how.format(memory=w.memory),)), _measured_table(advice, w)]
        blocks.append(Paragraph(line=_spent(advice, w)))
    blocks += memory_chart.memory(advice, w) + charts.speed(advice, w)
    blocks += _predicted_memory(advice, w) + _breakdown(advice, w) + _speed_fit(advice, w)
    return Section(id="measurements", title=m.section_measurements.format(memory=w.memory), blocks=tuple(blocks))


def _spent(advice: Advice, w: Wording) -> Line:
    m = w.messages
    return say(
        m.measured_spent,
        steps=w.count(Claim(value=advice.optimizer_steps_run, basis="measured", source="optimizer_steps_run")),
        ooms=w.count(Claim(value=advice.oom_count, basis="measured", source="oom_count")),
        elapsed=w.duration(Claim(value=advice.elapsed_s, basis="measured", source="elapsed_s")),
    )


def _measured_table(advice: Advice, w: Wording) -> Table:
    m = w.messages
    columns = (
        Column(title=m.column_batch, numeric=False),
        Column(title=m.column_peak.format(memory=w.memory)),
        Column(title=m.column_of_budget),
        Column(title=m.column_step),
        Column(title=m.column_interval),
        Column(title=m.column_samples_per_s),
        Column(title=m.column_outcome, numeric=False),
    )
    ordered = sorted(advice.measurements, key=lambda one: (one.micro_batch, one.accumulation))
    best = (advice.recommended.micro_batch, advice.recommended.accumulation)
    chosen = next((k for k, one in enumerate(ordered) if (one.micro_batch, one.accumulation) == best), None)
    rows = tuple(_measured_row(one, advice.memory.budget_bytes, w) for one in ordered)
    return Table(columns=columns, rows=rows, chosen=chosen)


def _measured_row(one: Measurement, budget_bytes: int | None, w: Wording) -> tuple[Line, ...]:
    if one.outcome != "ok":
        return ((batch_text(one),), *(("-",),) * 5, (w.messages.outcomes[one.outcome],))
    peak = memory_claim(one)
    frac = None if one.peak_reserved_bytes is None or not budget_bytes else one.peak_reserved_bytes / budget_bytes
    step = step_claim(one.step_s)
    return (
        (batch_text(one),),
        (w.bytes(peak),),
        (w.percent(Claim(value=frac, basis="measured", source=f"{MEASUREMENT} / memory.budget_bytes")),),
        (w.duration(step),),
        (w.duration(step).interval or "-",),
        (w.rate(rate_claim(one)),),
        (w.messages.outcomes[one.outcome],),
    )


def _predicted_memory(advice: Advice, w: Wording) -> list[Block]:
    if not advice.memory.predicted:
        return []
    m = w.messages
    claims = [
        Claim(value=p.reserved_bytes, low=p.low, high=p.high, basis="predicted", source="memory.predicted")
        for p in advice.memory.predicted
    ]
    rows = tuple(
        ((str(p.micro_batch),), (w.bytes(claim),), (w.bytes(claim).interval or "-",))
        for p, claim in zip(advice.memory.predicted, claims)
    )
    columns = (
        Column(title=m.column_micro_batch),
        Column(title=m.column_peak.format(memory=w.memory)),
        Column(title=m.column_interval),
    )
    said = m.predicted_memory if advice.measurements else m.predicted_memory_only
    return [Paragraph(line=(said.format(memory=w.memory),)), Table(columns=columns, rows=rows)]


def _breakdown(advice: Advice, w: Wording) -> list[Block]:
    m, parts = w.messages, advice.memory.breakdown
    named = [
        (m.part_weights, parts.weights_bytes),
        (m.part_gradients, parts.gradients_bytes),
        (m.part_optimizer, parts.optimizer_bytes),
        (m.part_ema, parts.ema_bytes),
        (m.part_activations, parts.activations_bytes_per_sample),
        (m.part_workspaces, parts.workspaces_bytes),
        (m.part_fragmentation, parts.fragmentation_bytes),
        (m.part_context, parts.context_bytes),
    ]
    basis: Basis = "measured" if advice.measurements else "predicted"
    known = [(name, Claim(value=value, basis=basis, source="memory.breakdown")) for name, value in named if value]
    if not known:
        return []
    columns = (Column(title=m.column_part.format(memory=w.memory), numeric=False), Column(title=m.column_size))
    rows = tuple(((name,), (w.bytes(claim),)) for name, claim in known)
    said = m.breakdown if parts.fragmentation_bytes is None else m.breakdown_at
    return [Paragraph(line=(said.format(memory=w.memory),)), Table(columns=columns, rows=rows)]


def _speed_fit(advice: Advice, w: Wording) -> list[Block]:
    m, speed, is_here = w.messages, advice.speed, bool(advice.measurements)
    if speed.alpha_s is None or speed.beta_s is None or speed.gamma_s is None:
        return [Paragraph(line=(m.speed_no_fit,))] if is_here else []
    alpha, beta, gamma = (
        w.duration(Claim(value=value, low=low, high=high, basis="predicted", source="speed"))
        for value, (low, high) in (
            (speed.alpha_s, speed.alpha_interval_s or (None, None)),
            (speed.beta_s, speed.beta_interval_s or (None, None)),
            (speed.gamma_s, speed.gamma_interval_s or (None, None)),
        )
    )
    formula = Code(language="text", text="t(b, a) = a × (alpha + beta × b) + gamma")
    blocks: list[Block] = [
        Paragraph(line=(m.speed_fit if is_here else m.speed_fit_predicted,)),
        formula,
        Paragraph(line=say(m.speed_values, alpha=alpha, beta=beta, gamma=gamma)),
    ]
    if speed.knee_micro_batch is not None:
        knee = Claim(value=speed.knee_micro_batch, basis="predicted", source="speed.knee_micro_batch")
        blocks.append(Paragraph(line=say(m.speed_knee if is_here else m.speed_knee_predicted, knee=w.count(knee))))
    return blocks
