"""What generated pictures are good for: a classifier trained on them, tested on held-out real ones.

This cannot be faked by blurry or mixed-up pictures, and it is what many users want pictures for.
"""

from collections.abc import Callable

import numpy as np
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from numpy.typing import NDArray

from advisor.records import ClassifierAccuracy, Evaluation, Note
from trainer.data import Pictures, Split
from trainer.latents import Codec
from trainer.notes import note
from trainer.sampling import generate

MAX_GENERATED = 1000
# Sampling one picture costs about as much as training on 20 / 3; this keeps it near 15 % of a run.
_TRAINING_SAMPLES_PER_GENERATED = 40
_MAX_SIDE = 32


def num_to_generate(training_samples: int, num_classes: int) -> int:
    """How many pictures an evaluation draws: the same number for every class."""
    wanted = min(MAX_GENERATED, training_samples // _TRAINING_SAMPLES_PER_GENERATED)
    return max(1, wanted // num_classes) * num_classes


def evaluate(
    model: UNet2DModel,
    codec: Codec,
    pictures: Pictures,
    split: Split,
    *,
    num_generated: int,
    num_steps: int,
    seed: int,
    checkpoint_samples: int,
    on_note: Callable[[Note], None] = lambda _: None,
) -> Evaluation:
    """Generate pictures of every class and judge them by a classifier.

    They are drawn without guidance (1.0): guidance narrows each class, and a classifier needs its
    variety.
    """
    on_note(note("generating", count=num_generated))
    labels = np.arange(num_generated) % len(pictures.classes)
    x_NCHW = generate(model, torch.from_numpy(labels), seed=seed, num_steps=num_steps, guidance=1.0)
    accuracy, notes = None, []
    if len(pictures.classes) < 2 or not len(split.held_out):
        notes.append(note("no_classifier"))
    else:
        accuracy = classifier_accuracy(codec.decode(x_NCHW), labels, pictures, split)
    return Evaluation(
        checkpoint_samples=checkpoint_samples,
        num_generated=num_generated,
        guidance=1.0,
        sampling_steps=num_steps,
        accuracy=accuracy,
        notes=tuple(notes),
    )


def classifier_accuracy(
    generated: NDArray[np.uint8], generated_labels: NDArray[np.int64], pictures: Pictures, split: Split
) -> ClassifierAccuracy:
    """Accuracies of the same classifier trained on real, on generated, and on both kinds of pictures."""
    channels = generated.shape[1]
    real = np.repeat(pictures.pixels, channels // pictures.pixels.shape[1], axis=1)
    real_x, fake_x = _features(real), _features(generated)
    train_x, train_y = real_x[split.train], pictures.labels[split.train]
    test_x, test_y = real_x[split.held_out], pictures.labels[split.held_out]

    def accuracy(x: NDArray[np.float32], y: NDArray[np.int64]) -> float:
        from sklearn.svm import SVC  # scikit-learn takes a second to import, and only evaluation needs it

        return float(SVC(C=10).fit(x, y).score(test_x, test_y))

    return ClassifierAccuracy(
        classifier="support vector machine (RBF kernel, C = 10) on pixels",
        num_test_items=len(test_y),
        real_only=accuracy(train_x, train_y),
        synthetic_only=accuracy(fake_x, generated_labels),
        real_and_synthetic=accuracy(np.concatenate([train_x, fake_x]), np.concatenate([train_y, generated_labels])),
    )


def _features(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels from 0 to 1, one row a picture; large pictures are averaged down to at most 32 pixels."""
    num_items, channels, height, width = pixels.shape
    factor = max(1, height // _MAX_SIDE)
    cropped = pixels[:, :, : height - height % factor, : width - width % factor].astype(np.float32) / 255
    blocks = cropped.reshape(num_items, channels, height // factor, factor, width // factor, factor)
    features: NDArray[np.float32] = blocks.mean(axis=(3, 5)).reshape(num_items, -1)
    return features
