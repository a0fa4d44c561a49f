"""What a search costs, said before it starts, and refused where it could not tell two learning rates apart.

Shorter trainings than 30 % of the run picked learning rates up to six times too high, and a search of a quarter
of a run could not tell a factor of 2 apart: docs/methods.md, "The search for a learning rate".
"""

import math

from advisor.errors import UsageError
from advisor.records import SearchBudget
from advisor.units import format_duration

MIN_PROXY_FRAC, USUAL_PROXY_FRAC = 0.3, 0.4
MIN_TRIALS, USUAL_TRIALS = 5, 12  # 5: the start, a factor 2 to either side, and one more where it is open
NUM_FINALISTS, NUM_SEEDS = 3, 3


def plan_budget(
    run_samples: int, samples_per_s: float | None, *, budget_s: float | None = None, num_trials: int | None = None
) -> SearchBudget:
    """The largest search within the time, or the usual one if no time is given.

    The price is the most that its training steps can take: side by side on one device they are taken to be no faster.
    Workers' starts and validation come on top.

    Args:
        run_samples: length of the run that is to be tuned.
        samples_per_s: how fast it trains; ``None`` if that is not known.
        budget_s: seconds that the search may take.
        num_trials: how many trainings the search has, if the user decides it.

    Raises:
        UsageError: if that cannot resolve a factor of 2, with what could.
    """
    require_trials(num_trials)
    counts = [num_trials] if num_trials is not None else range(USUAL_TRIALS, MIN_TRIALS - 1, -1)
    found = [_priced(run_samples, samples_per_s, count, frac) for frac, count in _choices(counts)]
    if budget_s is None:
        return found[0]
    if samples_per_s is None:
        raise UsageError("--budget: no step was timed on this device, so how long the search takes is not known")
    affordable = [one for one in found if one.seconds is not None and one.seconds <= budget_s]
    if affordable:
        return affordable[0]
    least = min(found, key=lambda one: one.total_samples)
    least_s = least.seconds or 0
    raise UsageError(
        f"--budget {format_duration(budget_s)} is {budget_s * samples_per_s / run_samples:.2g} runs, too little to tell"
        f" a factor of 2 in the learning rate apart: that takes {least.runs:.2g} runs, at most"
        f" {format_duration(least_s)} of training steps here. Give at least --budget {math.ceil(least_s / 60)}min,"
        " or keep the rule's learning rate"
    )


def require_trials(num_trials: int | None) -> None:
    """Refuse a search that could not tell a factor of 2 apart, however long it takes.

    Raises:
        UsageError: with the smallest number that could.
    """
    if num_trials is not None and num_trials < MIN_TRIALS:
        raise UsageError(
            f"--trials {num_trials} cannot tell a factor of 2 in the learning rate apart: at least {MIN_TRIALS}"
            " (the start, its neighbours, and one more on the open side)"
        )


def _choices(counts: "range | list[int]") -> list[tuple[float, int]]:
    """Shares of the run and numbers of trials, the best first: fewer trials before shorter ones."""
    return [(frac, count) for frac in (USUAL_PROXY_FRAC, MIN_PROXY_FRAC) for count in counts]


def _priced(run_samples: int, samples_per_s: float | None, num_trials: int, frac: float) -> SearchBudget:
    proxy_samples = math.ceil(frac * run_samples)
    total_samples = (num_trials + (NUM_FINALISTS + 1) * NUM_SEEDS) * proxy_samples
    return SearchBudget(
        num_trials=num_trials,
        num_finalists=NUM_FINALISTS,
        num_seeds=NUM_SEEDS,
        proxy_samples=proxy_samples,
        run_samples=run_samples,
        total_samples=total_samples,
        runs=total_samples / run_samples,
        seconds=None if samples_per_s is None else total_samples / samples_per_s,
    )
