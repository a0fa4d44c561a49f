"""The noise scale against problems whose noise is known in closed form, and a meter that changes nothing."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.utils.checkpoint import checkpoint

from advisor.errors import UsageError
from advisor.measure.gradient_noise import GradientNoiseMeter
from advisor.measure.noise_scale import NoNoiseScaleError, StepMoments, estimate_noise_scale, step_moments

DEVIATIONS = torch.tensor([0.5, 1.0, 2.0, 0.1])  # of the features x of a linear model
ERROR = torch.tensor([0.6, -0.3, 0.2, 1.0])  # its weights minus the true ones
NOISE = 0.7  # of the targets


def true_noise_scale(divisor: torch.Tensor | float = 1.0) -> float:
    """tr(Sigma) / |G|^2 of the gradient x (x'e - noise), x normal with independent features.

    G = C e; E[g_i^2] = c_i (e'C e + 2 c_i e_i^2) + c_i sigma^2 by Isserlis' theorem.
    """
    c = DEVIATIONS**2
    mean = c * ERROR
    second = c * (ERROR @ (c * ERROR)) + 2 * (c * ERROR) ** 2 + c * NOISE**2
    return float((((second - mean**2) / torch.as_tensor(divisor) ** 2).sum()) / ((mean / divisor) ** 2).sum())


class Linear(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(ERROR.clone())

    def half_squared_error(self, n: int, generator: torch.Generator) -> torch.Tensor:
        x_BF = torch.randn(n, 4, generator=generator) * DEVIATIONS
        return (x_BF @ self.weight - NOISE * torch.randn(n, generator=generator)).square().mean() / 2


def watched_steps(
    meter: GradientNoiseMeter, model: Linear, num_steps: int, *, n: int = 4, micro_batch: int = 4, seed: int = 0,
    divide: bool = True, grad_scale: float = 1.0,
) -> None:  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    with meter:
        for _ in range(num_steps):
            model.weight.grad = None
            for _ in range(n):
                meter.before_backward()
                loss = model.half_squared_error(micro_batch, generator) * grad_scale
                (loss / n if divide else loss).backward()
            meter.step(grad_scale=grad_scale)


def test_the_interval_covers_the_known_noise_scale_of_a_linear_model() -> None:
    truth, covered = true_noise_scale(), 0
    for seed in range(25):
        model = Linear()
        meter = GradientNoiseMeter(model.parameters(), micro_batch=4)
        watched_steps(meter, model, 120, seed=seed)
        found = meter.estimate()
        covered += found.low <= truth <= found.high
        assert found.value == pytest.approx(truth, rel=0.7)
        assert found.n == 120
    assert covered >= 21, "about 24 of 25 are expected"


def test_it_gets_closer_with_more_steps() -> None:
    model = Linear()
    meter = GradientNoiseMeter(model.parameters(), micro_batch=16)
    watched_steps(meter, model, 1200, micro_batch=16)
    found = meter.estimate()
    assert found.value == pytest.approx(true_noise_scale(), rel=0.1)
    assert found.high / found.low < 1.3


@pytest.mark.parametrize(("divide", "grad_scale"), [(True, 1.0), (False, 1.0), (True, 1024.0), (False, 0.25)])
def test_neither_the_division_of_the_loss_nor_its_scale_matters(divide: bool, grad_scale: float) -> None:
    model = Linear()
    plain = GradientNoiseMeter(model.parameters(), micro_batch=4)
    watched_steps(plain, model, 100)
    other = GradientNoiseMeter(model.parameters(), micro_batch=4, loss_is_divided=divide)
    watched_steps(other, model, 100, divide=divide, grad_scale=grad_scale)
    assert other.estimate().value == pytest.approx(plain.estimate().value, rel=1e-4)


def test_micro_batch_and_accumulation_do_not_shift_it() -> None:
    values = []
    for micro_batch, n in ((2, 8), (8, 2), (4, 4)):
        model = Linear()
        meter = GradientNoiseMeter(model.parameters(), micro_batch=micro_batch)
        watched_steps(meter, model, 800, n=n, micro_batch=micro_batch)
        values.append(meter.estimate().value)
    assert values == pytest.approx([true_noise_scale()] * 3, rel=0.25)


def test_preconditioned_by_adam_it_is_that_of_the_rescaled_gradient() -> None:
    model = Linear()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0, betas=(0.9, 0.99))
    divisor = torch.tensor([0.5, 2.0, 4.0, 0.1])
    model.half_squared_error(4, torch.Generator().manual_seed(1)).backward()
    optimizer.step()  # creates the state
    state = optimizer.state[model.weight]
    state["exp_avg_sq"].copy_(divisor**2 * (1 - 0.99 ** state["step"]))
    meter = GradientNoiseMeter(model.parameters(), micro_batch=16, optimizer=optimizer)
    watched_steps(meter, model, 1200, micro_batch=16)
    assert meter.estimate("preconditioned").value == pytest.approx(true_noise_scale(divisor), rel=0.1)
    assert meter.estimate("preconditioned").n == 1195, "the first steps say little of the second moments"
    assert meter.estimate().value == pytest.approx(true_noise_scale(), rel=0.1)


def test_without_an_adam_nothing_is_preconditioned() -> None:
    model = Linear()
    meter = GradientNoiseMeter(
        model.parameters(), micro_batch=4, optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    )
    watched_steps(meter, model, 110)
    with pytest.raises(NoNoiseScaleError, match="0 steps"):
        meter.estimate("preconditioned")


class Shared(torch.nn.Module):
    """The same matrix is used twice; a second part is frozen; a third is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 3)
        self.frozen = torch.nn.Linear(3, 3).requires_grad_(False)
        self.unused = torch.nn.Parameter(torch.ones(2))

    def forward(self, x_BF: torch.Tensor) -> torch.Tensor:
        return self.layer(torch.tanh(self.frozen(self.layer(x_BF))))


def micro_batches(num: int, seed: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(5, 3, generator=generator) for _ in range(num)]


def gradients(model: torch.nn.Module) -> list[torch.Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


def accumulate(model: torch.nn.Module, announce: Callable[[], None] = lambda: None) -> list[torch.Tensor | None]:
    model.zero_grad()
    batches = micro_batches(3)
    for x_BF in batches:
        announce()
        (model(x_BF).square().mean() / len(batches)).backward()
    return gradients(model)


def same(one: list[torch.Tensor | None], other: list[torch.Tensor | None]) -> bool:
    return all((a is None and b is None) or torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_gradients_and_weights_are_bit_for_bit_the_same_with_and_without_the_meter() -> None:
    torch.manual_seed(0)
    model = Shared()
    before = accumulate(model)
    optimizer = torch.optim.AdamW(model.parameters())
    meter = GradientNoiseMeter(model.parameters(), micro_batch=5, optimizer=optimizer)
    with meter:
        for _ in range(8):  # past the step where second moments come in
            watched = accumulate(model, meter.before_backward)
            meter.step()
            assert same(before, gradients(model)), "step() must leave them alone too"
            assert same(before, watched)
            weights = [p.detach().clone() for p in model.parameters()]
            optimizer.step()
            for p, weight in zip(model.parameters(), weights):
                p.data.copy_(weight)
    assert same(before, accumulate(model))


def test_on_shared_weights_the_moments_are_those_of_whole_micro_batch_gradients() -> None:
    torch.manual_seed(0)
    model = Shared()
    squared = []
    for x_BF in micro_batches(3):
        model.zero_grad()
        model(x_BF).square().mean().backward()
        squared.append(sum(float(g.double().square().sum()) for g in gradients(model) if g is not None))
    total = sum(float(g.double().square().sum()) for g in accumulate(model) if g is not None)
    with GradientNoiseMeter(model.parameters(), micro_batch=5) as meter:
        accumulate(model, meter.before_backward)
        meter.step()
    (found,) = meter.moments()
    expected = step_moments(sum(squared) / 3, total, 3, 5)
    assert found.squared_norm == pytest.approx(expected.squared_norm, rel=1e-4)
    assert found.sample_variance == pytest.approx(expected.sample_variance, rel=1e-4)


def test_half_precision_gradients_do_not_overflow() -> None:
    weight = torch.nn.Parameter(torch.ones(1000, dtype=torch.float16))
    with GradientNoiseMeter([weight], micro_batch=1) as meter:
        for k in (1, 3):
            meter.before_backward()
            (weight * (100 * k)).sum().backward()
        meter.step(grad_scale=1.0)
    (found,) = meter.moments()
    assert found.squared_norm == pytest.approx((2 * 1000 * 400.0**2 - 4 * 1000 * 50000.0), rel=1e-3)


def test_a_step_that_is_not_finite_and_backward_passes_outside_are_left_out() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    meter = GradientNoiseMeter([weight], micro_batch=1)
    with meter:
        (weight * 1e9).sum().backward()  # not announced: somebody else's
        weight.grad = None
        for factor in (1.0, float("inf"), 2.0):
            for _ in range(2):
                meter.before_backward()
                (weight * factor).sum().backward()
            meter.step()
            weight.grad = None
    assert len(meter.moments()) == 2
    (weight * 3).sum().backward()
    assert len(meter.moments()) == 2, "closed"


def test_gradients_in_parts_are_refused() -> None:
    weight = torch.nn.Parameter(torch.ones(3))

    def block(x_F: torch.Tensor) -> torch.Tensor:
        return x_F * weight

    with GradientNoiseMeter([weight], micro_batch=1) as meter:
        for _ in range(100):
            for _ in range(2):
                meter.before_backward()
                x_F = torch.randn(3, requires_grad=True)
                checkpoint(block, checkpoint(block, x_F, use_reentrant=True), use_reentrant=True).sum().backward()
            meter.step()
            weight.grad = None
    with pytest.raises(NoNoiseScaleError, match="in several parts"):
        meter.estimate()


def test_one_micro_batch_a_step_says_nothing() -> None:
    meter = GradientNoiseMeter([torch.nn.Parameter(torch.ones(1))], micro_batch=1)
    with meter, pytest.raises(UsageError, match="two or more micro-batches in a step, found 1"):
        meter.before_backward()
        meter.step()
    with pytest.raises(UsageError, match="require a gradient"):
        GradientNoiseMeter([torch.nn.Parameter(torch.ones(1), requires_grad=False)], micro_batch=1)


def moments(num: int, norm: float, variance: float, *, spread: float = 0.0, seed: int = 0) -> list[StepMoments]:
    draw = np.random.default_rng(seed)
    return [
        StepMoments(squared_norm=norm + spread * a, sample_variance=variance * (1 + 0.1 * b))
        for a, b in draw.standard_normal((num, 2))
    ]


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (moments(99, 1, 40), "99 steps were measured; 100 are needed"),
        (moments(200, 0.01, 40, spread=1), "cannot be told from its noise"),
        (moments(200, -1, 40), "cannot be told from its noise"),
        (moments(200, 1, 0), "no noise was seen"),
        (moments(100, 0.26, 40, spread=1), "only known to lie between"),
    ],
)
def test_what_the_steps_do_not_determine_is_refused(seen: list[StepMoments], message: str) -> None:
    with pytest.raises(NoNoiseScaleError, match=message):
        estimate_noise_scale(seen)


def test_it_is_a_ratio_of_means_and_the_same_every_time() -> None:
    seen = [*moments(100, 1, 40, spread=0.5), *moments(100, 3, 40, spread=0.5, seed=1)]
    found = estimate_noise_scale(seen)
    mean_norm = sum(one.squared_norm for one in seen) / 200
    assert found.value == pytest.approx(sum(one.sample_variance for one in seen) / 200 / mean_norm)
    assert found == estimate_noise_scale(seen)
    assert found.low < found.value < found.high


def test_gradients_scaled_by_a_constant_have_the_same_noise_scale() -> None:
    seen = moments(150, 1, 40, spread=0.5)
    scaled = [StepMoments(squared_norm=9 * x.squared_norm, sample_variance=9 * x.sample_variance) for x in seen]
    one, other = estimate_noise_scale(seen), estimate_noise_scale(scaled)
    assert (other.value, other.low, other.high) == pytest.approx((one.value, one.low, one.high))
    assert math.isfinite(one.high)
