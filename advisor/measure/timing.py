"""Times of settings that are compared: interleaved rounds, medians, intervals without a distribution.

All settings have a turn a round, in rotating order, so that a drift of clocks or load meets all of them. A turn of a
short step is many steps without a pause, as in a run: one alone between those of other processes took three quarters to
more than twice as long (docs/methods.md).
"""

import itertools
import math
import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

from advisor.measure.drift import variance_factor
from advisor.records import Claim, StepTime, record

Key = TypeVar("Key", bound=Hashable)

MIN_ROUNDS = 3
MAX_ROUNDS = 20  # the interval of the median then leaves out the five smallest and the five largest
DECISIVE_SECONDS = 2.0  # more of each of the settings between which a decision is due
DECISIVE_ROUNDS = 6  # fewer have no 95 % interval of a median, not even from the smallest to the largest
SECONDS_PER_SETTING = 3.0
TURN_S = 0.25
MAX_STEPS_IN_TURN = 500
BAND = "; 80 % band"  # in the source of a claim
Z_80 = statistics.NormalDist().inv_cdf(0.9)  # of a central 80 % band


@record
class Turn:
    """What one setting did in one round: the mean time of its steps, and how long it had the machine."""

    step_s: float
    spent_s: float


def steps_in_turn(step_s: float) -> int:
    """How many steps a turn has where one takes about so long; the first of several is not timed."""
    num_timed = math.ceil(TURN_S / max(step_s, TURN_S / MAX_STEPS_IN_TURN))
    return 1 + num_timed if num_timed > 1 else 1


def summarize(durations_s: Sequence[float]) -> StepTime:
    """Median of the durations and its interval (95 %, or all of them while they are few).

    Rounds that clearly resemble the last one say less than independent ones: the interval is then wider, as if there
    were fewer of them (on a scale of ratios, so that it stays above zero).
    """
    low, high = median_interval(durations_s)
    median, wider = statistics.median(durations_s), math.sqrt(variance_factor(durations_s))
    if wider > 1 and low > 0:
        low, high = median * (low / median) ** wider, median * (high / median) ** wider
    return StepTime(median=median, low=low, high=high, n=len(durations_s))


def mean_time(durations_s: Sequence[float]) -> Claim:
    """Mean of the durations with its 80 % band: a long run waits for the slow steps, too.

    Student's t, wider where rounds resemble the last one. It holds while the machine is as it was in these seconds.
    """
    mean, n = statistics.fmean(durations_s), len(durations_s)
    source = f"mean of {n} timings"
    if n < MIN_ROUNDS or mean <= 0:
        return Claim(value=mean, basis="measured", source=source)
    error = statistics.stdev(durations_s) * math.sqrt(variance_factor(durations_s) / n)
    spread = math.exp(student_quantile(Z_80, n - 1) * error / mean)
    return Claim(value=mean, low=mean / spread, high=mean * spread, basis="measured", source=f"{source}{BAND}")


def student_quantile(z: float, freedom: int) -> float:
    """The quantile of Student's t at which the normal distribution has ``z`` (Cornish-Fisher, to the second order)."""
    first, second = z**3 + z, 5 * z**5 + 16 * z**3 + 3 * z
    return z + first / (4 * freedom) + second / (96 * freedom**2)


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of the median from order statistics; smallest and largest if no inner ones are sure enough.

    The median lies between the k-th smallest and the k-th largest of n independent values with
    probability ``1 - 2 P(Binomial(n, 1/2) < k)``; the largest k that keeps the confidence is taken.
    """
    ordered, n = sorted(values), len(values)
    rank, tail = 1, 2 * 0.5**n
    while rank < (n + 1) // 2 and tail + 2 * math.comb(n, rank) * 0.5**n <= 1 - confidence:
        tail += 2 * math.comb(n, rank) * 0.5**n
        rank += 1
    return ordered[rank - 1], ordered[n - rank]


def paired_ratio(durations_s: Sequence[float], present_durations_s: Sequence[float]) -> StepTime | None:
    """Median and interval of the ratios of two settings' times, round by round; ``None`` without rounds."""
    ratios = [one / other for one, other in zip(durations_s, present_durations_s, strict=False)]
    return summarize(ratios) if ratios else None


def interleave(
    turns: Mapping[Key, Callable[[], Turn | None]],
    *,
    min_rounds: int = MIN_ROUNDS,
    max_rounds: int = MAX_ROUNDS,
    seconds_per_setting: float = SECONDS_PER_SETTING,
) -> dict[Key, list[float]]:
    """Seconds of a step in every turn of every setting.

    Args:
        turns: for each setting a function that runs one turn, or says ``None`` if it failed; a setting that failed
            takes no further part.
        min_rounds: rounds that are run however long they take.
        max_rounds: rounds after which it ends.
        seconds_per_setting: it also ends when the settings took this long on average.
    """
    durations: dict[Key, list[float]] = {key: [] for key in turns}
    living, spent_s = list(turns), 0.0
    for round_number in itertools.count():
        long_enough = round_number >= min_rounds and spent_s >= seconds_per_setting * len(living)
        if not living or round_number >= max_rounds or long_enough:
            return durations
        first = round_number % len(living)
        for key in (*living[first:], *living[:first]):
            turn = turns[key]()
            if turn is None:
                living.remove(key)
            else:
                durations[key].append(turn.step_s)
                spent_s += turn.spent_s
    raise AssertionError("rounds are counted without an end")
