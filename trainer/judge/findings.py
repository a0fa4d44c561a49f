"""What an evaluation means for its user: what is wrong, by which figures, and what to change."""

from collections.abc import Iterator

from advisor.evaluation import CheckpointEvaluation, Evaluation, Judgement, SamplingAdvice, Separability
from advisor.records import Note
from trainer.judge.choice import copying, kid
from trainer.judge.likeness import MIN_ITEMS
from trainer.judge.sweep import recognised
from trainer.notes import note

_NARROW = 0.9  # of the mean distance between real pictures of a class


def findings(evaluation: Evaluation) -> tuple[Note, ...]:
    """Everything that the user should know, the gravest first."""
    chosen = evaluation.chosen
    if chosen is None:
        return ()
    found = [*_copies(evaluation), *_guidance(evaluation, chosen)]
    if chosen.plain is not None:
        found += [*_classes(evaluation, chosen, chosen.plain), *_variety(chosen.plain)]
    if evaluation.num_held_out_items < MIN_ITEMS:
        found.append(note("found_few_held_out", count=evaluation.num_held_out_items, least=MIN_ITEMS))
    return tuple(found)


def _copies(evaluation: Evaluation) -> Iterator[Note]:
    """The newest checkpoint tells whether training went on too long."""
    newest = evaluation.checkpoints[-1]
    for judgement in newest.judgements:
        said = copying(judgement)
        if said is not None:
            yield note(
                "found_copies",
                **{key: said.values[key] for key in ("share", "high", "control", "count")},
                samples=newest.samples,
                guidance=f"{judgement.guidance:g}",
                num_train=evaluation.num_train_items,
            )
            return


def _guidance(evaluation: Evaluation, chosen: CheckpointEvaluation) -> Iterator[Note]:
    """Guidance is too strong where it carries the pictures away from the real ones, beyond chance."""
    plain = kid(chosen)
    for judgement in chosen.judgements:
        guided = judgement.likeness.kid_held_out if judgement.likeness else plain
        if judgement.guidance <= 1 or guided.low is None or plain.high is None or guided.low <= plain.high:
            continue
        advised = evaluation.sampling.guidance if evaluation.sampling else 1.0
        yield note(
            "found_guidance",
            guidance=f"{judgement.guidance:g}",
            kid=f"{guided.value:.4f}",
            low=f"{guided.low:.4f}",
            plain=f"{plain.value:.4f}",
            plain_high=f"{plain.high:.4f}",
            diversity=judgement.likeness.diversity.value if judgement.likeness else None,
            advised=f"{advised:g}",
        )


def _classes(evaluation: Evaluation, chosen: CheckpointEvaluation, plain: Judgement) -> Iterator[Note]:
    told = plain.separability
    if told is None:
        return
    worst = told.confusions[0] if told.confusions else None
    values = {
        "share": told.accuracy.generated.value,
        "low": told.accuracy.generated.low,
        "high": told.accuracy.generated.high,
        "real": told.accuracy.real.value,
        "chance": told.chance,
        "count": plain.num_generated,
    }
    yield note(f"found_{told.verdict}", **values)
    if told.verdict not in ("partly", "alike"):
        return
    if worst is not None:
        yield note("found_confused", asked=worst.asked, judged=worst.judged, share=worst.share_frac)
    yield _remedy(evaluation, chosen, told)


def _remedy(evaluation: Evaluation, chosen: CheckpointEvaluation, told: Separability) -> Note:
    """What to change so that the classes are told apart: only what the figures speak for."""
    sampling = evaluation.sampling
    stronger = _clearer_guidance(sampling, told)
    if stronger is not None:
        share = recognised(stronger).value
        return note(
            "remedy_guidance", guidance=f"{stronger.guidance:g}", share=share, before=told.accuracy.generated.value
        )
    earlier = _clearly_lower_before(evaluation, chosen, told)
    if earlier is not None and earlier.plain is not None:
        return note(
            "remedy_longer",
            before=recognised(earlier.plain).value,
            first=earlier.samples,
            share=told.accuracy.generated.value,
            samples=chosen.samples,
            longer=2 * evaluation.checkpoints[-1].samples,
        )
    if sampling is None or not any(one.samples < chosen.samples for one in evaluation.checkpoints):
        return note("remedy_unknown")
    return note("remedy_condition")


def _clearer_guidance(sampling: SamplingAdvice | None, told: Separability) -> Judgement | None:
    """The recommended setting, if its pictures are recognised more often beyond chance."""
    if sampling is None or sampling.guidance == 1:
        return None
    setting = (sampling.guidance, sampling.sampling_steps)
    found = next((one for one in sampling.tried if (one.guidance, one.sampling_steps) == setting), None)
    if found is None or (recognised(found).low or 0.0) <= (told.accuracy.generated.high or 1.0):
        return None
    return found


def _clearly_lower_before(
    evaluation: Evaluation, chosen: CheckpointEvaluation, told: Separability
) -> CheckpointEvaluation | None:
    """The newest earlier checkpoint whose classes were told apart less often, beyond chance."""
    earlier = [one for one in evaluation.checkpoints if one.samples < chosen.samples and one.plain is not None]
    low = told.accuracy.generated.low or 0.0
    return next((one for one in reversed(earlier) if one.plain and (recognised(one.plain).high or 1.0) < low), None)


def _variety(plain: Judgement) -> Iterator[Note]:
    likeness = plain.likeness
    if likeness is None or likeness.diversity.high is None or likeness.diversity.high >= _NARROW:
        return
    yield note("found_narrow", diversity=likeness.diversity.value, narrowest=likeness.narrowest_class)
