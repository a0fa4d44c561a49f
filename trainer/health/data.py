"""What can be said of the data before anything is trained, and of generated items beside them.

Shapes: N training items, d values of an item, C channels, H and W height and width.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from advisor.records import Note
from trainer.config import TrainConfig
from trainer.health.alarms import alarm
from trainer.health.statistics import between_classes
from trainer.loop import TrainingData
from trainer.order import draw_seed

# Toy runs on 100 to 1,350 pictures had their best validation loss at 240 to 290 epochs: docs/methods.md.
FIRST_OVERFIT_EPOCHS, LAST_OVERFIT_EPOCHS = 240, 290
NUM_RANDOM = 19  # labellings: above all of them by chance once in twenty times
_MAX_COMPARED = 2000
MIN_OVERDRIVEN, SPREAD_ERRORS = 1.25, 5.0


def data_alarms(
    config: TrainConfig, data: TrainingData, names: Sequence[str], largest_rms: float
) -> Iterator[Note | None]:
    """Alarms about what is trained on, the gravest first."""
    yield _non_finite(data, names)
    yield _scale(data.x_NCHW, largest_rms)
    yield _labels(config, data)
    yield _copies(config, len(data.label_N))


def _non_finite(data: TrainingData, names: Sequence[str]) -> Note | None:
    bad_N = (~data.x_NCHW.flatten(1).isfinite().all(1)).nonzero()[:, 0].tolist()
    if not bad_N:
        return None
    listed = ", ".join(names[item] for item in bad_N[:5])
    return alarm("data_non_finite", statistic=len(bad_N), threshold=0, n=len(data.label_N), names=listed)


def _scale(x_NCHW: Tensor, largest_rms: float) -> Note | None:
    rms = float(torch.linalg.vector_norm(x_NCHW, dtype=torch.float32)) / math.sqrt(x_NCHW.numel())
    if not rms > largest_rms:
        return None
    return alarm("data_scale", statistic=rms, threshold=largest_rms, n=len(x_NCHW))


def _labels(config: TrainConfig, data: TrainingData) -> Note | None:
    """Random labellings of the same items show what variance between classes means nothing."""
    random = np.random.Generator(np.random.PCG64(draw_seed("labels", config.seed)))
    chosen = np.sort(random.permutation(len(data.label_N))[:_MAX_COMPARED])
    label_N = data.label_N.cpu().numpy()[chosen]
    num_classes = len(np.unique(label_N))
    if not 1 < num_classes < len(label_N):
        return None
    x_Nd = data.x_NCHW.flatten(1)[torch.from_numpy(chosen).to(data.x_NCHW.device)].double().cpu().numpy()
    found = between_classes(x_Nd, label_N)
    by_chance = max(between_classes(x_Nd, random.permutation(label_N)) for _ in range(NUM_RANDOM))
    if not found <= by_chance:
        return None
    return alarm("labels_unrelated", statistic=found, threshold=by_chance, n=len(label_N))


def _copies(config: TrainConfig, num_items: int) -> Note | None:
    epochs = config.samples / num_items
    if epochs <= LAST_OVERFIT_EPOCHS:
        return None
    return alarm(
        "copies_expected",
        statistic=epochs,
        threshold=LAST_OVERFIT_EPOCHS,
        n=num_items,
        from_samples=FIRST_OVERFIT_EPOCHS * num_items,
    )


def overdriven(generated_NCHW: Tensor, real_NCHW: Tensor, guidance: float) -> Note | None:
    """Whether generated items spread much farther than real ones, which is what too strong a guidance does.

    The spread is the root mean square distance from the real items' mean; its standard error is that of
    as many real items.
    """
    real_NCHW = real_NCHW[:: max(1, len(real_NCHW) // _MAX_COMPARED)]
    mean_CHW = real_NCHW.mean(0)
    real_N, made_N = (
        (x_NCHW.float() - mean_CHW).square().flatten(1).mean(1).double() for x_NCHW in (real_NCHW, generated_NCHW)
    )
    if len(real_N) < 2 or not float(real_N.mean()) > 0:
        return None
    ratio = float(made_N.mean() / real_N.mean())
    error = float(real_N.std() / real_N.mean()) / math.sqrt(len(made_N))
    threshold = max(MIN_OVERDRIVEN, math.sqrt(1 + SPREAD_ERRORS * error))
    if not math.sqrt(ratio) > threshold:
        return None
    return alarm(
        "samples_overdriven", statistic=math.sqrt(ratio), threshold=threshold, n=len(made_N), guidance=guidance
    )
