"""The pure parts of the search: its price, where it looks, what counts, and what is concluded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.errors import UsageError
from advisor.records import SearchTrial
from advisor.refine.bracket import next_outside
from advisor.refine.budget import MIN_PROXY_FRAC, MIN_TRIALS, plan_budget
from advisor.refine.records import Entry
from advisor.refine.verdict import MIN_GAIN, counted, finalists_of, judge, least_gain, num_retried, trials_of, winner

# ---- budget -------------------------------------------------------------------------------------


def test_the_usual_search_states_its_price():
    usual = plan_budget(100_000, 500.0)
    assert usual.proxy_samples == 40_000
    assert usual.total_samples == (usual.num_trials + (usual.num_finalists + 1) * usual.num_seeds) * 40_000
    assert usual.runs == pytest.approx(usual.total_samples / 100_000)
    assert usual.seconds == pytest.approx(usual.total_samples / 500)
    assert plan_budget(100_000, None).seconds is None


@given(st.floats(1, 1e6), st.integers(1_000, 10_000_000), st.floats(1, 10_000))
def test_a_budget_is_kept_or_refused(budget_s, run_samples, samples_per_s):
    try:
        found = plan_budget(run_samples, samples_per_s, budget_s=budget_s)
    except UsageError as error:
        assert "factor of 2" in str(error)
        least = (MIN_TRIALS + 12) * MIN_PROXY_FRAC * run_samples / samples_per_s
        assert budget_s < least * 1.001 + 20 / samples_per_s
    else:
        assert found.seconds <= budget_s
        assert found.proxy_frac >= MIN_PROXY_FRAC
        assert found.num_trials >= MIN_TRIALS


def test_too_few_trials_or_an_unknown_speed_are_refused():
    with pytest.raises(UsageError, match="at least 5"):
        plan_budget(1000, 10.0, num_trials=MIN_TRIALS - 1)
    with pytest.raises(UsageError, match="no step was timed"):
        plan_budget(1000, None, budget_s=100)


# ---- where to look ------------------------------------------------------------------------------


def test_steps_go_on_in_the_direction_of_the_best():
    assert next_outside({}, {1e-3}, 1e-5, 1e-1) is None, "nothing is known yet"
    assert next_outside({1e-3: 0.3, 5e-4: 0.4}, set(), 1e-5, 1e-1) == 2e-3
    assert next_outside({1e-3: 0.3, 5e-4: 0.4}, {2e-3}, 1e-5, 1e-1) == 4e-3, "one further, for a second worker"
    assert next_outside({1e-3: 0.3, 2e-3: 0.4}, set(), 1e-5, 1e-1) == 5e-4
    assert next_outside({5e-4: 0.4, 1e-3: 0.3, 2e-3: 0.4}, set(), 1e-5, 1e-1) is None, "the best is between"


def test_divergence_is_a_bound_and_no_more_than_the_range_is_tried():
    assert next_outside({1e-3: 0.3, 5e-4: 0.4, 2e-3: None}, set(), 1e-5, 1e-1) is None
    assert next_outside({1e-3: None, 2e-3: None}, set(), 1e-5, 1e-1) == 5e-4
    assert next_outside({1e-3: 0.3, 5e-4: 0.4}, set(), 1e-5, 1.5e-3) is None


# ---- what counts --------------------------------------------------------------------------------


def entry(number: int, slot: str | None, state: str, lr: float = 1e-3, loss: float | None = 0.2) -> Entry:
    return Entry(number=number, slot=slot, state=state, lr=lr, seed=0, loss=loss)


def test_every_slot_counts_once():
    entries = [
        entry(0, "a", "failed", loss=None),
        entry(1, "b", "finished", loss=0.3),
        entry(2, "a", "finished", loss=0.2),
        entry(3, "a", "finished", loss=0.1),
        entry(4, "c", "running", loss=None),
        entry(5, None, "failed", loss=None),
        entry(6, "d", "stopped_early", loss=0.5),
    ]
    assert {one.slot: one.number for one in counted(entries)} == {"a": 2, "b": 1, "d": 6}
    assert num_retried(entries) == 1


def test_finalists_are_distinct_and_ended():
    entries = [
        entry(0, "a", "finished", 1e-3, 0.30),
        entry(1, "b", "finished", 1.01e-3, 0.29),
        entry(2, "c", "finished", 2e-3, 0.25),
        entry(3, "d", "finished", 2.1e-3, 0.26),
        entry(4, "e", "finished", 8e-3, None),
        entry(5, "f", "stopped_early", 4e-3, 0.01),
        entry(6, "g", "finished", 5e-4, 0.40),
    ]
    assert finalists_of(trials_of(entries), 1e-3, 3) == (1e-3, 2e-3, 5e-4)


# ---- what is concluded --------------------------------------------------------------------------


def test_a_clear_gain_wins_with_its_interval():
    found = judge({1e-3: (0.200, 0.210, 0.190), 2e-3: (0.190, 0.200, 0.181), 4e-3: (0.21, 0.22, 0.2)}, 1e-3)
    best = winner(found, 1e-3)
    assert best is not None
    assert best.lr == 2e-3
    assert best.gain == pytest.approx(1 - (0.190 * 0.200 * 0.181 / (0.200 * 0.210 * 0.190)) ** (1 / 3))
    assert 0 < best.gain_low < best.gain < best.gain_high


def test_noise_and_trifles_are_no_gain():
    noise = judge({1e-3: (0.20, 0.21, 0.19), 2e-3: (0.19, 0.215, 0.189), 5e-4: (0.21, 0.20, 0.192)}, 1e-3)
    assert winner(noise, 1e-3) is None
    trifle = judge({1e-3: (0.2, 0.21, 0.19), 2e-3: (0.1996, 0.20958, 0.18962)}, 1e-3)
    assert trifle[1].gain_low > 0, "it is there,"
    assert winner(trifle, 1e-3) is None, "but not worth a change"


def test_what_short_trainings_may_mistake_is_no_gain():
    """A parabola of 4 % an octave squared; short trainings may shift its optimum by one octave."""
    from math import exp

    trials = [SearchTrial(lr=2.0**k, loss=0.2 * exp(0.04 * k * k)) for k in (-3, -2, -1, 0, 1, 2)]
    assert least_gain(trials, 0.4) == pytest.approx(0.04)
    assert least_gain(trials, 1.0) == MIN_GAIN, "the whole run makes no such mistake"
    assert least_gain(trials[:1], 0.4) == MIN_GAIN
    found = judge({1e-3: (0.200, 0.210, 0.190), 2e-3: (0.197, 0.207, 0.187)}, 1e-3)
    assert winner(found, 1e-3, 0.005) is not None
    assert winner(found, 1e-3, 0.02) is None


def test_a_start_that_diverges_is_replaced_by_what_trains():
    found = judge({1e-2: (None, None, None), 1e-3: (0.2, 0.2, 0.2), 2e-3: (0.3, None, 0.3)}, 1e-2)
    best = winner(found, 1e-2)
    assert best is not None
    assert best.lr == 1e-3
    assert best.gain is None


def test_the_standard_error_is_that_of_the_two_way_layout():
    """Checked against a small table worked out by hand: log losses are these numbers."""
    from math import exp, sqrt

    table = {1.0: (0.0, 1.0), 2.0: (1.0, 4.0)}  # interaction residuals are +-0.5: s^2 = 4 * 0.25 / 1
    found = judge({lr: tuple(map(exp, row)) for lr, row in table.items()}, 1.0)
    error = sqrt(2 * 1.0 / 2)
    assert found[1].gain_low == pytest.approx(1 - exp(2.0 + 2 * error))
    assert found[1].gain_high == pytest.approx(1 - exp(2.0 - 2 * error))
