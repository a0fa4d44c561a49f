"""This trainer's step as a workload that the advisor can measure: same net, loss, optimizer, EMA.

It trains on the pictures that :mod:`trainer.kept_pictures` keeps, drawn and resident as in a run; where there are
none, on random ones of the right shape: neither memory nor time depends on what a picture shows, the gradient's noise
does.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from advisor.workload.protocol import Workload
from trainer.compiled import Compiled
from trainer.config import Precision
from trainer.diffusion import NUM_TIMES, Objective
from trainer.ema import Ema
from trainer.kept_pictures import kept
from trainer.latents import Pixels
from trainer.model import autocast_dtype, build_model, make_optimizer, null_class
from trainer.order import draws
from trainer.presets import preset_named
from trainer.rehearsal import rehearsals
from trainer.sampling import generate

log = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor, Tensor, Tensor]  # pictures, labels, times, noise


class _Average:
    """The weight averages, moving on by one batch at each update."""

    def __init__(self, model: nn.Module) -> None:
        self.ema = Ema(model, (10_000, 20_000))
        self.tensors = list(self.ema.named_tensors().values())

    def update(self) -> None:
        """Average as a training step does."""
        self.ema.update(samples_seen=10_000, batch=32)


class _Pictures:
    """Batches of the kept pictures as :mod:`trainer.loop` draws them; the pictures are resident on the device."""

    def __init__(self, name: str, device: str, null: int, label_dropout: float) -> None:
        self._device, self._null, self._drop = device, null, label_dropout
        x_NCHW, label_N = kept(name)
        pixels = x_NCHW.dtype == "uint8"
        self._x_NCHW = (Pixels().encode(x_NCHW) if pixels else torch.from_numpy(x_NCHW)).to(self._device)
        self._label_N = torch.from_numpy(label_N).to(self._device)
        self._samples_seen = 0

    def __call__(self, count: int) -> Batch:
        """The next so many samples of the run."""
        _, channels, height, width = self._x_NCHW.shape
        draw = draws(
            seed=0,
            num_items=len(self._label_N),
            samples_seen=self._samples_seen,
            batch=count,
            shape=(channels, height, width),
            num_times=NUM_TIMES,
            drop=self._drop,
        )
        self._samples_seen += count
        item_B, time_B, noise_BCHW, drop_B = (
            one.to(self._device, non_blocking=True)
            for one in (draw.item_B, draw.time_B, draw.noise_BCHW, draw.drop_label_B)
        )
        return self._x_NCHW[item_B], torch.where(drop_B, self._null, self._label_N[item_B]), time_B, noise_BCHW


def _made_up(device: str, shape: tuple[int, int, int], num_classes: int) -> Callable[[int], Batch]:
    def batch(count: int) -> Batch:
        x_BCHW = torch.randn(count, *shape, device=device)
        label_B = torch.randint(num_classes + 1, (count,), device=device)
        time_B = torch.randint(NUM_TIMES, (count,), device=device)
        return x_BCHW, label_B, time_B, torch.randn_like(x_BCHW)

    return batch


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
    label_dropout: float = 0.1,
    min_snr_gamma: float = 5.0,
    data: str | None = None,
) -> Workload:
    """One training step of a preset, on pictures or latents of the given shape; ``data`` names those that are kept.

    Raises:
        UsageError: for an unknown preset or a shape that it cannot take.
        StorageError: if the pictures are not kept any more.
    """
    kind = preset_named(preset)
    shape = (channels or kind.default_shape[0], height or kind.default_shape[1], width or kind.default_shape[2])
    classes = num_classes or kind.default_num_classes
    model = build_model(kind, shape, classes, seed=0, device=device, gradient_checkpointing=gradient_checkpointing)
    network: Any = Compiled(model, _say_not_compiled) if compile else model
    optimizer, average = make_optimizer(model, lr=kind.reference_lr, beta2=kind.beta2), _Average(model)
    objective, batch = Objective(device, min_snr_gamma), _made_up(device, shape, classes)
    if data is not None:
        batch = _Pictures(data, device, null_class(model), label_dropout)
    return Workload(
        model=model,
        optimizer=optimizer,
        batch=batch,
        loss=lambda _, batch: objective.losses(network, *batch).mean(),
        ema=average,
        eval_step=lambda: generate(model, torch.arange(min(classes, 16)), seed=0, num_steps=2, guidance=1.5),
        clip_norm=1.0,
        real_data=data is not None,
        autocast_dtype=autocast_dtype(precision),
        rehearsals=rehearsals(model, average.ema, optimizer, objective, batch, classes),
    )
