"""A network, data and configuration small enough for a unit test; everything in them is real."""

import torch

from trainer.config import TrainConfig
from trainer.ema import Ema
from trainer.loop import TrainingData
from trainer.model import build_model, make_optimizer
from trainer.presets import PRESETS, UNetPreset
from trainer.state import TrainState

SMALL = UNetPreset(
    block_channels=(8, 16),
    attention=(False, True),
    layers_per_block=1,
    head_channels=8,
    norm_groups=4,
    reference_batch=16,
    reference_lr=1e-3,
    beta2=0.99,
    default_shape=(1, 8, 8),
    default_num_classes=4,
    summary="for tests",
)
NUM_CLASSES = 4


def small_config(**changes) -> TrainConfig:
    """A valid configuration; give what matters to the test."""
    values = {
        "source": "digits", "image_size": 8, "preset": next(iter(PRESETS)), "micro_batch": 16, "accumulation": 1,
        "lr": 1e-3, "warmup_samples": 32, "ema_half_lives_samples": (80, 160), "samples": 800,
        "checkpoint_every_samples": 160, "validate_every_samples": 160, "seed": 7,
    }  # fmt: skip
    return TrainConfig(**{**values, **changes})


def small_state(config: TrainConfig, seed: int = 0) -> TrainState:
    """A state before its first step."""
    model = build_model(SMALL, (1, 8, 8), NUM_CLASSES, seed=seed)
    average, optimizer = Ema(model, config.ema_half_lives_samples), make_optimizer(model, lr=config.lr)
    return TrainState(model, average, optimizer, config.precision)


def small_data(num_items: int = 40) -> TrainingData:
    """Random pictures with labels."""
    source = torch.Generator().manual_seed(1)
    return TrainingData(
        x_NCHW=torch.randn(num_items, 1, 8, 8, generator=source),
        label_N=torch.randint(NUM_CLASSES, (num_items,), generator=source),
    )
