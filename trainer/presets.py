"""Networks that a run may start from, each with the setting that it was first tuned at."""

import math

from advisor import schema
from advisor.errors import UsageError
from advisor.records import record


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
