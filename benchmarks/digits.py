"""A small denoiser on the bundled digits, trained by the trainer's own step: what several benchmarks train.

``mlp`` is a plain network of 0.3 M parameters whose step takes a few milliseconds, so that a grid of runs is
affordable; ``tiny`` is the trainer's own preset. Draws, objective, schedule, averages and validation are the trainer's.
"""

import dataclasses
import math
import platform
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainer.config import NO_VAE, TrainConfig
from trainer.data import load_pictures, split_pictures
from trainer.diffusion import NUM_TIMES, Objective
from trainer.ema import Ema
from trainer.latents import Pixels
from trainer.loop import Stepper, TrainingData
from trainer.model import build_model, make_optimizer
from trainer.order import draw_seed
from trainer.plan import default_warmup
from trainer.presets import PRESETS
from trainer.state import TrainState
from trainer.validation import ValidationSet, best_ema_width, fixed_tuples

SIDE, NUM_CLASSES = 8, 10
DATA_SEED = 42  # which digits are held out, and the noise of validation: the same for every run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Digits:
    """Training data and fixed validation tuples."""

    train: TrainingData
    held_out: ValidationSet


def load_digits() -> Digits:
    pictures = load_pictures("digits", SIDE)
    chosen = split_pictures(pictures.labels, 0.1, DATA_SEED)
    x_NCHW, label_N = Pixels().encode(pictures.pixels), torch.from_numpy(pictures.labels)
    train, held = torch.from_numpy(chosen.train), torch.from_numpy(chosen.held_out)
    held_out = fixed_tuples(x_NCHW[held], label_N[held], DATA_SEED)
    assert held_out is not None
    return Digits(train=TrainingData(x_NCHW=x_NCHW[train], label_N=label_N[train]), held_out=held_out)


def config(*, batch: int, lr: float, samples: int, seed: int, accumulation: int = 1, beta2: float = 0.99,
           warmup_samples: int | None = None, decay_frac: float = 0.3) -> TrainConfig:  # fmt: skip
    """A run of so many samples; what is not given follows the trainer's defaults."""
    warmup = default_warmup(samples, beta2, batch) if warmup_samples is None else warmup_samples
    return TrainConfig(
        source="digits", image_size=SIDE, vae=NO_VAE, preset="tiny", micro_batch=batch // accumulation,
        accumulation=accumulation, lr=lr, beta2=beta2, warmup_samples=warmup, decay_frac=decay_frac,
        ema_half_lives_samples=(samples // 20, samples // 10), samples=samples, seed=seed,
        checkpoint_every_samples=samples, validate_every_samples=samples,
    )  # fmt: skip


def new_state(plan: TrainConfig, network: str) -> TrainState:
    model: Any
    if network == "mlp":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draw_seed("init", plan.seed))
            model = Mlp()
    else:
        model = build_model(PRESETS[network], (1, SIDE, SIDE), NUM_CLASSES, seed=plan.seed)
    optimizer = make_optimizer(model, lr=plan.lr, beta1=plan.beta1, beta2=plan.beta2, weight_decay=plan.weight_decay)
    return TrainState(model, Ema(model, plan.ema_half_lives_samples), optimizer)


@dataclasses.dataclass(kw_only=True)
class Trained:
    """Validation losses of the better average, by samples seen."""

    curve: list[tuple[int, float]]

    @property
    def final_loss(self) -> float:
        return self.curve[-1][1]

    @property
    def lowest_loss(self) -> float:
        return min(loss for _, loss in self.curve)

    def samples_to(self, loss: float) -> float | None:
        """Samples until the validation loss was first this low, by interpolation of its logarithm."""
        for (before, high), (after, low) in zip(self.curve, self.curve[1:]):
            if low <= loss:
                frac = (math.log(high) - math.log(loss)) / (math.log(high) - math.log(low))
                return before + max(0.0, frac) * (after - before)
        return None


def train_digits(
    digits: Digits, plan: TrainConfig, *, network: str, num_validations: int = 1,
    around_step: Callable[[Stepper, TrainState], None] | None = None,
) -> Trained:  # fmt: skip
    """Train to the end; the loss is infinite if it diverges."""
    state = new_state(plan, network)
    stepper = Stepper(state, digits.train, plan)
    objective, scratch = Objective("cpu", plan.min_snr_gamma), new_state(plan, network).model
    run = around_step or (lambda stepper, _: _one_step(stepper))
    curve: list[tuple[int, float]] = []
    state.model.train()
    while state.samples_seen < plan.samples:
        before = state.samples_seen
        run(stepper, state)
        every = plan.samples / num_validations
        if state.samples_seen >= plan.samples or int(before / every) != int(state.samples_seen / every):
            width, losses = best_ema_width(scratch, state.ema, digits.held_out, objective)
            curve.append((state.samples_seen, losses[width] if math.isfinite(losses[width]) else math.inf))
    return Trained(curve=curve)


def _one_step(stepper: Stepper) -> None:
    stepper.step()


class Mlp(nn.Module):
    """Time and class embeddings added in each of three residual blocks; called like diffusers' nets."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.config = {"num_class_embeds": NUM_CLASSES + 1}
        frequency_F = torch.exp(torch.linspace(0.0, math.log(NUM_TIMES), width // 4)) * 2 * math.pi / NUM_TIMES
        self.register_buffer("frequency_F", frequency_F, persistent=False)
        self.time = nn.Sequential(nn.Linear(width // 2, width), nn.SiLU())
        self.label = nn.Embedding(NUM_CLASSES + 1, width)
        self.first = nn.Linear(SIDE * SIDE, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU()) for _ in range(3)
        )
        self.last = nn.Linear(width, SIDE * SIDE)

    @property
    def device(self) -> torch.device:
        return self.last.weight.device

    def forward(self, z_BCHW: Tensor, time_B: Tensor, class_labels: Tensor, return_dict: bool) -> tuple[Tensor]:
        angle_BF = time_B[:, None].float() * self.frequency_F
        condition_BF = self.time(torch.cat([angle_BF.sin(), angle_BF.cos()], dim=1)) + self.label(class_labels)
        h_BF = self.first(z_BCHW.flatten(1))
        for block in self.blocks:
            h_BF = h_BF + block(h_BF + condition_BF)
        return (self.last(h_BF).view_as(z_BCHW),)


def machine() -> dict[str, Any]:
    """Where a benchmark was run."""
    from advisor.hardware.probe import probe

    host = probe().host
    return {
        "cpu": host.cpu_name,
        "num_cores": host.num_cores,
        "load_average": host.load_average,
        "os": platform.system(),
        "python": host.python_version,
        "torch": host.torch_version,
        "torch_threads": torch.get_num_threads(),
    }
