"""The denoising network, diffusers' ``UNet2DModel`` or ``DiTTransformer2DModel``, and its optimizer.

Both take ``(x_BCHW, time_B, class_labels=label_B)``, know a null class, and predict v.
"""

from typing import Any, TypeAlias

import torch
from diffusers.models.embeddings import LabelEmbedding
from diffusers.models.transformers.dit_transformer_2d import DiTTransformer2DModel
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import nn

from advisor.errors import UsageError
from trainer.config import Precision
from trainer.order import draw_seed
from trainer.presets import DiTPreset, UNetPreset

Denoiser: TypeAlias = UNet2DModel | DiTTransformer2DModel


def build_model(
    preset: UNetPreset | DiTPreset,
    shape: tuple[int, int, int],
    num_classes: int,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    gradient_checkpointing: bool = False,
) -> Denoiser:
    """A freshly initialised network; the same seed gives the same weights on every device.

    Args:
        preset: widths and depths.
        shape: channels, height and width of what it denoises (pictures or latents).
        num_classes: real classes; class ``num_classes`` is the null class of guidance.
        seed: of the initial weights.
        device: where the network is put.
        gradient_checkpointing: whether activations inside its blocks are computed anew in the backward
            pass instead of being kept: the same numbers, less memory, more time.

    Raises:
        UsageError: if the preset cannot take the height and width.
    """
    _require_shape(preset, shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw_seed("init", seed))
        if isinstance(preset, DiTPreset):
            model: Denoiser = _transformer(preset, shape, num_classes)
        else:
            model = _unet(preset, shape, num_classes)
    if gradient_checkpointing:
        model.enable_gradient_checkpointing()
    nn.Module.to(model, device)  # diffusers' own `to` has lost its types
    return model


def _require_shape(preset: UNetPreset | DiTPreset, shape: tuple[int, int, int]) -> None:
    _, height, width = shape
    if height % preset.size_multiple or width % preset.size_multiple:
        raise UsageError(
            f"this preset needs a size that is a multiple of {preset.size_multiple}, found {height}x{width}; "
            "choose another image_size"
        )
    if isinstance(preset, DiTPreset) and height != width:
        raise UsageError(f"a DiT takes squares only, found {height}x{width}; choose a UNet preset")


def _unet(preset: UNetPreset, shape: tuple[int, int, int], num_classes: int) -> UNet2DModel:
    channels, height, width = shape
    model: UNet2DModel = UNet2DModel(
        sample_size=(height, width),
        in_channels=channels,
        out_channels=channels,
        block_out_channels=preset.block_channels,
        layers_per_block=preset.layers_per_block,
        down_block_types=tuple("AttnDownBlock2D" if attend else "DownBlock2D" for attend in preset.attention),
        up_block_types=tuple("AttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(preset.attention)),
        attention_head_dim=preset.head_channels,
        norm_num_groups=preset.norm_groups,
        num_class_embeds=num_classes + 1,
    )
    return model


def _transformer(preset: DiTPreset, shape: tuple[int, int, int], num_classes: int) -> DiTTransformer2DModel:
    channels, side, _ = shape
    model: Any = DiTTransformer2DModel(
        sample_size=side,
        in_channels=channels,
        num_layers=preset.num_layers,
        num_attention_heads=preset.num_heads,
        attention_head_dim=preset.head_channels,
        patch_size=preset.patch_pixels,
        num_embeds_ada_norm=num_classes,  # diffusers adds the null class itself
    )
    # Every block starts as the identity and the output at zero (arXiv 2212.09748, section 3.2, adaLN-Zero).
    # diffusers leaves that to whoever trains.
    for layer in (*(block.norm1.linear for block in model.transformer_blocks), model.proj_out_1, model.proj_out_2):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    for module in model.modules():
        if isinstance(module, LabelEmbedding):
            module.dropout_prob = 0.0  # labels are dropped by the run's own draws, which a resumed run repeats
    transformer: DiTTransformer2DModel = model
    return transformer


def null_class(model: Denoiser) -> int:
    """The label that means "any class"."""
    if isinstance(model, DiTTransformer2DModel):
        return int(model.config["num_embeds_ada_norm"])
    return int(model.config["num_class_embeds"]) - 1


def sample_shape(model: Denoiser) -> tuple[int, int, int]:
    """Channels, height and width of what the network denoises."""
    size, channels = model.config["sample_size"], int(model.config["in_channels"])
    height, width = (size, size) if isinstance(size, int) else size
    return channels, int(height), int(width)


def autocast_dtype(precision: Precision) -> torch.dtype | None:
    """What the loss is computed in; ``None``: in the weights' own type."""
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def make_optimizer(
    model: nn.Module, *, lr: float, beta1: float = 0.9, beta2: float = 0.99, weight_decay: float = 0.01
) -> torch.optim.AdamW:
    """AdamW, fused: the same numbers in one pass over the weights (measured 1.07x on a CPU step)."""
    return torch.optim.AdamW(model.parameters(), lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, fused=True)
