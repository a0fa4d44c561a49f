"""The sections of a report about what else could be done, and how to watch what is done."""

import math

from advisor import units
from advisor.records import Advice, Claim, Milestone, Note, Occasion, Option
from reports import charts, schedule
from reports.blocks import Block, Bullet, Bullets, Code, Column, Figure, Heading, Line, Paragraph, Section, Table, say
from reports.plan import batch_text, config_lines, per_item, reasons_of, run_steps, same_setting
from reports.view import RunView
from reports.wording import Wording, exact, spelled_epoch

LADDER = (0.5, 1.0, 2.0)


def options(advice: Advice, w: Wording) -> Section:
    """Every option with its price, then its risks and its verdict."""
    m = w.messages
    columns = (
        Column(title=m.column_batch, numeric=False),
        Column(title=m.column_effective),
        Column(title=m.name_lr),
        Column(title=m.column_peak.format(memory=w.memory)),
        Column(title=m.column_step),
        Column(title=m.column_run),
        Column(title=m.column_verdict, numeric=False),
    )
    rows = tuple(
        (
            (batch_text(one),),
            (str(one.effective_batch),),
            (w.lr(one.lr),),
            (w.bytes(one.peak_reserved_bytes),),
            (w.duration(one.step_s),),
            (w.duration(one.run_s),),
            (m.verdicts[one.verdict],),
        )
        for one in advice.options
    )
    chosen = next((k for k, one in enumerate(advice.options) if one.id == advice.recommended.id), None)
    blocks: list[Block] = [Table(columns=columns, rows=rows, chosen=chosen)]
    for number, one in enumerate(advice.options, start=1):
        blocks += _option(number, one, advice, w)
    return Section(id="options", title=m.section_options, blocks=tuple(blocks))


def _option(number: int, one: Option, advice: Advice, w: Wording) -> list[Block]:
    m = w.messages
    name = m.option_names.get(one.id, one.id)
    title = m.option_title.format(number=number, name=name, batch=batch_text(one), verdict=m.verdicts[one.verdict])
    blocks: list[Block] = [Heading(text=title)]
    if one.id == advice.recommended.id:
        return [*blocks, Paragraph(line=(m.option_recommended,))]
    if one.id != "keep":
        blocks.append(Code(language="python", text=config_lines(one, advice.present, w)))
    bullets = list(reasons_of(one, advice.present, w).items)
    if one.id != "keep" and one.time_to_same_progress.value is not None:
        bullets.append(Bullet(mark="i", line=say(m.option_ratio, ratio=w.percent(one.time_to_same_progress))))
    if bullets:
        blocks.append(Bullets(items=tuple(bullets)))
    return blocks


# ---- learning rate ------------------------------------------------------------------------------


def learning_rate(advice: Advice, w: Wording) -> Section:
    """The rule, its interval for every effective batch among the options, and a ladder for tuning."""
    m, present = w.messages, advice.present
    by_batch = {one.effective_batch: one for one in reversed(advice.options) if one.lr.value is not None}
    columns = (
        Column(title=m.column_effective),
        Column(title=m.column_times_present),
        Column(title=m.name_lr),
        Column(title=m.column_interval),
    )
    rows = tuple(
        (
            (str(batch),),
            (f"{batch / present.effective_batch:.3g}",),
            (w.lr(one.lr),),
            (w.lr(one.lr).interval or "-",),
        )
        for batch, one in sorted(by_batch.items())
    )
    blocks: list[Block] = [
        Paragraph(line=(m.lr_rule,)),
        Code(language="text", text=_lr_arithmetic(advice, by_batch, w)),
    ]
    blocks += [*charts.learning_rate(advice, w), Table(columns=columns, rows=rows), Paragraph(line=(m.lr_interval,))]
    best_lr = advice.recommended.lr.value
    if best_lr is not None:
        blocks.append(Paragraph(line=say(m.lr_ladder, ladder=_ladder(best_lr, w))))
    return Section(id="learning_rate", title=m.section_lr, blocks=tuple(blocks))


def _lr_arithmetic(advice: Advice, by_batch: dict[int, Option], w: Wording) -> str:
    present = advice.present
    base, lines = w.lr(present.lr).text, ["lr(B) = lr(B0) × sqrt(B / B0)"]
    lines += [
        f"{base} × sqrt({batch} / {present.effective_batch}) = {units.format_lr(_square_root(present, batch))}"
        for batch in sorted(by_batch)
        if batch != present.effective_batch and present.lr.value is not None
    ]
    return "\n".join(lines)


