"""Learning rate and averages follow samples, not steps."""

import pytest
import torch
from small_run import small_config, small_state

from trainer.schedule import ema_decay_at, lr_at


def test_warm_up_constant_decay():
    config = small_config(samples=10_000, warmup_samples=160, decay_frac=0.2)
    assert lr_at(config, 0) == pytest.approx(config.lr * 16 / 160)
    assert lr_at(config, 160) == config.lr
    assert lr_at(config, 7_999) == config.lr
    assert lr_at(config, 9_000) == pytest.approx(config.lr / 2)
    assert lr_at(config, 10_000) == 0


def test_no_warm_up_and_no_decay_is_constant():
    config = small_config(warmup_samples=0, decay_frac=0.0)
    assert {lr_at(config, n) for n in (0, 400, 799)} == {config.lr}


def test_half_of_an_average_is_gone_after_its_half_life_whatever_the_batch():
    for batch in (1, 8, 32):
        kept = 1.0
        for n in range(100_000, 100_000 + 640, batch):
            kept *= ema_decay_at(640, n, batch)
        assert kept == pytest.approx(0.5)


def test_the_average_forgets_the_start_of_a_run():
    assert ema_decay_at(half_life_samples=10**9, samples_seen=0, batch=16) < 0.01


def test_two_widths_follow_the_weights_at_their_own_pace():
    config = small_config(ema_half_lives_samples=(160, 1600))
    state = small_state(config)
    first = next(iter(state.model.parameters()))
    start = first.detach().clone()
    with torch.no_grad():
        first.add_(1)
    state.ema.update(samples_seen=100_000, batch=160)
    narrow, wide = (average[0] - start for average in state.ema.averages)
    assert torch.allclose(narrow, torch.full_like(narrow, 0.5))
    assert torch.allclose(wide, torch.full_like(wide, 1 - 0.5**0.1), atol=1e-6)
