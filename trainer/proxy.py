"""Short trainings for the search of ``cfgadvise refine``: one learning rate, one seed, one validation loss.

Everything of the run is kept but its length: warm-up, decay and averages are compressed with it. Nothing is
written to disk, and nothing of one training reaches the next.
"""

import dataclasses
import math
from typing import Any

import torch

from advisor import schema
from advisor.errors import DataError, DeviceError
from advisor.refine.objective import Order, Outcome, Report
from trainer.config import TrainConfig, config_from
from trainer.data import load_pictures, split_pictures
from trainer.diffusion import Objective
from trainer.ema import Ema
from trainer.latents import encoded, load_codec
from trainer.loop import Stepper, TrainingData
from trainer.model import build_model, make_optimizer
from trainer.plan import default_warmup
from trainer.presets import preset_named
from trainer.reporting import PeakMemory
from trainer.state import TrainState
from trainer.validation import ValidationSet, best_ema_width, fixed_tuples

REPORTS = (0.4, 0.6, 0.8, 1.0)  # shares of a training after which it is validated; before, its rank says nothing


def make(device: str, **values: Any) -> "ProxyTraining":
    """The training of a configuration, given as its plain values; pictures are decoded once.

    Raises:
        UsageError: if the values are no configuration.
        DataError: if the pictures cannot be used, or none can be held out.
    """
    return ProxyTraining(config_from(values, where="configuration of the search"), device)


class ProxyTraining:
    """Trains a configuration shortened, at any learning rate and seed."""

    def __init__(self, config: TrainConfig, device: str) -> None:
        self._config, self._device = config, torch.device(device)
        self._pictures = load_pictures(config.source, config.image_size)
        codec = load_codec(config.vae, self._device)
        self._x_NCHW = encoded(self._pictures, codec, config.image_size).to(self._device)
        self._label_N = torch.from_numpy(self._pictures.labels).to(self._device)
        self._objective = Objective(self._device, config.min_snr_gamma)

    def __call__(self, order: Order, report: Report) -> Outcome:
        """Validation loss of the better average after ``order.samples``; ``None`` if a loss was not finite."""
        config = shortened(self._config, order)
        data, held_out = self._split(order.seed)
        state, memory = self._new_state(config), PeakMemory(self._device)
        scratch = self._new_state(config).model.eval().requires_grad_(False)
        stepper = Stepper(state, data, config, shrink_on_oom=False)
        state.model.train()
        loss = math.inf
        try:
            for share in REPORTS:
                while state.samples_seen < share * config.samples:
                    train_loss, _, _ = stepper.step()
                width, losses = best_ema_width(scratch, state.ema, held_out, self._objective)
                loss = losses[width]
                if not (math.isfinite(loss) and math.isfinite(float(train_loss))):
                    return Outcome(loss=None)
                if share < 1:
                    report(state.samples_seen, loss)
        except (DeviceError, torch.OutOfMemoryError):
            return Outcome(loss=None, fits=False)
        return Outcome(loss=loss, peak_bytes=memory.read()["peak_reserved_bytes"])

    def _split(self, seed: int) -> tuple[TrainingData, ValidationSet]:
        split = split_pictures(self._pictures.labels, self._config.held_out_frac, seed)
        train_N, held_N = (torch.from_numpy(part).to(self._device) for part in (split.train, split.held_out))
        held_out = fixed_tuples(self._x_NCHW[held_N], self._label_N[held_N], seed)
        if held_out is None:
            raise DataError(f"{self._config.source}: no picture is held out, so two trainings cannot be compared")
        return TrainingData(x_NCHW=self._x_NCHW[train_N], label_N=self._label_N[train_N]), held_out

    def _new_state(self, config: TrainConfig) -> TrainState:
        shape = (self._x_NCHW.shape[1], self._x_NCHW.shape[2], self._x_NCHW.shape[3])
        num_classes = len(self._pictures.classes)
        model = build_model(preset_named(config.preset), shape, num_classes, seed=config.seed, device=self._device)
        optimizer = make_optimizer(
            model, lr=config.lr, beta1=config.beta1, beta2=config.beta2, weight_decay=config.weight_decay
        )
        return TrainState(model, Ema(model, config.ema_half_lives_samples), optimizer, config.precision)


def shortened(config: TrainConfig, order: Order) -> TrainConfig:
    """The configuration at another learning rate, seed and length, its schedule of the same shape."""
    ratio = order.samples / config.samples
    warmup = default_warmup(order.samples, config.beta2, config.effective_batch)
    narrow, wide = (max(1, round(ratio * one)) for one in config.ema_half_lives_samples)
    return dataclasses.replace(
        config,
        lr=order.lr,
        seed=order.seed,
        samples=order.samples,
        warmup_samples=min(config.warmup_samples, warmup),
        ema_half_lives_samples=(narrow, wide),
    )


def search_identity(config: TrainConfig, num_items: int, num_classes: int) -> dict[str, object]:
    """What makes two searches the same, on any machine: everything but where the pictures lie."""
    plain: dict[str, object] = schema.to_plain(config)
    free = ("source", "lr", "samples", "seed", "num_milestones", "checkpoint_every_samples", "keep_checkpoints")
    kept = {name: value for name, value in plain.items() if name not in free}
    return {**kept, "num_items": num_items, "num_classes": num_classes}
