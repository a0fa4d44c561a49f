"""One report, built once from records, for every renderer."""

from advisor.records import Advice
from reports import choices, measured, outcome, plan, troubles
from reports.blocks import Document, Lang, Section
from reports.run import RunView
from reports.wording import Wording, day

__all__ = ["Document", "build_document"]


def build_document(advice: Advice, run: RunView | None, lang: Lang) -> Document:
    """The report of an advice, and of what came of it where a run is given."""
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


def _planned(advice: Advice, run: RunView | None, w: Wording) -> tuple[Section, ...]:
    return (
        plan.verdict(advice, run, w),
        plan.machine(advice, w),
        measured.measurements(advice, w),
        plan.effective_batch(advice, w),
        plan.dataset(advice, w),
        choices.options(advice, w),
        choices.learning_rate(advice, w),
        choices.performance(advice, w),
        choices.milestones(advice, w),
        choices.monitoring(advice, w),
        choices.checkpoints(advice, w),
        troubles.troubleshooting(advice, run, w),
    )


def _happened(advice: Advice, run: RunView | None, w: Wording) -> tuple[Section, ...]:
    if run is None:
        return ()
    return outcome.predicted_and_actual(advice, run, w), outcome.quality(run, w), outcome.samples(run, w)


def _explained(advice: Advice, run: RunView | None, w: Wording) -> tuple[Section, ...]:
    return outcome.method(advice, run, w), outcome.warnings(advice, w)
