"""This trainer's step as a workload that the advisor can measure: same net, loss, optimizer, EMA.

Data are random of the right shape: neither memory nor time depends on what a picture shows, and a
measurement must not wait for a data set.
"""

import logging
from typing import Any

import torch
from torch import Tensor, nn

from advisor.workload.protocol import Workload
from trainer.compiled import Compiled
from trainer.config import Precision
from trainer.diffusion import NUM_TIMES, Objective
from trainer.ema import Ema
from trainer.model import autocast_dtype, build_model, make_optimizer
from trainer.presets import preset_named
from trainer.sampling import generate

log = logging.getLogger(__name__)


class _Average:
    """The weight averages, moving on by one batch at each update."""

    def __init__(self, model: nn.Module) -> None:
        self._ema = Ema(model, (10_000, 20_000))
        self.tensors = list(self._ema.named_tensors().values())

    def update(self) -> None:
        """Average as a training step does."""
        self._ema.update(samples_seen=10_000, batch=32)


def _say_not_compiled(problem: str) -> None:
    log.warning("the network could not be compiled, it is measured as it is: %s", problem)


def make(
    device: str,
    *,
    preset: str,
    channels: int | None = None,
    height: int | None = None,
    width: int | None = None,
    num_classes: int | None = None,
    precision: Precision = "fp32",
    gradient_checkpointing: bool = False,
    compile: bool = False,
) -> Workload:
    """One training step of a preset, on pictures or latents of the given shape.

    Raises:
        UsageError: for an unknown preset or a shape that it cannot take.
    """
    kind = preset_named(preset)
    shape = (channels or kind.default_shape[0], height or kind.default_shape[1], width or kind.default_shape[2])
    classes = num_classes or kind.default_num_classes
    model = build_model(kind, shape, classes, seed=0, device=device, gradient_checkpointing=gradient_checkpointing)
    network: Any = Compiled(model, _say_not_compiled) if compile else model
    objective = Objective(device, min_snr_gamma=5.0)

    def batch(count: int) -> tuple[Tensor, ...]:
        x_BCHW = torch.randn(count, *shape, device=device)
        label_B = torch.randint(classes + 1, (count,), device=device)
        time_B = torch.randint(NUM_TIMES, (count,), device=device)
        return x_BCHW, label_B, time_B, torch.randn_like(x_BCHW)

    return Workload(
        model=model,
        optimizer=make_optimizer(model, lr=kind.reference_lr, beta2=kind.beta2),
        batch=batch,
        loss=lambda _, batch: objective.losses(network, *batch).mean(),
        ema=_Average(model),
        eval_step=lambda: generate(model, torch.arange(min(classes, 16)), seed=0, num_steps=2, guidance=1.5),
        clip_norm=1.0,
        real_data=False,
        autocast_dtype=autocast_dtype(precision),
    )
