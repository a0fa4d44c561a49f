"""Pictures that were drawn for one judgement and serve the next: drawing them costs most of it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from trainer.amounts import MAX_IN_SWEEP
from trainer.model import Denoiser
from trainer.oom import Pieces
from trainer.sampling import generate


class Drawing(NamedTuple):
    """What pictures depend on, beside their labels; ``samples`` had been seen by the model."""

    samples: int
    guidance: float
    num_steps: int
    seed: int


class DrawnPictures:
    """The first pictures of each drawing of the checkpoints that are still of use: as many as a sweep takes.

    Labels go round the classes, so the first pictures of a large drawing are those of a small one.
    """

    def __init__(self) -> None:
        self._kept: dict[Drawing, torch.Tensor] = {}

    def of(self, drawing: Drawing, model: Denoiser, label_N: torch.Tensor, pieces: Pieces) -> torch.Tensor:
        """Pictures ``[N, C, H, W]`` of these classes: kept ones, or new ones."""
        kept_KCHW = self._kept.get(drawing)
        if kept_KCHW is not None and len(kept_KCHW) >= len(label_N):
            return kept_KCHW[: len(label_N)].to(next(model.parameters()).device)
        x_NCHW = generate(
            model,
            label_N,
            seed=drawing.seed,
            num_steps=drawing.num_steps,
            guidance=drawing.guidance,
            pieces=pieces,
        )
        # A copy, or all of them would stay; on the CPU, as training goes on in the device's memory.
        self._kept[drawing] = x_NCHW[:MAX_IN_SWEEP].to("cpu", copy=True)
        return x_NCHW

    def forget(self, samples: int) -> None:
        """Let pictures of the checkpoint that had seen so many samples be drawn anew."""
        self._kept = {drawing: x_KCHW for drawing, x_KCHW in self._kept.items() if drawing.samples != samples}

    def forget_others(self, samples: Sequence[int]) -> None:
        """Keep only pictures of the checkpoints that had seen so many samples."""
        self._kept = {drawing: x_KCHW for drawing, x_KCHW in self._kept.items() if drawing.samples in samples}
