"""What a run does beside its steps, small, so that the advisor can time it: validate, draw samples, save."""

import copy
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import torch
from torch import Tensor

from advisor.workload.protocol import Rehearsal
from trainer.checkpoint import save_checkpoint
from trainer.diffusion import Objective
from trainer.ema import Ema
from trainer.health.errors import validate
from trainer.oom import Pieces
from trainer.sampling import generate
from trainer.state import TrainState
from trainer.validation import ValidationSet

SIZES = (8, 8, 32, 128)  # pictures; the first time is for warming up
_STEPS, _PASSES = 2, 2  # with guidance the network sees every picture twice a step


def rehearsals(
    model: Any,
    ema: Ema,
    optimizer: torch.optim.Optimizer,
    objective: Objective,
    batch: Callable[[int], tuple[Tensor, ...]],
    num_classes: int,
) -> dict[str, Rehearsal]:
    """By the names that :mod:`trainer.timetable` plans with; passes of the network for a picture are the units."""
    return {
        "validation": Rehearsal(run=lambda count: _validate(model, ema, objective, batch(count)), sizes=SIZES),
        "sampling": Rehearsal(
            run=lambda count: _sample(model, num_classes, count), sizes=SIZES, units=_STEPS * _PASSES
        ),
        "checkpoint": Rehearsal(run=lambda _: _save(TrainState(model, ema, optimizer))),
    }


def _validate(model: Any, ema: Ema, objective: Objective, batch: tuple[Tensor, ...]) -> None:
    x_VCHW, label_V, time_V, noise_VCHW = batch
    tuples = ValidationSet(x_VCHW=x_VCHW, label_V=label_V, time_V=time_V, noise_VCHW=noise_VCHW)
    validate(copy.deepcopy(model), ema, tuples, objective, Pieces())


def _sample(model: Any, num_classes: int, count: int) -> None:
    generate(model, torch.arange(count) % num_classes, seed=0, num_steps=_STEPS, guidance=1.5)


def _save(state: TrainState) -> None:
    """On the disk of the caches: where the run will be is not known yet."""
    root = Path(os.environ.get("CFGADVISE_CACHE") or platformdirs.user_cache_dir("cfgadvise"))
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as folder:
        save_checkpoint(Path(folder), 0, state.to_files({}), keep=2)