def _square_root(present: Option, batch: int) -> float:
    return float(present.lr.value or 0) * math.sqrt(batch / present.effective_batch)


def _ladder(lr: float, w: Wording) -> Line:
    low, middle, high = (w.lr(exact(factor * lr)) for factor in LADDER)
    return (low, " → ", middle, " → ", high)


# ---- performance and milestones -----------------------------------------------------------------


def performance(advice: Advice, w: Wording) -> Section:
    """What the recommended setting will take."""
    m, best = w.messages, advice.recommended
    named = [
        (m.name_peak.format(memory=w.memory), w.bytes(best.peak_reserved_bytes)),
        (m.name_memory_frac.format(memory=w.memory), w.percent(best.memory_frac)),
        (m.column_step, w.duration(best.step_s)),
        (m.column_samples_per_s, w.rate(best.samples_per_s)),
        (m.name_run_steps, w.count(run_steps(advice, best))),
        (m.name_run, w.duration(best.run_s)),
        *_parts_of_run(advice, w),
        (m.name_steps_per_epoch, w.count(exact(best.steps_per_epoch))),
        (m.name_same_progress, w.percent(best.time_to_same_progress)),
    ]
    named += _terms(advice, w)
    columns = (
        Column(title=m.column_metric, numeric=False),
        Column(title=m.column_value),
        Column(title=m.column_interval),
    )
    rows = tuple(((name,), (figure,), (figure.interval or "-",)) for name, figure in named)
    return Section(id="performance", title=m.section_performance, blocks=(Table(columns=columns, rows=rows),))


def _parts_of_run(advice: Advice, w: Wording) -> list[tuple[str, Figure]]:
    """The time of the training steps, and of what comes between them, where it was timed."""
    m, training_s = w.messages, advice.recommended.training_s
    if training_s is None or not advice.occasions:
        return []
    named = [(m.part_of_run.format(part=m.name_training), w.duration(training_s))]
    for one in advice.occasions:
        part = m.occasion.format(times=one.num_times, name=m.occasion_names.get(one.id, one.id))
        named.append((m.part_of_run.format(part=part), w.duration(_all_times(one))))
    return named


def _all_times(one: Occasion) -> Claim:
    value, low, high = (
        None if x is None else one.num_times * x for x in (one.each_s.value, one.each_s.low, one.each_s.high)
    )
    return Claim(value=value, low=low, high=high, basis=one.each_s.basis, source=one.each_s.source)


def _terms(advice: Advice, w: Wording) -> list[tuple[str, Figure]]:
    """What the run costs, and how it is cut into sessions, where that was asked for."""
    m, cost, sessions = w.messages, advice.cost, advice.sessions
    found = [] if cost is None else [(m.name_cost, w.money(cost.run))]
    if sessions is None:
        return found
    length = w.duration(sessions.session_s).text
    every = Claim(value=sessions.checkpoint_every_samples, basis="rule", source="2 % of a session")
    return [
        *found,
        (m.name_session_samples.format(session=length), w.count(sessions.images_per_session)),
        (m.name_sessions.format(session=length), w.count(sessions.num_sessions)),
        (m.name_checkpoint_every, w.count(every)),
    ]


def milestones(advice: Advice, run: RunView | None, w: Wording) -> Section:
    """When to look, in steps, samples, hours and epochs, and at what; after a run, what was there."""
    m = w.messages
    if run is not None and schedule.of_run(run):
        return schedule.passed(advice, run, w)
    columns = (
        Column(title=m.column_steps),
        Column(title=m.column_samples),
        Column(title=m.column_time),
        Column(title=m.column_epoch),
        Column(title=m.column_look, numeric=False),
    )
    rows = tuple(
        (
            (units.format_count(one.step),),
            (units.format_count(one.samples),),
            (w.duration(one.elapsed_s),),
            (spelled_epoch(one.epoch),),
            (m.milestone_looks.get(one.id, one.id),),
        )
        for one in advice.milestones
    )
    counted = m.milestones_counted if advice.recommended.training_s is None else m.milestones_on_clock
    blocks: list[Block] = [Paragraph(line=(counted,)), Table(columns=columns, rows=rows)]
    blocks.append(Paragraph(line=(m.milestones_no_loss,)))
    if advice.workload.parameters.get("preset") is not None:
        blocks.append(Paragraph(line=say(m.milestones_grids, num=schedule.NUM_GRIDS)))
    return Section(id="milestones", title=m.section_milestones, blocks=tuple(blocks))


# ---- watching -----------------------------------------------------------------------------------


