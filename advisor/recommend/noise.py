"""Whether the gradient noise scale is measured for an advice, and what is said where it is not."""

from collections.abc import Callable

from advisor.measure.campaign import Campaign, Place
from advisor.measure.noise_trial import NoiseOutcome, measure_noise_scale
from advisor.recommend.case import Question
from advisor.recommend.reasons import note
from advisor.records import Note, Value

AFFORDABLE_S = 30.0  # without being asked for; an advice is to take less than a minute
WANTED_S = 1800.0


def noise_of(question: Question, place: Place, campaign: Campaign, on_progress: Callable[[str], None]) -> NoiseOutcome:
    """The noise scale at the present effective batch, if it is wanted and can be had in time."""
    present = campaign.points[0].measurement if campaign.points else None
    if question.noise_scale is False or campaign.built is None or present is None or present.step_s is None:
        return NoiseOutcome(refusal="not_wanted")
    return measure_noise_scale(
        (question.micro_batch, question.accumulation),
        present.step_s.median,
        campaign.built,
        question.subject,
        place,
        seconds=WANTED_S if question.noise_scale else AFFORDABLE_S,
        timeout_s=question.timeout_s,
        on_progress=on_progress,
    )


def noise_remarks(outcome: NoiseOutcome, made_up_because: Note | None = None) -> tuple[Note, ...]:
    """Why there is no noise scale, or of which part of a training it is.

    Args:
        outcome: what came of measuring it.
        made_up_because: why the workload trains on made-up data, where that is known.
    """
    found = outcome.noise_scale
    if found is not None:
        if found.is_early:
            return (note("noise_scale_early", value=found.value),)
        first_step = outcome.steps_run - found.n + 1
        return (note("noise_scale_untrained", value=found.value, first_step=first_step),)
    if outcome.refusal is None or outcome.refusal == "not_wanted":
        return (note("noise_scale_unmeasured"),)
    if outcome.refusal == "made_up_data" and made_up_because is not None:
        return (made_up_because,)
    values: dict[str, Value] = {"needed_s": outcome.needed_s} if outcome.needed_s is not None else {}
    if outcome.message is not None:
        values["message"] = outcome.message
    return (note(f"noise_scale_{outcome.refusal}", **values),)
