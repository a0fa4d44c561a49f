"""Baselines against cases whose errors are known in closed form."""

import numpy as np
import pytest
import torch

from trainer.diffusion import Objective
from trainer.health.baselines import compute_baselines
from trainer.validation import fixed_tuples


def gaussian(num_items: int, deviation: float, side: int = 8) -> torch.Tensor:
    return deviation * torch.randn(num_items, 1, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("side", [8, 40])  # 64 values: a full covariance; 1600: the cosine transform
def test_white_data_have_the_error_that_theory_gives(side):
    deviation = 0.5
    x_NCHW, label_N = gaussian(600, deviation, side), torch.zeros(600, dtype=torch.long)
    held_out = fixed_tuples(gaussian(900, deviation, side)[600:], label_N[:300], seed=1)
    objective = Objective("cpu", 5.0)
    found, wiener_V = compute_baselines(held_out, x_NCHW, label_N, objective)
    alpha_V1, sigma_V1 = objective.levels(held_out.time_V)
    power = deviation**2
    # error of x: l sigma^2 / (alpha^2 l + sigma^2); of v: that over sigma^2
    expected_K = (power / (alpha_V1.square() * power + sigma_V1.square())).view(8, -1).mean(1)
    zero_K = (alpha_V1.square() + sigma_V1.square() * power).view(8, -1).mean(1)
    assert np.allclose(found.wiener, expected_K, rtol=0.1)
    assert np.allclose(found.zero, zero_K, rtol=0.1)
    assert np.isclose(wiener_V.mean(), np.mean(found.wiener))


def test_a_copier_is_perfect_at_training_items_and_lost_at_others():
    x_NCHW, label_N = gaussian(40, 1.0), torch.arange(40) % 2
    held_out = fixed_tuples(gaussian(140, 1.0)[40:], torch.arange(100) % 2, seed=1)
    found, _ = compute_baselines(held_out, x_NCHW, label_N, Objective("cpu", 5.0))
    assert max(found.floor[:6]) < 1e-3  # 20 items of a class are far apart: each is recognised through the noise
    assert min(found.copier[:6]) > 0.9  # a random vector is no better than none
    assert all(floor <= wiener for floor, wiener in zip(found.floor, found.wiener, strict=True))


def test_one_item_and_unknown_classes_give_no_figure():
    held_out = fixed_tuples(gaussian(8, 1.0), torch.full((8,), 3), seed=1)
    alone, wiener_V = compute_baselines(
        held_out, gaussian(1, 1.0), torch.zeros(1, dtype=torch.long), Objective("cpu", 5.0)
    )
    assert alone.wiener is None and alone.copier is None and np.isnan(wiener_V).all()
    other, _ = compute_baselines(held_out, gaussian(9, 1.0), torch.zeros(9, dtype=torch.long), Objective("cpu", 5.0))
    assert np.isnan(other.copier).all() and np.isfinite(other.wiener).all()
