"""The statistics behind the alarms: their chances under no fault, and their size under a known one."""

import math

import numpy as np
import pytest

from trainer.health.statistics import (
    between_classes,
    bucket_means,
    bucket_of,
    final_error,
    overdispersion,
    paired,
    rank_correlation,
    spikes,
    trend,
)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_buckets_are_equal_shares_of_the_schedule():
    assert np.bincount(bucket_of(np.arange(1000), 1000)).tolist() == [125] * 8
    means = bucket_means(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 7]))
    assert means[0] == 2 and means[7] == 5 and math.isnan(means[3])


def test_a_paired_difference_is_rarely_four_deviations_even_with_eight_pairs():
    source = random()
    z = [paired(source.normal(size=8), source.normal(size=8)).z for _ in range(4000)]
    assert np.std(z) == pytest.approx(1, abs=0.06)
    assert sum(abs(one) > 4 for one in z) <= 2


def test_pairs_cancel_what_they_share():
    draw = random().normal(size=64) * 100
    assert paired(draw + 1.0 + 0.1 * random(1).normal(size=64), draw).z > 10
    assert paired(draw, draw).z == 0
    assert paired(np.array([math.nan, 2.0, 3.0]), np.array([1.0, 1.0, 1.0])).n == 2


def test_the_power_law_is_continued_to_the_end():
    before, now = np.full(50, 8.0), np.full(50, 4.0)  # halves with every doubling of samples
    assert final_error(now, before, 2000, 1000, 16_000, z=4) == pytest.approx(0.5)
    assert final_error(before, before, 2000, 1000, 16_000, z=4) == pytest.approx(8.0)


def test_spikes_are_found_and_ordinary_norms_are_none():
    norms = np.exp(0.3 * random().normal(size=200))
    assert len(spikes(norms, 6)) == 0
    norms[[50, 150]] = 30
    assert spikes(norms, 6).tolist() == [50, 150]
    assert len(spikes(np.ones(200), 6)) == 0


def test_independent_steps_are_not_overdispersed():
    source, factors = random(3), []
    for _ in range(300):
        found = overdispersion(1 + 0.2 * source.normal(size=160), np.full(160, 0.04), 10)
        factors.append(found)
    assert found.num_blocks == 16
    assert np.mean([one.factor for one in factors]) == pytest.approx(1, abs=0.08)
    assert max(one.chance for one in factors) > 0.9
    assert np.mean([one.chance < 0.05 for one in factors]) == pytest.approx(0.05, abs=0.03)


def test_a_swinging_loss_is_overdispersed_and_a_falling_one_is_not():
    source, steps = random(4), np.arange(160)
    noise = 0.2 * source.normal(size=160)
    swinging = overdispersion(1 + 0.3 * np.sin(steps / 8) + noise, np.full(160, 0.04), 10)
    falling = overdispersion(2 - steps / 160 + noise, np.full(160, 0.04), 10)
    assert swinging.factor > 4 and swinging.chance < 1e-6
    assert 0.1 < swinging.swing < 0.3
    assert falling.factor < 2 and falling.swing < 0.06
    assert overdispersion(np.ones(30), np.ones(30), 10) is None


def test_a_trend_is_told_from_noise():
    slope, z = trend([5.0 * k for k in range(30)])
    assert slope == 5.0 and z > 5
    assert abs(trend(random().normal(size=30).tolist())[1]) < 4


def test_labels_that_mean_something_part_the_classes():
    source, label = random(), np.repeat(np.arange(5), 40)
    x = source.normal(size=(200, 6)) + label[:, None]
    assert between_classes(x, label) > 20
    assert between_classes(x, source.permutation(label)) < 3


def test_two_epochs_in_the_same_order_correlate():
    order = random().permutation(500)
    assert rank_correlation(order, order) == pytest.approx(math.sqrt(499))
    assert abs(rank_correlation(order, random(1).permutation(500))) < 4
