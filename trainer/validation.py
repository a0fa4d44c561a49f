"""Loss on held-out pictures, always at the same noise, so that two checkpoints can be compared.

Shapes: V validation items, C channels, H and W height and width.
"""

import dataclasses
from functools import partial

import torch
from torch import Tensor

from trainer.amounts import num_validated
from trainer.diffusion import NUM_TIMES, Objective
from trainer.ema import Ema
from trainer.model import Denoiser, null_class
from trainer.oom import Pieces
from trainer.order import generator

_BATCH = 64


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ValidationSet:
    """Fixed (picture, class, time, noise) tuples; times are spread evenly over the schedule."""

    x_VCHW: Tensor
    label_V: Tensor
    time_V: Tensor
    noise_VCHW: Tensor


def fixed_tuples(x_NCHW: Tensor, label_N: Tensor, seed: int) -> ValidationSet | None:
    """64 to 256 tuples from held-out pictures, which come again where they are few; ``None`` if there are none.

    Common random numbers take out most of the variance of a difference between two checkpoints.
    """
    if not len(label_N):
        return None
    source = generator("validation", seed)
    count = num_validated(len(label_N))
    rounds = -(-count // len(label_N))
    item_V = torch.cat([torch.randperm(len(label_N), generator=source) for _ in range(rounds)])[:count]
    time_V = ((torch.arange(count) + 0.5) * NUM_TIMES / count).long()
    noise_VCHW = torch.randn(count, *x_NCHW.shape[1:], generator=source)
    device = x_NCHW.device
    return ValidationSet(
        x_VCHW=x_NCHW[item_V.to(device)],
        label_V=label_N[item_V.to(device)],
        time_V=time_V.to(device),
        noise_VCHW=noise_VCHW.to(device),
    )


@torch.no_grad()
def errors_at(
    model: Denoiser,
    held_out: ValidationSet,
    objective: Objective,
    *,
    without_label: bool = False,
    pieces: Pieces | None = None,
) -> Tensor:
    """Squared error of v of each fixed tuple, in evaluation mode: ``[V]``, from little noise to much."""
    was_training = model.training
    model.eval()
    label_V = torch.full_like(held_out.label_V, null_class(model)) if without_label else held_out.label_V
    errors = (pieces or Pieces())(
        "validation",
        _BATCH,
        partial(objective.errors, model),
        held_out.x_VCHW,
        label_V,
        held_out.time_V,
        held_out.noise_VCHW,
    )
    model.train(was_training)
    return torch.cat(errors)


def tuple_losses(
    model: Denoiser, held_out: ValidationSet, objective: Objective, pieces: Pieces | None = None
) -> Tensor:
    """Weighted loss of each fixed tuple: ``[V]``."""
    return objective.weights(held_out.time_V) * errors_at(model, held_out, objective, pieces=pieces)


def validation_loss(model: Denoiser, held_out: ValidationSet, objective: Objective) -> float:
    """Mean weighted loss over the fixed tuples."""
    return float(tuple_losses(model, held_out, objective).mean())


def best_ema_width(
    scratch: Denoiser, ema: Ema, held_out: ValidationSet, objective: Objective
) -> tuple[int, list[float]]:
    """Number of the average with the lowest validation loss, and the losses of all.

    ``scratch`` is a model whose weights may be overwritten.
    """
    losses = []
    for width in range(len(ema.averages)):
        ema.copy_to(scratch, width)
        losses.append(validation_loss(scratch, held_out, objective))
    return min(range(len(losses)), key=losses.__getitem__), losses
