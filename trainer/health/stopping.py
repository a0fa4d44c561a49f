"""Why a run may be stopped before its planned end; acted on only where the user asked for it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from advisor.recommend.reasons import fill
from advisor.records import Note
from trainer.config import TrainConfig
from trainer.health.learning import PLATEAU_FRAC, LearningChecks

STOPS: dict[str, str] = {
    "stop_plateau": (
        "Stopping early: the learning rate is decaying, and the validation error changed by {limit:percent} or less"
        " over a fifth of the run (n = {n} tuples)."
    ),
    "stop_overfit": (
        "Stopping early: the validation error rose twice running where there is much noise;"
        " more training makes it worse."
    ),
}


def early_stop(
    config: TrainConfig, learning: LearningChecks | None, samples: int, judged: Callable[[], Note | None]
) -> Note | None:
    """The first reason to stop there is: of the judged pictures, else of the held-out errors.

    A plateau at a constant learning rate is no reason: there the decay is what brings the gain.

    Args:
        config: of the run.
        learning: its validations.
        samples: seen so far.
        judged: what the generated pictures say: copies, or no gain in any figure.
    """
    reason = judged()
    if reason is not None or learning is None or not learning.history:
        return reason
    if learning.is_rising_at_high_noise:
        return _stop("stop_overfit")
    is_decaying = samples >= (1 - config.decay_frac) * config.samples
    plateau = learning.plateau() if is_decaying or config.decay_frac == 0 else None
    return None if plateau is None else _stop("stop_plateau", limit=PLATEAU_FRAC, n=plateau.values["n"])


def _stop(stop_id: str, **values: float | int | str | None) -> Note:
    return Note(id=stop_id, text=fill(STOPS[stop_id], values), values=values)


def was_stopped_early(events: Sequence[Mapping[str, Any]], samples_seen: int) -> bool:
    """Whether the run was last stopped early, and has not gone on since."""
    stops = [event["samples"] for event in events if event["kind"] == "stopped_early"]
    return bool(stops) and stops[-1] == samples_seen
