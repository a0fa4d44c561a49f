"""What has to be said of the conditions under which settings were timed."""

from advisor.measure.campaign import Campaign
from advisor.measure.drift import Drift
from advisor.recommend.reasons import note
from advisor.records import Note

_FEW_ROUNDS = 6  # below, the interval is the smallest and largest and covers less than 95 %


def timing_notes(campaign: Campaign) -> tuple[Note, ...]:
    """Everything that makes the times of this campaign less certain."""
    timed = [point.measurement.step_s.n for point in campaign.points if point.measurement.step_s]
    found = [
        None if campaign.interleaved else note("not_interleaved"),
        note("few_rounds", num_rounds=min(timed)) if timed and min(timed) < _FEW_ROUNDS else None,
        _drift_note(campaign.drift) if campaign.drift is not None else None,
    ]
    return tuple(one for one in found if one is not None)


def _drift_note(drift: Drift) -> Note:
    bounds = sorted((abs(drift.low_frac), abs(drift.high_frac)))
    note_id = "step_time_rose" if drift.change_frac > 0 else "step_time_fell"
    return note(note_id, change=abs(drift.change_frac), low=bounds[0], high=bounds[1], num_rounds=drift.num_rounds)
