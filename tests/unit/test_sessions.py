"""What a run costs, and how far a session comes that is cut off."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_advice import RECOMMENDED, sample_advice

from advisor.recommend.sessions import MAX_LOSS_SHARE, plan_sessions, with_price, with_sessions
from advisor.records import Claim, Option


def claim(value: float | None, low: float | None = None, high: float | None = None) -> Claim:
    return Claim(value=value, low=low, high=high, basis="predicted", source="a test")


def option(rate: Claim, batch: int = 16) -> Option:
    return dataclasses.replace(RECOMMENDED, samples_per_s=rate, effective_batch=batch)


def test_nine_hours_a_session() -> None:
    found = plan_sessions(option(claim(100.0, 80.0, 120.0)), claim(10_000_000), 9 * 3600)
    every = found.checkpoint_every_samples
    assert every is not None and every % 16 == 0
    assert every <= MAX_LOSS_SHARE * 80 * 9 * 3600 < every + 16
    assert found.images_per_session.value == 100 * 9 * 3600 // every * every
    assert found.num_sessions.value == 4  # 10 million at less than 3.24 million each
    assert (found.num_sessions.low, found.num_sessions.high) == (3, 4)
    assert found.ends_at_samples[0] == found.images_per_session.value
    assert found.ends_at_samples[-1] == 10_000_000


def test_without_a_time_nothing_is_known_of_sessions() -> None:
    found = plan_sessions(option(claim(None)), claim(1000), 3600)
    assert (found.images_per_session.value, found.num_sessions.value, found.checkpoint_every_samples) == (None,) * 3
    assert found.ends_at_samples == ()


def test_a_session_in_which_nothing_can_be_kept_gives_no_number() -> None:
    found = plan_sessions(option(claim(0.001, 0.0005, 0.002)), claim(1000), 60)
    assert found.images_per_session.value == 0
    assert (found.num_sessions.value, found.num_sessions.high) == (None, None)


@given(
    rate=st.floats(1, 1e5),
    spread=st.floats(1.0, 3.0),
    batch=st.sampled_from([1, 7, 16, 64]),
    hours=st.floats(0.5, 24),
    samples=st.integers(1, 10**8),
)
def test_all_sessions_together_reach_the_end(
    rate: float, spread: float, batch: int, hours: float, samples: int
) -> None:
    found = plan_sessions(option(claim(rate, rate / spread, rate * spread), batch), claim(samples), hours * 3600)
    images, number = found.images_per_session, found.num_sessions
    assert images.value is not None and images.low is not None and number.value is not None
    assert images.value * number.value >= samples
    assert images.value * (number.value - 1) < samples + batch
    assert images.low <= images.value <= rate * hours * 3600
    assert list(found.ends_at_samples) == sorted(set(found.ends_at_samples))


def test_money() -> None:
    advice = sample_advice(recommended=dataclasses.replace(RECOMMENDED, run_s=claim(7200.0, 3600.0, 9000.0)))
    cost = with_price(advice, 0.5).cost
    assert cost is not None
    assert (cost.run.value, cost.run.low, cost.run.high) == (1.0, 0.5, 1.25)
    assert (cost.price_per_hour.value, cost.price_per_hour.basis) == (0.5, "user")


def test_an_advice_keeps_what_it_says_beside_its_sessions() -> None:
    advice = sample_advice()
    found = with_sessions(advice, 3600.0)
    assert dataclasses.replace(found, sessions=None) == advice
    assert found.sessions is not None
    assert found.sessions.session_s.value == pytest.approx(3600)
