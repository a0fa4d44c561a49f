"""The scaling rules against published values, and what they must leave alone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.recommend import scaling
from advisor.records import Claim, NoiseScale, Setting

BATCHES = st.integers(min_value=1, max_value=4096)


def user(value: float | None) -> Claim:
    return Claim(value=value, basis="user", source="test")


def setting(micro_batch: int = 8, accumulation: int = 2, lr: float | None = 1e-4) -> Setting:
    return Setting(
        micro_batch=micro_batch,
        accumulation=accumulation,
        lr=user(lr),
        beta1=user(0.9),
        beta2=user(0.999),
        ema_decay=user(0.9995),
        warmup_samples=user(3200),
    )


def test_the_learning_rate_of_the_reference_case() -> None:
    lr = scaling.scale_lr(user(1e-4), 16, 32)
    assert (lr.value, lr.low, lr.high) == pytest.approx((1.41e-4, 1.19e-4, 1.68e-4), rel=3e-3)
    assert lr.basis == "rule"


@given(st.tuples(st.sampled_from([(8, 2), (16, 1), (4, 4), (2, 8), (1, 16)])), st.floats(1e-6, 1.0))
def test_the_same_effective_batch_changes_nothing(layout: tuple[tuple[int, int]], lr: float) -> None:
    present = setting(lr=lr)
    scaled = scaling.scale_setting(present, *layout[0], NoiseScale(value=50, low=20, high=90, n=200))
    for name in ("lr", "beta1", "beta2", "ema_decay", "warmup_samples"):
        assert getattr(scaled, name) is getattr(present, name)


@given(BATCHES, BATCHES)
def test_scaling_there_and_back_is_the_identity(present: int, batch: int) -> None:
    there = scaling.scale_lr(user(1e-4), present, batch)
    back = scaling.scale_lr(user(there.value), batch, present)
    assert back.value == pytest.approx(1e-4)


@given(BATCHES, BATCHES)
def test_the_interval_holds_the_value_and_both_published_exponents(present: int, batch: int) -> None:
    lr, kappa = scaling.scale_lr(user(1e-4), present, batch), batch / present
    if kappa == 1:
        return
    low, high = sorted((1e-4 * kappa**0.25, 1e-4 * kappa**0.75))
    assert lr.low is not None and lr.high is not None and lr.value is not None
    assert lr.low <= lr.value <= lr.high
    assert (lr.low, lr.high) == pytest.approx((low, high))


@given(BATCHES, BATCHES, st.floats(min_value=1.5, max_value=1e5))
def test_half_lives_in_samples_are_kept(present: int, batch: int, half_life_steps: float) -> None:
    decay = 0.5 ** (1 / half_life_steps)
    scaled = scaling.scale_ema(user(decay), present, batch).value
    if scaled is None or not 0 < scaled < 1:
        return
    assert math.log(0.5) / math.log(scaled) * batch == pytest.approx(half_life_steps * present, rel=1e-6)


def test_beta2_follows_and_stops_at_its_bounds() -> None:
    assert scaling.scale_beta2(user(0.999), 16, 32).value == pytest.approx(0.998001)
    assert scaling.scale_beta2(user(0.99), 16, 16 * 64).value == 0.95
    assert scaling.scale_beta2(user(0.9999), 64, 1).value == 0.9999
    assert scaling.scale_beta2(user(0.9), 16, 32).value == pytest.approx(0.9), "already below the bound: not raised"


@pytest.mark.parametrize(
    ("samples", "batch", "moved_samples"),
    [
        (3200, 8, 3200),  # a smaller batch has more steps in them
        (3200, 64, 3200),  # 50 steps
        (320, 64, 640),  # 5 steps would be left of 20
        (80, 64, 320),  # there were 5, and there are 5
        (320, 1024, 1280),  # 10 steps would be most of a run that warms up over 5 % of it
        (0, 64, 0),
    ],
)
def test_a_warm_up_stays_one(samples: int, batch: int, moved_samples: int) -> None:
    moved = scaling.scale_warmup(user(samples), 16, batch)
    assert moved.value == moved_samples
    assert moved.basis == ("user" if moved_samples == samples else "rule")


def test_what_is_unknown_stays_unknown() -> None:
    for scale in (scaling.scale_lr, scaling.scale_beta2, scaling.scale_ema, scaling.scale_warmup):
        assert scale(user(None), 16, 32).value is None


def test_the_family_holds_the_published_rules() -> None:
    surge = scaling.lr_factor(4, present_batch=16, noise_scale=48, q=1)
    assert surge == pytest.approx(2 * (48 + 16) / (48 + 64))
    adam_scale = scaling.lr_factor(4, present_batch=16, noise_scale=48, q=0.5)
    assert adam_scale == pytest.approx(math.sqrt(4 * (48 + 16) / (48 + 64)))
    assert scaling.lr_factor(4) == 2
    assert scaling.lr_factor(4, present_batch=16, noise_scale=48) == 2


def test_beyond_the_noise_scale_the_rule_is_damped() -> None:
    noise_scale = NoiseScale(value=24, low=12, high=48, n=200)
    assert (scaling.scale_lr(user(1e-4), 16, 24, noise_scale).value or 0) == pytest.approx(1e-4 * math.sqrt(1.5))
    assert (scaling.scale_lr(user(1e-4), 16, 32, noise_scale).value or 0) < 1e-4 * math.sqrt(2)


@pytest.mark.parametrize(("batch", "retune"), [(3, True), (4, False), (16, False), (64, False), (65, True)])
def test_beyond_a_factor_of_four_it_says_retune(batch: int, retune: bool) -> None:
    assert scaling.needs_retuning(16, batch) is retune


def test_rules_for_what_nobody_gave() -> None:
    assert scaling.default_lr(64).value == pytest.approx(2e-4)
    assert scaling.default_warmup_samples(16, 0.99, 1e6).value == 3200
    assert scaling.default_warmup_samples(16, 0.999, 100_000).value == 5000
    assert scaling.default_warmup_samples(16, None, 100_000).value == 5000
    assert (scaling.default_ema_decay(16, 32_000).value or 0) ** 100 == pytest.approx(0.5)
