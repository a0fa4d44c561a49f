"""One report, built once from records, for every renderer."""

from advisor.records import Advice
from reports import choices, chosen, health, measured, noise, outcome, plan, quality, refinement, schedule, troubles
from reports.blocks import Document, Lang, Section
from reports.view import RunView
from reports.wording import Wording, day

__all__ = ["Document", "build_document", "evaluation_document"]


def build_document(advice: Advice | None, run: RunView | None, lang: Lang) -> Document:
    """The report of an advice, of a run, or of both: what was advised and what came of it.

    Raises:
        ValueError: if there is neither.
    """
    if advice is None:
        if run is None:
            raise ValueError("a report needs an advice or a run")
        return _run_document(run, Wording(lang, run.device_kind))
    w = Wording.for_device(lang, advice.device)
    m = w.messages
    subject = run.name if run is not None else advice.workload.name
    subtitle = m.subtitle.format(subject=subject, device=advice.device.name, day=day(advice.provenance.created_at_utc))
    return Document(
        lang=lang,
        title=m.title,
        subtitle=subtitle,
        legend=w.legend(),
        marks=w.marks,
        sections=(*_planned(advice, run, w), *_happened(advice, run, w), *_explained(advice, run, w)),
    )


def _run_document(run: RunView, w: Wording) -> Document:
    """The report of a run that nobody advised: there is nothing to compare it with."""
    m = w.messages
    sections = (
        plan.run_verdict(run, w),
        schedule.passed(None, run, w),
        *_happened(None, run, w),
        outcome.run_method(run, w),
    )
    parts = (run.name, f"{run.micro_batch} × {run.accumulation}" if run.micro_batch and run.accumulation else "")
    started = day(run.started_utc) if run.started_utc else ""
    return Document(
        lang=w.lang,
        title=m.run_title,
        subtitle=m.list_separator.join(part for part in (*parts, started) if part),
        legend=w.legend(),
        marks=w.marks,
        sections=sections,
    )


def _planned(advice: Advice, run: RunView | None, w: Wording) -> tuple[Section, ...]:
    return (
        plan.verdict(advice, run, w),
        plan.machine(advice, w),
        measured.measurements(advice, w),
        plan.effective_batch(advice, w),
        plan.dataset(advice, w),
        choices.options(advice, w),
        choices.learning_rate(advice, w),
        *refinement.refinement(advice, w),
        choices.performance(advice, w),
        choices.milestones(advice, run, w),
        choices.monitoring(advice, w),
        choices.checkpoints(advice, run, w),
        troubles.troubleshooting(advice, run, w),
        choices.final_advice(advice, w),
    )


def _happened(advice: Advice | None, run: RunView | None, w: Wording) -> tuple[Section, ...]:
    if run is None:
        return ()
    actual = outcome.actual(run, w) if advice is None else outcome.predicted_and_actual(advice, run, w)
    return (
        actual,
        *health.health(run, w),
        *noise.noise(run, w),
        quality.quality(run, w),
        chosen.checkpoint_choice(run, w),
        outcome.samples(run, w),
        outcome.configuration(run, w),
    )


def evaluation_document(run: RunView, lang: Lang) -> Document:
    """What an evaluation found, without the rest of the run's report."""
    w = Wording(lang, run.device_kind)
    sections = (quality.quality(run, w), chosen.checkpoint_choice(run, w), outcome.samples(run, w))
    return Document(
        lang=lang,
        title=w.messages.section_quality,
        subtitle=run.name,
        legend=w.legend(),
        marks=w.marks,
        sections=sections,
    )


def _explained(advice: Advice, run: RunView | None, w: Wording) -> tuple[Section, ...]:
    return outcome.method(advice, run, w), outcome.warnings(advice, w)
