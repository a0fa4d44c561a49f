"""Copies of training pictures: is the nearest one much nearer than any other?

A picture whose distance to its nearest training picture is less than a third of that to the second
nearest is called a copy (Yoon et al., 2023; used by Bonnaire et al., arXiv 2505.17638, and Favero et
al., arXiv 2505.16959). The same share among held-out pictures is the control: data with near-duplicates
have "copies" without any model. No metric settles it (Stein et al., arXiv 2306.04675), so the closest pairs
are drawn for the eye.

Shapes: N pictures, T training pictures, C channels, H and W height and width.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from advisor.evaluation import Compared, Copies
from trainer.judge.intervals import share
from trainer.judge.spaces import Features, PrincipalComponents, flat, mirrored, thumbnails
from trainer.sampling import picture_image

COPY_RATIO = 1 / 3
NUM_PAIRS = 16
_PAIRS_A_ROW = 4
_TILE_PIXELS, _GAP, _HEAD = 72, 6, 18


class Nearest:
    """Ratios of the distances to the nearest and the second nearest of different training pictures."""

    def __init__(self, train_NCHW: NDArray[Any], into: Callable[[NDArray[Any]], Features]) -> None:
        from sklearn.neighbors import NearestNeighbors  # scikit-learn takes a second to import

        # Of two equal training pictures the second would hide every copy of the first.
        _, self._first = np.unique(flat(train_NCHW), axis=0, return_index=True)
        if len(self._first) < 2:
            raise ValueError("copies need two different training pictures")
        self._into = into
        self._search = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(into(train_NCHW[self._first]))

    def __call__(self, x_NCHW: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Ratio and number of the nearest training picture, for each picture or its mirror image."""
        ratio_N, item_N = self._one_way(x_NCHW)
        mirrored_N, mirrored_item_N = self._one_way(mirrored(x_NCHW))
        return np.minimum(ratio_N, mirrored_N), np.where(mirrored_N < ratio_N, mirrored_item_N, item_N)

    def _one_way(self, x_NCHW: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        distances, found = self._search.kneighbors(self._into(x_NCHW))
        ratio_N = distances[:, 0] / np.maximum(distances[:, 1], 1e-12)
        return ratio_N, self._first[found[:, 0]]


class CopyCheck:
    """Searches for copies among the training pictures, in what the network sees and in pixels."""

    def __init__(
        self,
        train: tuple[NDArray[Any], NDArray[np.uint8]],
        held_out: tuple[NDArray[Any], NDArray[np.uint8]],
        components: PrincipalComponents,
    ) -> None:
        """Both kinds of pictures as the network sees them, and as pixels."""
        self._train_pixels = train[1]
        self._in_pca = Nearest(train[0], lambda x_NCHW: components(flat(x_NCHW)))
        self._in_pixels = Nearest(thumbnails(train[1]), flat)
        has_control = len(held_out[1]) > 0
        self._real_pca_V = self._in_pca(held_out[0])[0] if has_control else np.zeros(0)
        self._real_pixels_V = self._in_pixels(thumbnails(held_out[1]))[0] if has_control else np.zeros(0)

    def judge(self, made_NCHW: NDArray[Any], pixels: NDArray[np.uint8]) -> tuple[Copies, Image.Image]:
        """Shares of copies, and the sheet of the closest pairs."""
        pca_N, _ = self._in_pca(made_NCHW)
        pixels_N, nearest_N = self._in_pixels(thumbnails(pixels))
        copies = Copies(
            num_train_items=len(self._train_pixels),
            in_pca=Compared(generated=share(pca_N < COPY_RATIO), real=share(self._real_pca_V < COPY_RATIO)),
            in_pixels=Compared(generated=share(pixels_N < COPY_RATIO), real=share(self._real_pixels_V < COPY_RATIO)),
        )
        closest = np.argsort(pixels_N, kind="stable")[:NUM_PAIRS]
        pairs = [(pixels[k], self._train_pixels[nearest_N[k]], float(pixels_N[k])) for k in closest]
        return copies, draw_pairs(pairs)


def draw_pairs(pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8], float]]) -> Image.Image:
    """Generated picture and nearest training picture side by side, with their ratio above; closest first."""
    num_rows = -(-len(pairs) // _PAIRS_A_ROW)
    pair_w, pair_h = 2 * _TILE_PIXELS + 3 * _GAP, _HEAD + _TILE_PIXELS + _GAP
    sheet = Image.new("RGB", (_PAIRS_A_ROW * pair_w + _GAP, num_rows * pair_h + _GAP), "white")
    write = ImageDraw.Draw(sheet)
    for k, (made, real, ratio) in enumerate(pairs):
        row, column = divmod(k, _PAIRS_A_ROW)
        left, top = _GAP + column * pair_w, _GAP + row * pair_h
        write.text((left, top), f"{ratio:.2f}", "firebrick" if ratio < COPY_RATIO else "black")
        for place, pixels in enumerate((made, real)):
            tile = picture_image(pixels).resize((_TILE_PIXELS, _TILE_PIXELS), Image.Resampling.NEAREST)
            sheet.paste(tile, (left + place * (_TILE_PIXELS + _GAP // 2), top + _HEAD))
    return sheet
