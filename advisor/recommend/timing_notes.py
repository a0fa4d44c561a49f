"""What has to be said of the conditions under which settings were timed."""

from advisor.measure.campaign import Campaign
from advisor.measure.drift import Drift
from advisor.measure.timing import DECISIVE_ROUNDS
from advisor.recommend.reasons import note
from advisor.records import Measurement, Note

_STALL_FRAC = 0.1


def timing_notes(campaign: Campaign, recommended: tuple[int, int]) -> tuple[Note, ...]:
    """Everything that makes the times of this campaign less certain, and a recommended step that waits for its input.

    Args:
        campaign: what was timed.
        recommended: micro-batch and accumulation.
    """
    measured = [point.measurement for point in campaign.points]
    timed = [one.step_s.n for one in measured if one.step_s]
    chosen = [one for one in measured if (one.micro_batch, one.accumulation) == recommended]
    found = [
        None if campaign.interleaved else note("not_interleaved"),
        note("few_rounds", num_rounds=min(timed)) if timed and min(timed) < DECISIVE_ROUNDS else None,
        _drift_note(campaign.drift) if campaign.drift is not None else None,
        *map(_input_note, chosen),
    ]
    return tuple(one for one in found if one is not None)


def _input_note(one: Measurement) -> Note | None:
    if one.input_s is None or one.step_s is None or one.input_s <= _STALL_FRAC * one.step_s.median:
        return None
    return note("input_stall", input_s=one.input_s, step_s=one.step_s.median, share=one.input_s / one.step_s.median)


def _drift_note(drift: Drift) -> Note:
    bounds = sorted((abs(drift.low_frac), abs(drift.high_frac)))
    note_id = "step_time_rose" if drift.change_frac > 0 else "step_time_fell"
    return note(note_id, change=abs(drift.change_frac), low=bounds[0], high=bounds[1], num_rounds=drift.num_rounds)
