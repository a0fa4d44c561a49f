"""What pictures are compared in: thumbnails, principal components, or a local network's features.

Shapes: N pictures, C channels, H and W height and width, D features.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.errors import UsageError

Features = NDArray[np.float64]
Encoder = Callable[[NDArray[np.uint8]], Features]
MAX_COMPONENTS = 64
_MAX_SIDE = 32
_MAX_EXACT = 500
_ENCODE_BATCH = 32


def flat(x_NCHW: NDArray[Any]) -> Features:
    """One row a picture."""
    return x_NCHW.reshape(len(x_NCHW), -1).astype(np.float64)


def thumbnails(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Pictures from 0 to 1, averaged down to at most 32 pixels a side: ``[N, C, H, W]``."""
    num_items, channels, height, width = pixels.shape
    factor = max(1, height // _MAX_SIDE, width // _MAX_SIDE)
    rows, columns = height // factor, width // factor
    cropped = pixels[:, :, : rows * factor, : columns * factor].astype(np.float64) / 255
    blocks: NDArray[np.float64] = cropped.reshape(num_items, channels, rows, factor, columns, factor)
    small: NDArray[np.float64] = blocks.mean(axis=(3, 5))
    return small


def mirrored(x_NCHW: NDArray[Any]) -> NDArray[Any]:
    """Pictures as in a mirror."""
    return x_NCHW[..., ::-1]


class PrincipalComponents:
    """The directions in which the training pictures differ most; one scale for all, so that their mean square is 1.

    Directions are not whitened: those of little variance carry mostly noise.
    """

    def __init__(self, train_ND: Features, max_components: int = MAX_COMPONENTS) -> None:
        self.count = max(1, min(max_components, train_ND.shape[1], len(train_ND) - 1))
        self._mean_D = train_ND.mean(axis=0)
        self._basis_KD = _directions(train_ND - self._mean_D, self.count)
        components = (train_ND - self._mean_D) @ self._basis_KD.T
        self._scale = float(np.sqrt(np.mean(components**2))) or 1.0  # equal pictures have none

    def __call__(self, x_ND: Features) -> Features:
        """Components of pictures: ``[N, count]``."""
        scaled: Features = (x_ND - self._mean_D) @ self._basis_KD.T / self._scale
        return scaled


def _directions(centred_ND: Features, count: int) -> Features:
    """Right singular vectors; of large data by random projection, always the same one."""
    if min(centred_ND.shape) <= _MAX_EXACT:
        directions: Features = np.linalg.svd(centred_ND, full_matrices=False)[2][:count]
        return directions
    from sklearn.utils.extmath import randomized_svd  # scikit-learn takes a second to import

    found: Features = randomized_svd(centred_ND, count, random_state=0)[2]
    return found


def load_encoder(folder: Path) -> Encoder:
    """Features of a network that lies on this disk, such as DINOv2, in the layout of ``transformers``.

    Nothing is downloaded, and only safetensors are read.

    Raises:
        UsageError: if it cannot be loaded, or ``transformers`` is not installed.
    """
    import torch

    try:
        from transformers import AutoImageProcessor, AutoModel
    except ImportError:
        raise UsageError(f"--features {folder}: needs transformers; pip install transformers") from None
    try:
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, use_fast=False)
        model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UsageError(f"--features {folder}: not a local image encoder of transformers ({reason})") from None

    @torch.no_grad()
    def encode(pixels: NDArray[np.uint8]) -> Features:
        rgb = np.repeat(pixels, 3, axis=1) if pixels.shape[1] == 1 else pixels
        parts = []
        for start in range(0, len(rgb), _ENCODE_BATCH):
            pictures = list(rgb[start : start + _ENCODE_BATCH].transpose(0, 2, 3, 1))
            found = model(**processor(images=pictures, return_tensors="pt"))
            pooled = getattr(found, "pooler_output", None)
            parts.append((found.last_hidden_state[:, 0] if pooled is None else pooled.flatten(1)).double().numpy())
        return np.concatenate(parts)

    return encode
