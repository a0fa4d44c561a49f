"""Pictures from noise: diffusers' schedulers with classifier-free guidance, and grids of them.

Shapes: B pictures, C channels, H and W height and width.
"""

import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from trainer.amounts import BAND_COLUMNS, grid_rows
from trainer.diffusion import SCHEDULER_CONFIG
from trainer.model import Denoiser, null_class, sample_shape
from trainer.oom import Pieces
from trainer.order import generator

SamplerName = Literal["dpm++", "ddim"]
_BATCH, _MIN_BATCH = 250, 8
_CPU_POSITIONS = 2**14  # pixels or latents of a batch: more no longer stay in a CPU's caches
_MIN_TILE_PIXELS = 64
_GAP, _HEAD = 4, 20
_ENLARGE = Image.Resampling.BICUBIC


def make_scheduler(sampler: SamplerName = "dpm++") -> Any:
    """DPM-Solver++ (2M; Lu et al., arXiv 2211.01095), the default for speed, or DDIM.

    Times are spaced "trailing", so that sampling starts at the noisiest one: Lin et al., arXiv
    2305.08891, section 3.3.
    """
    kind = DPMSolverMultistepScheduler if sampler == "dpm++" else DDIMScheduler
    config = dict(SCHEDULER_CONFIG, timestep_spacing="trailing")
    return kind(**config, clip_sample=False) if kind is DDIMScheduler else kind(**config)


@torch.no_grad()
def generate(
    model: Denoiser,
    label_B: Tensor,
    *,
    seed: int,
    num_steps: int,
    guidance: float,
    sampler: SamplerName = "dpm++",
    pieces: Pieces | None = None,
) -> Tensor:
    """Samples of the given classes ``[B, C, H, W]`` on the model's device; the same seed gives the same.

    ``guidance`` 1 is the conditional model itself; larger values trade variety for likeness to the
    class: Ho & Salimans, arXiv 2207.12598, eq. 6.
    """
    device = next(model.parameters()).device
    shape_CHW = sample_shape(model)
    noise_BCHW = torch.randn((len(label_B), *shape_CHW), generator=generator("sample", seed))
    was_training = model.training
    model.eval()

    def denoised(x_BCHW: Tensor, label_B: Tensor) -> Tensor:
        return _denoise(model, x_BCHW.to(device), label_B.to(device), make_scheduler(sampler), num_steps, guidance)

    parts = (pieces or Pieces())("sampling", _at_once(device, shape_CHW), denoised, noise_BCHW, label_B)
    model.train(was_training)
    return torch.cat(parts)


def _at_once(device: torch.device, shape_CHW: tuple[int, int, int]) -> int:
    """How many pictures are drawn together.

    On two cores drawing 250 pictures of 32 pixels took 1.3 to 1.5 times as long at once as in batches of 16; of 8
    pixels, 250 at once were best.
    """
    if device.type != "cpu":
        return _BATCH
    _, height, width = shape_CHW
    return max(_MIN_BATCH, min(_BATCH, _CPU_POSITIONS // (height * width)))


def _denoise(
    model: Denoiser, x_BCHW: Tensor, label_B: Tensor, scheduler: Any, num_steps: int, guidance: float
) -> Tensor:
    scheduler.set_timesteps(num_steps, device=x_BCHW.device)
    null_B = torch.full_like(label_B, null_class(model))
    for time in scheduler.timesteps:
        if guidance == 1:
            v_BCHW = model(x_BCHW, time.expand(len(label_B)), class_labels=label_B, return_dict=False)[0]
        else:
            label_2B, time_2B = torch.cat([label_B, null_B]), time.expand(2 * len(label_B))
            both = model(x_BCHW.repeat(2, 1, 1, 1), time_2B, class_labels=label_2B, return_dict=False)
            conditional_BCHW, null_BCHW = both[0].chunk(2)
            v_BCHW = null_BCHW + guidance * (conditional_BCHW - null_BCHW)
        x_BCHW = scheduler.step(v_BCHW, time, x_BCHW).prev_sample
    return x_BCHW


def grid_labels(num_classes: int) -> Tensor:
    """Labels of a grid: rows of one picture of each class, in the classes' order."""
    return torch.arange(num_classes).repeat(grid_rows(num_classes))


def draw_grid(pictures: NDArray[np.uint8], classes: Sequence[str]) -> Image.Image:
    """A grid with one column a class, headed by the class's name; small pictures are enlarged.

    More than 16 classes go on in a further band of columns below.

    Args:
        pictures: uint8 ``[rows * classes, C, H, W]``, row by row.
        classes: names of the columns.
    """
    height, width = pictures.shape[2:]
    zoom = max(1, round(_MIN_TILE_PIXELS / width))
    tile_w, tile_h = width * zoom, height * zoom
    num_rows, num_columns = len(pictures) // len(classes), min(len(classes), BAND_COLUMNS)
    band_h = _HEAD + num_rows * (tile_h + _GAP)
    num_bands = -(-len(classes) // BAND_COLUMNS)
    grid = Image.new("RGB", (num_columns * (tile_w + _GAP) + _GAP, num_bands * band_h + _GAP), "white")
    write = ImageDraw.Draw(grid)
    for number, name in enumerate(classes):
        band, column = divmod(number, BAND_COLUMNS)
        left, top = _GAP + column * (tile_w + _GAP), band * band_h + _GAP
        write.text((left + tile_w / 2, top + _HEAD / 2), _caption(name, tile_w, number), "black", _font(), anchor="mm")
        for row in range(num_rows):
            tile = picture_image(pictures[row * len(classes) + number]).resize((tile_w, tile_h), _ENLARGE)
            grid.paste(tile, (left, top + _HEAD + row * (tile_h + _GAP)))
    return grid


def picture_image(pixels: NDArray[np.uint8]) -> Image.Image:
    """One picture ``[C, H, W]`` (grey or RGB) as an RGB image."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).convert("RGB")


def _font() -> Any:
    return ImageFont.load_default(12)


def _caption(name: str, width_pixels: int, number: int) -> str:
    """The class's name as far as it fits; its number where the built-in font cannot write it."""
    if not name.isascii():
        return f"#{number}"
    while len(name) > 1 and _font().getlength(name) > width_pixels:
        name = name[:-1]
    return name


def png_bytes(image: Image.Image) -> bytes:
    """An image as the content of a PNG file."""
    content = io.BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()
