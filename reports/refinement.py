"""The section of a report about a search for the learning rate: what was tried, the contest, the conclusion."""

import shlex
import statistics

from advisor.records import Advice, Claim, Finalist, Refinement
from reports.blocks import Block, Column, Heading, Line, Paragraph, Section, Table, say
from reports.wording import Wording, exact

_SOURCE = "refinement"


def refinement(advice: Advice, w: Wording) -> tuple[Section, ...]:
    """Nothing where nothing was searched."""
    found, m = advice.refinement, w.messages
    if found is None:
        return ()
    blocks: list[Block] = [Paragraph(line=_conclusion(found, w)), Paragraph(line=_price(found, w)), _trials(found, w)]
    if found.finalists:
        errors = say(m.refine_errors, min_gain=w.percent(exact(found.min_gain, _SOURCE)))
        blocks += [Heading(text=m.refine_contest), _contest(found, w), Paragraph(line=errors)]
    blocks.append(Paragraph(line=(m.refine_dashboard.format(storage=shlex.quote(found.storage), study=found.study),)))
    return (Section(id="refinement", title=m.section_refinement, blocks=tuple(blocks)),)


def _conclusion(found: Refinement, w: Wording) -> Line:
    m = w.messages
    template = {
        "better": m.refine_better,
        "no_difference": m.refine_no_difference,
        "unfinished": m.refine_unfinished,
    }[found.conclusion]
    return say(template, lr=w.lr(_measured(found.lr)), start=w.lr(exact(found.start_lr, _SOURCE)))


def _price(found: Refinement, w: Wording) -> Line:
    budget = found.budget
    return say(
        w.messages.refine_price,
        trials=len(found.trials),
        share=w.percent(exact(budget.proxy_frac, _SOURCE)),
        runs=w.rate(exact(budget.runs, _SOURCE)),
        elapsed=w.duration(_measured(found.elapsed_s)),
        retried=found.num_retried,
        left=found.num_left_out,
    )


def _trials(found: Refinement, w: Wording) -> Table:
    m = w.messages
    rows = tuple(
        (
            (w.lr(exact(one.lr, _SOURCE)),),
            (m.refine_diverged,) if one.loss is None else (w.loss(_measured(one.loss)),),
            (m.refine_stopped if one.stopped_early else "",),
        )
        for one in found.trials
    )
    columns = (Column(title=m.name_lr), Column(title=m.refine_loss), Column(title=m.refine_remark, numeric=False))
    return Table(columns=columns, rows=rows)


def _contest(found: Refinement, w: Wording) -> Table:
    m = w.messages
    columns = (Column(title=m.name_lr), Column(title=m.refine_mean_loss), Column(title=m.refine_gain))
    rows = tuple(_finalist(one, found, w) for one in found.finalists)
    chosen = next((k for k, one in enumerate(found.finalists) if one.lr == found.lr), None)
    return Table(columns=columns, rows=rows, chosen=chosen)


def _finalist(one: Finalist, found: Refinement, w: Wording) -> tuple[Line, ...]:
    m = w.messages
    losses = [loss for loss in one.losses if loss is not None]
    mean = statistics.fmean(losses) if len(losses) == len(one.losses) else None
    gain = Claim(value=one.gain, low=one.gain_low, high=one.gain_high, basis="measured", source=_SOURCE)
    return (
        (w.lr(exact(one.lr, _SOURCE)),),
        (m.refine_diverged,) if mean is None else (w.loss(_measured(mean)),),
        (m.refine_start,) if one.lr == found.start_lr else (w.percent(gain),),
    )


def _measured(value: float) -> Claim:
    return Claim(value=value, basis="measured", source=_SOURCE)
