"""Everything that decides a training run, in one frozen record, and the presets it starts from.

Importing this file loads no torch, so that the command line can check a configuration at once.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import tomlkit
import tomlkit.exceptions

from advisor import schema
from advisor.errors import UsageError
from advisor.records import record

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
class Preset:
    """A network that adapts to the data, with the setting that it was first tuned at.

    ``reference_lr`` belongs to ``reference_batch``; other batches are scaled from there.
    """

    head_channels: int
    reference_batch: int
    reference_lr: float
    beta2: float
    default_shape: tuple[int, int, int]
    default_num_classes: int
    summary: str

    @property
    def size_multiple(self) -> int:
        """Height and width of what the network sees must be multiples of this."""
        raise NotImplementedError


@record
class UNetPreset(Preset):
    """Convolutions at several sizes.

    ``attention`` says for each level whether its blocks attend; levels halve the picture's size.
    """

    block_channels: tuple[int, ...]
    attention: tuple[bool, ...]
    layers_per_block: int
    norm_groups: int

    @property
    def size_multiple(self) -> int:
        """Each level but the first halves the size."""
        return int(2 ** (len(self.block_channels) - 1))


@record
class DiTPreset(Preset):
    """A transformer over square patches, conditioned by adaptive norms: Peebles & Xie, arXiv 2212.09748.

    Its width is ``num_heads * head_channels``.
    """

    num_layers: int
    num_heads: int
    patch_pixels: int

    @property
    def size_multiple(self) -> int:
        """Whole patches only."""
        return self.patch_pixels


PRESETS: dict[str, UNetPreset | DiTPreset] = {
    "tiny": UNetPreset(
        block_channels=(32, 64, 64),
        attention=(False, False, True),
        layers_per_block=1,
        head_channels=16,
        norm_groups=8,
        reference_batch=32,
        reference_lr=1e-3,
        beta2=0.99,
        default_shape=(1, 8, 8),
        default_num_classes=10,
        summary="1.1 M parameters: small pictures on a few CPU cores",
    ),
    "gait48": UNetPreset(
        block_channels=(48, 96, 192),
        attention=(False, True, True),
        layers_per_block=2,
        head_channels=32,
        norm_groups=16,
        reference_batch=16,
        reference_lr=1e-4,
        beta2=0.99,
        default_shape=(4, 32, 32),
        default_num_classes=31,
        summary="width 48, multipliers 1-2-4: 4x32x32 latents of about 1,500 pictures on one older GPU",
    ),
    "base": UNetPreset(
        block_channels=(128, 256, 256),
        attention=(False, True, True),
        layers_per_block=2,
        head_channels=64,
        norm_groups=32,
        reference_batch=64,
        reference_lr=2e-4,
        beta2=0.99,
        default_shape=(3, 64, 64),
        default_num_classes=10,
        summary="width 128: 64-pixel pictures or larger latents on a GPU with 12 GiB or more",
    ),
    "dit-tiny": DiTPreset(
        num_layers=3,
        num_heads=3,
        head_channels=32,
        patch_pixels=2,
        reference_batch=32,
        reference_lr=1e-3,
        beta2=0.99,
        default_shape=(1, 8, 8),
        default_num_classes=10,
        summary="transformer of 0.6 M parameters: small pictures on a few CPU cores",
    ),
    "dit-s": DiTPreset(
        num_layers=12,
        num_heads=6,
        head_channels=64,
        patch_pixels=2,
        reference_batch=256,
        reference_lr=1e-4,  # section 4 of the paper, for every size
        beta2=0.999,
        default_shape=(4, 32, 32),
        default_num_classes=1000,
        summary="DiT-S/2: transformer of width 384 on latents, for a GPU and many pictures",
    ),
}


def preset_named(name: str) -> UNetPreset | DiTPreset:
    """The preset of that name.

    Raises:
        UsageError: naming the known presets and the nearest one.
    """
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise UsageError(f"unknown preset {name!r}; known: {known}{schema.nearest_name(name, PRESETS)}")
    return PRESETS[name]


def reference_lr(preset: Preset, effective_batch: int) -> float:
    """Learning rate of a preset at another batch: the square-root rule from its reference point.

    Malladi et al., arXiv 2205.10287: Adam-type learning rates follow the square root of the batch.
    """
    return preset.reference_lr * math.sqrt(effective_batch / preset.reference_batch)


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


def parse_overrides(assignments: list[str]) -> dict[str, Any]:
    """Values of ``--set key=value``, read as TOML values; a bare word is a text.

    Raises:
        UsageError: for an unknown key (naming the nearest) or a missing ``=``.
    """
    known = {f.name for f in dataclasses.fields(TrainConfig)}
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        name = key.strip().rpartition(".")[2]
        if not equals or name not in known:
            why = "write --set key=value" if not equals else f"unknown key{schema.nearest_name(name, known)}"
            raise UsageError(f"--set {assignment}: {why}")
        try:
            values[name] = tomlkit.value(text.strip()).unwrap()
        except tomlkit.exceptions.TOMLKitError:
            values[name] = text.strip()
    return values


def read_values(path: Path) -> dict[str, Any]:
    """The keys of a configuration file, flat; sections are for people only.

    Raises:
        UsageError: if the file is missing, is not TOML or holds an unknown section.
    """
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")).unwrap()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (tomlkit.exceptions.TOMLKitError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML ({error})") from None
    values: dict[str, Any] = {}
    for section, content in document.items():
        if not isinstance(content, dict):
            values[section] = content
        elif section in SECTIONS:
            values.update(content)
        else:
            raise UsageError(f"{path}: unknown section [{section}]{schema.nearest_name(section, SECTIONS)}")
    return values


def config_from(values: Mapping[str, Any], *, where: str) -> TrainConfig:
    """A checked configuration from flat values.

    Raises:
        UsageError: with all problems in one message.
    """
    return require_valid(schema.from_plain(TrainConfig, dict(values), where=where), where)


def to_toml(config: TrainConfig, why: Mapping[str, str]) -> str:
    """The configuration as TOML, with a comment on each line that says why it has this value."""
    document = tomlkit.document()
    plain = schema.to_plain(config)
    for section, names in SECTIONS.items():
        table = tomlkit.table()
        for name in names:
            item = tomlkit.item(plain[name])
            if name in why:
                item.comment(why[name])
            table.add(name, item)
        document.add(section, table)
    return tomlkit.dumps(document)


def updated_toml(text: str, config: TrainConfig) -> str:
    """A configuration file with new values; its comments and layout stay."""
    document, plain = tomlkit.parse(text), schema.to_plain(config)
    for section, names in SECTIONS.items():
        table = document.setdefault(section, tomlkit.table())
        for name in names:
            if table.get(name) != plain[name]:
                table[name] = plain[name]
    return tomlkit.dumps(document)


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
