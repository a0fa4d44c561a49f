"""Real VAEs with random weights, small enough for a unit test."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny


def save_kl(folder: Path) -> None:
    """Latents of half the size with four channels."""
    torch.manual_seed(0)
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.5,
    ).save_pretrained(folder)


def save_tiny(folder: Path) -> None:
    """The same without a posterior."""
    torch.manual_seed(0)
    blocks = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    AutoencoderTiny(
        **blocks, num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1), upsampling_scaling_factor=2
    ).save_pretrained(folder)
