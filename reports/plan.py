"""The sections of a report that an advice alone fills: verdict, machine, measurements, data."""

import math

from advisor import units
from advisor.records import Advice, Claim, Measurement, Option
from reports.blocks import Block, Bullet, Bullets, Code, Column, Line, Paragraph, Section, Table, say
from reports.view import RunView
from reports.wording import Wording, exact


def same_setting(option: Option, other: Option) -> bool:
    """Whether two options train alike: the same batch, accumulation and learning rate."""
    return (option.micro_batch, option.accumulation, option.lr.value) == (
        other.micro_batch,
        other.accumulation,
        other.lr.value,
    )


def batch_text(option: Option | Measurement) -> str:
    """``16 x 1``: micro-batch times accumulation."""
    return f"{option.micro_batch} × {option.accumulation}"


# ---- verdict ------------------------------------------------------------------------------------


def verdict(advice: Advice, run: RunView | None, w: Wording) -> Section:
    """What to do, the lines to paste, and the reasons."""
    m, best, present = w.messages, advice.recommended, advice.present
    keeps = same_setting(best, present)
    headline = say(
        m.verdict_keep if keeps else m.verdict_change,
        micro_batch=best.micro_batch,
        accumulation=best.accumulation,
        effective_batch=best.effective_batch,
        lr=w.lr(best.lr),
    )
    price = say(
        m.verdict_price if best.step_s.value is not None else m.verdict_untimed,
        memory=w.memory,
        peak=w.bytes(best.peak_reserved_bytes),
        frac=w.percent(best.memory_frac),
        step=w.duration(best.step_s),
        steps=w.count(run_steps(advice, best)),
        run=w.duration(best.run_s),
    )
    blocks: list[Block] = [Paragraph(line=headline), Paragraph(line=price)]
    if best.effective_batch != present.effective_batch and best.time_to_same_progress.value is not None:
        blocks.append(Paragraph(line=say(m.verdict_ratio, ratio=w.percent(best.time_to_same_progress))))
    if run is not None:
        blocks += run_blocks(run, w)
    blocks += [Paragraph(line=(m.verdict_paste,)), Code(language="python", text=config_lines(best, present, w))]
    blocks.append(reasons_of(best, present, w))
    if advice.warnings:
        blocks.append(Paragraph(line=say(m.verdict_warnings, count=len(advice.warnings))))
    return Section(id="verdict", title=m.section_verdict, blocks=tuple(blocks))


def run_verdict(run: RunView, w: Wording) -> Section:
    """The first section where nothing was advised: how far the run came and what it is good for."""
    return Section(id="verdict", title=w.messages.section_verdict, blocks=tuple(run_blocks(run, w)))


def run_blocks(run: RunView, w: Wording) -> list[Block]:
    """How far the run came, and what its samples are good for."""
    return [Paragraph(line=_run_status(run, w)), *_run_quality(run, w)]


def reasons_of(option: Option, present: Option, w: Wording) -> Bullets:
    """The option's reasons, their figures with the basis of the claims that they come from."""
    known = {
        "step_s": option.step_s,
        "present_step_s": present.step_s,
        "samples_per_s": option.samples_per_s,
        "present_samples_per_s": present.samples_per_s,
        "peak_bytes": option.peak_reserved_bytes,
        "present_bytes": present.peak_reserved_bytes,
        "share": option.memory_frac,
        "lr": option.lr,
        "present_lr": present.lr,
    }
    ratio = option.time_to_same_progress
    in_ratios = {**known, "ratio": ratio, "low": ratio, "high": ratio}
    in_rates = {**known, "low": option.lr, "high": option.lr}
    claims = {"scaled_lr": in_rates}
    lines = ((one.sign, w.note(one, claims.get(one.id, in_ratios))) for one in option.reasons)
    return Bullets(items=tuple(Bullet(mark=sign, line=line) for sign, line in lines))


def run_steps(advice: Advice, option: Option) -> Claim:
    """Optimizer steps that the run has with this option."""
    samples = advice.run_samples.value
    steps = None if samples is None else math.ceil(samples / option.effective_batch)
    return Claim(value=steps, basis=advice.run_samples.basis, source=f"{advice.run_samples.source} / batch")


