"""The network's errors at the fixed validation tuples, for both weight averages, with and without the label.

Shapes: V validation tuples.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from trainer.diffusion import Objective
from trainer.ema import Ema
from trainer.health.statistics import Floats
from trainer.oom import Pieces
from trainer.validation import ValidationSet, errors_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """Weighted losses of all averages; errors, not weighted, of the one with the lowest loss."""

    width: int
    losses: list[float]
    error_V: Floats


def validate(scratch: Any, ema: Ema, held_out: ValidationSet, objective: Objective, pieces: Pieces) -> Validated:
    """Try every average at the fixed tuples; ``scratch`` is left with the best one's weights."""
    weight_V = objective.weights(held_out.time_V)
    errors, losses = [], []
    for width in range(len(ema.averages)):
        ema.copy_to(scratch, width)
        errors.append(errors_at(scratch, held_out, objective, pieces=pieces))
        losses.append(float((weight_V * errors[-1]).mean()))
    best = min(range(len(losses)), key=losses.__getitem__)
    if best != len(losses) - 1:
        ema.copy_to(scratch, best)
    return Validated(width=best, losses=losses, error_V=as_floats(errors[best]))


def null_errors(scratch: Any, held_out: ValidationSet, objective: Objective, pieces: Pieces) -> Floats:
    """The same errors when the network is not told the label."""
    return as_floats(errors_at(scratch, held_out, objective, without_label=True, pieces=pieces))


def as_floats(error_V: Tensor) -> Floats:
    """On the CPU, in double precision."""
    found: Floats = error_V.double().cpu().numpy().astype(np.float64, copy=False)
    return found