def monitoring(advice: Advice, w: Wording) -> Section:
    """What to watch and where, and the thresholds that were computed for this run."""
    m = w.messages
    columns = tuple(
        Column(title=title, numeric=False) for title in (m.column_watch, m.column_where, m.column_how_often)
    )
    rows = (
        ((m.watch_loss,), ("metrics.jsonl",), (m.often_milestone,)),
        ((m.watch_samples,), ("samples/sample-*.png",), (m.often_milestone,)),
        ((m.watch_speed.format(memory=w.memory),), (m.where_screen,), (m.often_always,)),
        ((m.watch_warnings,), ("events.jsonl",), (m.often_always,)),
    )
    blocks: list[Block] = [Table(columns=columns, rows=rows), Paragraph(line=(m.monitoring_scale,))]
    if advice.monitoring:
        blocks.append(
            Bullets(items=tuple(Bullet(mark="i", line=_watched(note, advice, w)) for note in advice.monitoring))
        )
    return Section(id="monitoring", title=m.section_monitoring, blocks=tuple(blocks))


def _watched(note: Note, advice: Advice, w: Wording) -> Line:
    best = advice.recommended
    return w.note(note, {"median_s": best.step_s, "high_s": best.step_s, "peak_bytes": best.peak_reserved_bytes})


def checkpoints(advice: Advice, run: RunView | None, w: Wording) -> Section:
    """What to tick off at half-way and at the end, and when the run may end sooner."""
    m = w.messages
    looks = schedule.planned(advice, run) if run is not None and schedule.of_run(run) else advice.milestones
    blocks: list[Block] = []
    questions = ((m.ask_validation, m.ask_legible, m.ask_distinct), (m.ask_still_falling, m.ask_better, m.ask_copies))
    two = _two_of(looks)
    for milestone, asked in zip(two, questions[-len(two) :]):
        step, time = units.format_count(milestone.step), w.duration(milestone.elapsed_s)
        title = m.checkpoint_at if time.is_known else m.checkpoint_at_step
        blocks.append(Heading(text=title.format(step=step, time=time.text)))
        blocks.append(Bullets(items=tuple(Bullet(mark="todo", line=(question,)) for question in asked)))
    blocks.append(Heading(text=m.stop_title))
    stops = [Bullet(line=(line,)) for line in (m.stop_good, m.stop_worse, m.stop_keep)]
    blocks.append(Bullets(items=(*stops, *_copies(advice, w))))
    return Section(id="checkpoints", title=m.section_checkpoints, blocks=tuple(blocks))


def _copies(advice: Advice, w: Wording) -> list[Bullet]:
    """From when on to look for copies; nothing in a run that ends before."""
    run_samples = advice.run_samples.value
    onset = advice.exposure.memorization_onset_samples if advice.exposure is not None else None
    if onset is None or onset.low is None or run_samples is None or run_samples < onset.low:
        return []
    samples = Claim(value=onset.low, basis=onset.basis, source=onset.source)
    epochs = per_item(samples, advice.dataset.num_items)
    return [Bullet(line=say(w.messages.stop_copies, samples=w.count(samples), epochs=w.rate(epochs)))]


def _two_of(looks: tuple[Milestone, ...]) -> tuple[Milestone, ...]:
    if len(looks) < 3:
        return looks
    half = looks[-1].samples / 2
    middle = min(looks[:-1], key=lambda one: abs(one.samples - half))
    return middle, looks[-1]


# ---- the end ------------------------------------------------------------------------------------


def final_advice(advice: Advice, w: Wording) -> Section:
    """What speaks for the recommendation in a few words, and what to do next, in order."""
    m, best, present = w.messages, advice.recommended, advice.present
    good = tuple(one for one in reasons_of(best, present, w).items if one.mark == "+")
    others = [one for one in advice.options if one.verdict in ("not_recommended", "infeasible")]
    names = m.list_separator.join(m.option_names.get(one.id, one.id) for one in others)
    next_steps = [m.final_keep if same_setting(best, present) else m.final_paste, m.final_look]
    if others and best.step_s.value is not None:  # what was not timed may still pay
        next_steps.append(m.final_not_worth.format(options=names))
    next_steps.append(m.final_tune)
    blocks: list[Block] = [Heading(text=m.final_for), Bullets(items=good)] if good else []
    todo = tuple(Bullet(mark="todo", line=(line,)) for line in next_steps)
    blocks += [Heading(text=m.final_next), Bullets(items=todo)]
    return Section(id="final", title=m.section_final, blocks=tuple(blocks))
