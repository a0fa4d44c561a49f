"""What a run costs where time is rented or cut into sessions: money, images a session, checkpoints. Pure."""

import dataclasses
import math

from advisor.recommend.dataset import num_steps
from advisor.records import Advice, Claim, Cost, Option, Sessions

MAX_LOSS_SHARE = 0.02  # of a session, where it is cut between two checkpoints
_SECONDS_PER_HOUR = 3600


def with_price(advice: Advice, price_per_hour: float) -> Advice:
    """The advice with what the recommended run costs, in the unit of the price."""
    run_s = advice.recommended.run_s
    price = Claim(value=price_per_hour, basis="user", source="--price-per-hour")
    return dataclasses.replace(advice, cost=Cost(price_per_hour=price, run=_money(run_s, price_per_hour)))


def with_sessions(advice: Advice, session_s: float) -> Advice:
    """The advice with the run cut into sessions of this length."""
    return dataclasses.replace(advice, sessions=plan_sessions(advice.recommended, advice.run_samples, session_s))


def plan_sessions(option: Option, run_samples: Claim, session_s: float) -> Sessions:
    """How far a session comes, how often to save, and how many sessions the run takes.

    The checkpoint interval is 2 % of what the slowest expected session sees, in whole optimizer steps. What was seen
    after the last checkpoint is lost with the session.
    """
    length = Claim(value=session_s, basis="user", source="--session")
    rate = _rate(option, run_samples)
    if rate.value is None or run_samples.value is None:
        unknown = Claim(value=None, basis="predicted", source="no step was timed")
        return Sessions(session_s=length, images_per_session=unknown, num_sessions=unknown)
    batch = option.effective_batch
    slow, usual, fast = (session_s * float(x or rate.value) for x in (rate.low, rate.value, rate.high))
    every = max(1, math.floor(MAX_LOSS_SHARE * slow / batch)) * batch
    total = num_steps(run_samples.value, batch) * batch

    def kept(images: float) -> int:
        return math.floor(images / every) * every

    def sessions(images: float) -> int | None:
        return math.ceil(total / kept(images)) if kept(images) else None

    most, usually, least = sessions(slow), sessions(usual), sessions(fast)
    source = f"samples a second x {session_s:g} s, down to a checkpoint every {every} samples"
    return Sessions(
        session_s=length,
        images_per_session=Claim(value=kept(usual), low=kept(slow), high=kept(fast), basis="predicted", source=source),
        num_sessions=Claim(
            value=usually,
            low=least if most is not None else None,
            high=most,
            basis="predicted",
            source="samples of the run / samples of a session",
        ),
        checkpoint_every_samples=every,
        ends_at_samples=_ends(kept(usual), total),
    )


def _rate(option: Option, run_samples: Claim) -> Claim:
    """Samples a second of the clock: of the whole run, where what comes between its steps was timed, too."""
    run_s, samples = option.run_s, run_samples.value
    if option.training_s is None or samples is None or not (run_s.value and run_s.low and run_s.high):
        return option.samples_per_s
    return Claim(
        value=samples / run_s.value,
        low=samples / run_s.high,
        high=samples / run_s.low,
        basis="predicted",
        source="samples of the run / time of the run",
    )


def _ends(images: int, total: int) -> tuple[int, ...]:
    """Samples seen when each session ends, the last one with the run; the first ten only."""
    if images < 1:
        return ()
    ends = [min(total, k * images) for k in range(1, min(10, math.ceil(total / images)) + 1)]
    return tuple(ends)


def _money(run_s: Claim, price_per_hour: float) -> Claim:
    def scaled(seconds: float | None) -> float | None:
        return None if seconds is None else seconds / _SECONDS_PER_HOUR * price_per_hour

    return Claim(
        value=scaled(run_s.value),
        low=scaled(run_s.low),
        high=scaled(run_s.high),
        basis="predicted",
        source="time of the run x price per hour",
    )
