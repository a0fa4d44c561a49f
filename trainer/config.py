"""Everything that decides a training run, in one frozen record.

Importing this file loads no torch, so that the command line can check a configuration at once.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

from advisor import schema
from advisor.errors import UsageError
from advisor.records import record
from trainer.presets import PRESETS

BUNDLED_DIGITS = "digits"
NO_VAE = "none"
HELD_OUT_FRAC = 0.1

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

# What each way to save memory changes in a configuration, and in the parameters of ``trainer.workload:make``.
MEMORY_SAVERS: dict[str, dict[str, Any]] = {
    "checkpointing": {"gradient_checkpointing": True},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16"},
}


@record
class TrainConfig:
    """One training run. ``samples`` counts pictures seen; every schedule is in samples.

    ``ema_half_lives_samples`` gives the two widths of the weight average; the one with the lower
    validation loss is exported.
    """

    # [data]
    source: str
    image_size: int
    vae: str = NO_VAE
    held_out_frac: float = HELD_OUT_FRAC
    # [model]
    preset: str
    label_dropout: float = 0.1
    min_snr_gamma: float = 5.0
    precision: Precision = "fp32"
    gradient_checkpointing: bool = False
    compile: bool = False
    # [batch]
    micro_batch: int
    accumulation: int
    # [optimizer]
    lr: float
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    warmup_samples: int
    decay_frac: float = 0.3
    ema_half_lives_samples: tuple[int, int]
    # [run]
    samples: int
    seed: int = 42
    num_milestones: int = 5
    checkpoint_every_samples: int
    validate_every_samples: int
    keep_checkpoints: int = 3
    # [sampling]
    sampling_steps: int = 20
    guidance: float = 1.5

    @property
    def effective_batch(self) -> int:
        """Samples an optimizer step sees."""
        return self.micro_batch * self.accumulation

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole run; the last one may go past ``samples`` by a part of a batch."""
        return math.ceil(self.samples / self.effective_batch)

    def problems(self) -> list[str]:
        """Everything that is wrong with the values, each as one sentence."""
        found = [
            f"{name} must be at least {low}, found {value}" for name, value, low in self._lower_bounds() if value < low
        ]
        for name in ("held_out_frac", "label_dropout", "decay_frac"):
            if not 0 <= getattr(self, name) < 1:
                found.append(f"{name} must be from 0 to below 1, found {getattr(self, name)}")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                found.append(f"{name} must be from 0 to below 1, found {getattr(self, name)}")
        for name in ("lr", "clip_norm", "min_snr_gamma"):
            if not 0 < getattr(self, name) < math.inf:
                found.append(f"{name} must be a positive number, found {getattr(self, name)}")
        if self.preset not in PRESETS:
            found.append(f"unknown preset {self.preset!r}{schema.nearest_name(self.preset, PRESETS)}")
        elif self.vae == NO_VAE and self.image_size % PRESETS[self.preset].size_multiple:
            multiple = PRESETS[self.preset].size_multiple
            found.append(
                f"image_size must be a multiple of {multiple} for preset {self.preset}, found {self.image_size}"
            )
        return found

    def _lower_bounds(self) -> list[tuple[str, float, float]]:
        lows = {
            "image_size": 4, "micro_batch": 1, "accumulation": 1, "samples": 1, "warmup_samples": 0,
            "num_milestones": 1, "checkpoint_every_samples": 1, "validate_every_samples": 1,
            "keep_checkpoints": 2, "sampling_steps": 1, "guidance": 0, "weight_decay": 0,
        }  # fmt: skip
        bounds = [(name, getattr(self, name), low) for name, low in lows.items()]
        return [*bounds, *(("ema_half_lives_samples", value, 1) for value in self.ema_half_lives_samples)]


SECTIONS: dict[str, tuple[str, ...]] = {
    "data": ("source", "image_size", "vae", "held_out_frac"),
    "model": ("preset", "label_dropout", "min_snr_gamma", "precision", "gradient_checkpointing", "compile"),
    "batch": ("micro_batch", "accumulation"),
    "optimizer": (
        "lr", "beta1", "beta2", "weight_decay", "clip_norm", "warmup_samples", "decay_frac", "ema_half_lives_samples",
    ),
    "run": (
        "samples", "seed", "num_milestones", "checkpoint_every_samples", "validate_every_samples", "keep_checkpoints",
    ),
    "sampling": ("sampling_steps", "guidance"),
}  # fmt: skip

# What may change between two parts of one run: none of these moves a weight.
FREE_ON_RESUME = frozenset(
    {
        "num_milestones", "checkpoint_every_samples", "validate_every_samples", "keep_checkpoints",
        "gradient_checkpointing", *SECTIONS["sampling"],
    }
)  # fmt: skip


def require_valid(config: TrainConfig, where: str) -> TrainConfig:
    """The same configuration, if every value makes sense.

    Raises:
        UsageError: with all problems in one message.
    """
    problems = config.problems()
    if problems:
        raise UsageError(f"{where}: " + "; ".join(problems))
    return config


def config_from(values: Mapping[str, Any], *, where: str) -> TrainConfig:
    """A checked configuration from flat values.

    Raises:
        UsageError: with all problems in one message.
    """
    return require_valid(schema.from_plain(TrainConfig, dict(values), where=where), where)


def changed_fields(old: TrainConfig, new: TrainConfig) -> list[str]:
    """What differs between two configurations and would make them different runs.

    Micro-batch and accumulation may change while their product stays: the draws are made for the
    whole effective batch.
    """
    changed = []
    for field in dataclasses.fields(TrainConfig):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before == after or field.name in FREE_ON_RESUME:
            continue
        if field.name in SECTIONS["batch"] and old.effective_batch == new.effective_batch:
            continue
        changed.append(f"{field.name} was {before}, is now {after}")
    return changed
