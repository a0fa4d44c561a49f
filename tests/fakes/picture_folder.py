"""Folders of small coloured pictures that can be told apart by class."""

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 60, 230)}


def make_pictures(folder: Path, *, per_class: int = 6, side: int = 16, classes=tuple(COLOURS)) -> Path:
    """``folder/<colour>/<k>.png``: noise around the class's colour; the same every time."""
    random = np.random.Generator(np.random.PCG64(0))
    for name in classes:
        (folder / name).mkdir(parents=True)
        for k in range(per_class):
            noise = random.normal(0, 20, (side, side, 3))
            pixels = (np.array(COLOURS[name]) + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{k}.png")
    return folder
