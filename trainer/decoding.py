"""A picture file as 8-bit grey or RGB: its first frame, upright, on white where it is transparent."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 64_000_000  # a picture larger than this is a mistake or an attack
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)  # what Pillow raises at a bad file


def decode(path: Path) -> tuple[Image.Image, int]:
    """First frame, upright, as 8-bit L or RGB on white; and how many frames there are."""
    with Image.open(path) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width}x{image.height} pixels, more than {MAX_PIXELS:,}")
        num_frames = getattr(image, "n_frames", 1)
        image.seek(0)
        image.load()
        return _as_grey_or_rgb(ImageOps.exif_transpose(image)), num_frames


def _as_grey_or_rgb(image: Image.Image) -> Image.Image:
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return _scaled_to_8_bit(image)
    if image.mode in {"LA", "PA", "RGBA", "RGBa", "La"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        on_white = Image.new("RGBA", rgba.size, "white")
        on_white.alpha_composite(rgba)
        return on_white.convert("L" if image.mode in {"LA", "La", "L"} else "RGB")
    return image.convert("L") if image.mode in {"1", "L"} else image.convert("RGB")


def _scaled_to_8_bit(image: Image.Image) -> Image.Image:
    """16-bit (or wider) grey as 8-bit: Pillow's own conversion would clip everything above 255."""
    values = np.asarray(image).astype(np.float64)
    full_scale = 65535.0 if values.max(initial=0) > 255 else 255.0
    return Image.fromarray((values.clip(0, full_scale) / full_scale * 255).round().astype(np.uint8))


def stack(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """``[N, 1, H, W]`` if every picture is grey, else ``[N, 3, H, W]``."""
    if all(image.ndim == 2 or _is_grey(image) for image in images):
        return np.stack([image if image.ndim == 2 else image[..., 0] for image in images])[:, None]
    rgb = [np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image for image in images]
    return np.ascontiguousarray(np.stack(rgb).transpose(0, 3, 1, 2))


def _is_grey(image: NDArray[np.uint8]) -> bool:
    return bool((image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all())


def problem_of(error: Exception) -> str:
    """What is wrong with a file that raised one of :data:`UNREADABLE`, in a few words."""
    if isinstance(error, UnidentifiedImageError):
        return "not a picture"
    return str(error).partition("\n")[0] or type(error).__name__
