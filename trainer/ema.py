"""Averages of the weights over the last part of the run, in two widths at once."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainer.schedule import ema_decay_at


class Ema:
    """Exponential moving averages of a model's parameters, one for each half-life in samples."""

    def __init__(self, model: nn.Module, half_lives_samples: Sequence[int]) -> None:
        self._parameters = [p.detach() for p in model.parameters()]
        self._names = [name for name, _ in model.named_parameters()]
        self.half_lives_samples = tuple(half_lives_samples)
        self.averages = [[p.clone() for p in self._parameters] for _ in half_lives_samples]

    @torch.no_grad()
    def update(self, samples_seen: int, batch: int) -> None:
        """Take in the weights after the step that started at ``samples_seen``."""
        for half_life_samples, average in zip(self.half_lives_samples, self.averages, strict=True):
            decay = ema_decay_at(half_life_samples, samples_seen, batch)
            torch._foreach_lerp_(average, self._parameters, 1 - decay)

    def named_tensors(self) -> dict[str, Tensor]:
        """Every averaged tensor under ``<width>.<parameter name>``."""
        return {
            f"{width}.{name}": tensor
            for width, average in enumerate(self.averages)
            for name, tensor in zip(self._names, average, strict=True)
        }

    @torch.no_grad()
    def copy_to(self, model: nn.Module, width: int) -> None:
        """Set a model's parameters to one of the averages."""
        for parameter, average in zip(model.parameters(), self.averages[width], strict=True):
            parameter.copy_(average)