def config_lines(option: Option, present: Option, w: Wording) -> str:
    """The option as the lines of a training script's configuration, each with what it was and its basis."""
    m = w.messages
    rows = [
        *(
            (name, str(value), _was(str(value), str(before), w), option.peak_reserved_bytes)
            for name, value, before in (
                ("train_batch_size", option.micro_batch, present.micro_batch),
                ("gradient_accumulate_every", option.accumulation, present.accumulation),
            )
        ),
        *_optimizer_lines(option, present, w),
    ]
    assignments = [f"{name} = {value}" for name, value, _, _ in rows]
    width = max(map(len, assignments))
    remarks = [f"{w.marks[claim.basis]} {remark}" for _, _, remark, claim in rows]
    lines = [f"{assignment:<{width}}  # {remark}" for assignment, remark in zip(assignments, remarks)]
    return "\n".join([f"# {m.config_title}", *lines])


def _optimizer_lines(option: Option, present: Option, w: Wording) -> list[tuple[str, str, str, Claim]]:
    def betas(one: Option) -> str:
        return "({}, {})".format(*(w.number(beta).text for beta in one.betas))

    def lr(one: Option) -> str:
        return w.lr(one.lr).text

    def ema(one: Option) -> str:
        return w.number(one.ema_decay).text

    rows = []
    if option.lr.value is not None:
        rows.append(("train_lr", lr(option), _was(lr(option), lr(present), w), option.lr))
    if all(beta.value is not None for beta in option.betas):
        rows.append(("adam_betas", betas(option), _was(betas(option), betas(present), w), option.betas[1]))
    if option.ema_decay.value is not None:
        rows.append(("ema_decay", ema(option), _was(ema(option), ema(present), w), option.ema_decay))
    return rows


def _was(now: str, before: str, w: Wording) -> str:
    return w.messages.config_unchanged if now == before else w.messages.config_was.format(before=before)


def _run_status(run: RunView, w: Wording) -> Line:
    m = w.messages
    template = {
        "finished": m.run_finished,
        "interrupted": m.run_interrupted,
        "unfinished": m.run_unfinished,
    }[run.status]
    samples = Claim(value=run.samples, basis="measured", source="metrics.jsonl: samples")
    return say(template, samples=w.count(samples), elapsed=w.duration(run.actual.elapsed_s), resumes=run.num_resumes)


def _run_quality(run: RunView, w: Wording) -> list[Block]:
    accuracy = run.evaluation.accuracy if run.evaluation else None
    if accuracy is None:
        return []
    synthetic, real = w.percent(accuracy.synthetic_only), w.percent(accuracy.real_only)
    return [Paragraph(line=say(w.messages.verdict_quality, synthetic=synthetic, real=real))]


# ---- machine ------------------------------------------------------------------------------------


def machine(advice: Advice, w: Wording) -> Section:
    """What it was measured on, as far as it is known."""
    m, device, host = w.messages, advice.device, advice.provenance.host
    is_here = device.kind == "cpu" or device.index is not None

    def read(value: float | None) -> Claim:
        source = "device" if is_here else "table of devices"
        return Claim(value=value, basis="measured" if is_here else "rule", source=source)

    budget = Claim(value=advice.memory.budget_bytes, basis="rule", source="memory.budget_bytes")
    rows: list[tuple[str, Line]] = [(m.machine_device, (device.name,))]
    if device.total_bytes is not None:
        rows.append((m.machine_total.format(memory=w.memory), (w.bytes(read(device.total_bytes)),)))
    if device.usable_bytes is not None:
        rows.append((m.machine_usable.format(memory=w.memory), (w.bytes(read(device.usable_bytes)),)))
    rows.append((m.machine_budget.format(memory=w.memory), (w.bytes(budget),)))
    if device.compute_capability:
        rows.append((m.machine_capability, (device.compute_capability,)))
    if device.power_limit_w is not None:
        rows.append((m.machine_power, (f"{device.power_limit_w:.0f} W",)))
    if host is not None:
        rows += [
            (
                m.machine_host if is_here else m.machine_predicted_on,
                (f"{host.cpu_name or host.os}, {host.num_cores} {m.machine_cores}",),
            )
        ]
        versions = [("Python", host.python_version), ("torch", host.torch_version), ("driver", host.driver_version)]
        rows.append((m.machine_software, (", ".join(f"{name} {version}" for name, version in versions if version),)))
    rows.append((m.machine_workload, (advice.workload.name,)))
    columns = (Column(title=m.column_item, numeric=False), Column(title=m.column_value, numeric=False))
    table = Table(columns=columns, rows=tuple(((name,), value) for name, value in rows))
    return Section(id="machine", title=m.section_machine, blocks=(table,))


# ---- batch and data -----------------------------------------------------------------------------


