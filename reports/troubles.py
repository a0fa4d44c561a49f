"""The section of a report that goes from a sign to its cause to the command, with this run's own values."""

import shlex

from advisor import units
from advisor.records import Advice
from reports.blocks import Block, Code, Heading, Paragraph, Section
from reports.view import RunView
from reports.wording import Wording


def troubleshooting(advice: Advice, run: RunView | None, w: Wording) -> Section:
    """Sign, cause, command."""
    m = w.messages
    name = shlex.quote(run.address) if run else "RUN"
    cases = [
        (m.oom_sign.format(memory=w.memory), m.oom_cause.format(memory=w.memory), _smaller_batch(advice, run, w)),
        (m.slow_sign, m.slow_cause, "cfgadvise probe"),
        (m.nan_sign, m.nan_cause, _other_lr(advice, run, 0.5, w)),
        (m.flat_sign, m.flat_cause, _other_lr(advice, run, 2.0, w)),
        (m.jumpy_sign, m.jumpy_cause, _other_lr(advice, run, 0.5, w)),
        (m.copies_sign, m.copies_cause, f"cfgadvise sample {name} --checkpoint {_earlier_samples(advice, run)}"),
        (m.alike_sign, m.alike_cause, f"cfgadvise sample {name} --guidance 2"),
    ]
    blocks: list[Block] = []
    for sign, cause, command in cases:
        language = "bash" if command.startswith("cfgadvise") else "python"
        blocks += [Heading(text=sign), Paragraph(line=(cause,)), Code(language=language, text=command)]
    return Section(id="troubleshooting", title=m.section_troubleshooting, blocks=tuple(blocks))


def _smaller_batch(advice: Advice, run: RunView | None, w: Wording) -> str:
    best = advice.recommended
    micro_batch, accumulation = best.micro_batch, best.accumulation
    if run is not None and run.micro_batch and run.accumulation:
        micro_batch, accumulation = run.micro_batch, run.accumulation
    smaller = max(1, micro_batch // 2)
    more = -(-micro_batch * accumulation // smaller)
    note = w.messages.oom_note.format(batch=micro_batch * accumulation)
    if run is not None:
        changed = f"--set micro_batch={smaller} --set accumulation={more}"
        return f"{_again(run)} {changed} --out {_quoted(run, 'smaller')}\n# {note}"
    return f"train_batch_size = {smaller}\ngradient_accumulate_every = {more}  # {note}"


def _other_lr(advice: Advice, run: RunView | None, factor: float, w: Wording) -> str:
    lr = advice.recommended.lr
    if lr.value is None:
        return f"train_lr = train_lr * {factor}"
    scaled = units.format_lr(factor * lr.value)
    if run is not None:
        return f"{_again(run)} --set lr={scaled} --out {_quoted(run, f'lr-{scaled}')}"
    return f"train_lr = {scaled}  # {w.marks['rule']} {w.messages.lr_from.format(lr=w.lr(lr).text)}"


def _again(run: RunView) -> str:
    return f"cfgadvise train --config {shlex.quote(f'{run.address}/config.toml')} \\\n   "


def _quoted(run: RunView, suffix: str) -> str:
    return shlex.quote(f"{run.address}-{suffix}")


def _earlier_samples(advice: Advice, run: RunView | None) -> str:
    """A checkpoint about half-way: one that the run has kept, or the milestone where one would be."""
    kept = run.checkpoints_samples if run is not None else ()
    known = kept[:-1] or tuple(one.samples for one in advice.milestones)
    if not known:
        return "best"
    half = (kept or known)[-1] / 2
    return str(min(known, key=lambda samples: abs(samples - half)))