def effective_batch(advice: Advice, w: Wording) -> Section:
    """Present against recommended, and what has to change with it."""
    m, best, present = w.messages, advice.recommended, advice.present
    now, then = (f"{batch_text(one)} = {one.effective_batch}" for one in (present, best))
    width = max(len(now), len(then))
    arithmetic = "\n".join((f"{m.before}{now:>{width}}", f"{m.after}{then:>{width}}"))
    unchanged = best.effective_batch == present.effective_batch
    conclusion = m.batch_unchanged if unchanged else m.batch_changed
    table = Table(
        columns=tuple(
            Column(title=title, numeric=k > 0)
            for k, title in enumerate((m.column_setting, m.column_before, m.column_after))
        ),
        rows=tuple(
            ((name,), (before,), (after,))
            for name, before, after in (
                (m.name_lr, w.lr(present.lr), w.lr(best.lr)),
                ("beta1", w.number(present.betas[0]), w.number(best.betas[0])),
                ("beta2", w.number(present.betas[1]), w.number(best.betas[1])),
                (m.name_ema, w.number(present.ema_decay), w.number(best.ema_decay)),
                (m.name_warmup, w.count(present.warmup_samples), w.count(best.warmup_samples)),
            )
        ),
    )
    blocks = (Code(language="text", text=arithmetic), Paragraph(line=(conclusion,)), table)
    return Section(id="effective_batch", title=m.section_batch, blocks=blocks)


def dataset(advice: Advice, w: Wording) -> Section:
    """How the batch fits the data, with the arithmetic in figures and in words."""
    m, best, num_items = w.messages, advice.recommended, advice.dataset.num_items
    share = exact(best.effective_batch / num_items)
    blocks: list[Block] = [_data_arithmetic(advice, w)]
    words = say(
        m.data_share,
        batch=best.effective_batch,
        items=units.format_count(num_items),
        share=w.percent(share),
    )
    whole_steps = num_items // best.effective_batch
    steps = say(m.data_steps, steps=w.count(exact(best.steps_per_epoch)), whole=w.count(exact(whole_steps)))
    items = [Bullet(line=words), Bullet(line=steps)]
    if advice.run_samples.value is not None:
        epochs = Claim(
            value=advice.run_samples.value / num_items, basis=advice.run_samples.basis, source="run_samples / num_items"
        )
        items.append(Bullet(line=say(m.data_epochs, epochs=w.rate(epochs))))
    if advice.exposure is not None:
        onset = advice.exposure.memorization_onset_samples
        items.append(Bullet(line=say(m.data_onset, onset=w.count(onset), epochs=w.rate(per_item(onset, num_items)))))
    blocks.append(Bullets(items=tuple(items)))
    blocks += _batches_beside_data(advice, w)
    return Section(id="dataset", title=m.section_dataset, blocks=tuple(blocks))


def _batches_beside_data(advice: Advice, w: Wording) -> list[Block]:
    """Share of the data and steps an epoch of every effective batch among the options, by both conventions."""
    m, num_items = w.messages, advice.dataset.num_items
    batches = sorted({one.effective_batch for one in advice.options})
    if len(batches) < 2:
        return []
    titles = (m.column_effective, m.column_share_of_data, m.name_steps_per_epoch, m.column_drop_last)
    rows = tuple(
        (
            (units.format_count(batch),),
            (w.percent(exact(batch / num_items)),),
            (w.count(exact(math.ceil(num_items / batch))),),
            (w.count(exact(num_items // batch)),),
        )
        for batch in batches
    )
    chosen = next((k for k, batch in enumerate(batches) if batch == advice.recommended.effective_batch), None)
    return [Table(columns=tuple(Column(title=title) for title in titles), rows=rows, chosen=chosen)]


def per_item(samples: Claim, num_items: int) -> Claim:
    """Samples as epochs, with the same basis."""
    value, low, high = (None if x is None else x / num_items for x in (samples.value, samples.low, samples.high))
    return Claim(value=value, low=low, high=high, basis=samples.basis, source=samples.source)


def _data_arithmetic(advice: Advice, w: Wording) -> Code:
    m, best, num_items = w.messages, advice.recommended, advice.dataset.num_items
    batch = best.effective_batch
    exact_steps = num_items / batch
    lines = [
        f"{units.format_count(batch)} / {units.format_count(num_items)} = {w.percent_text(batch / num_items)}",
        f"{units.format_count(num_items)} / {batch} = {exact_steps:.2f} -> {best.steps_per_epoch} {m.steps_an_epoch}",
    ]
    samples = advice.run_samples.value
    if samples is not None:
        epochs = w.rate(exact(samples / num_items)).text
        lines.append(f"{units.format_count(round(samples))} / {units.format_count(num_items)} = {epochs} {m.epochs}")
    return Code(language="text", text="\n".join(lines))
