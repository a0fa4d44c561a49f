"""Epoch arithmetic. Ours rounds up: the last step of an epoch may see fewer samples."""

import math

from advisor.records import Claim, Dataset, Exposure


def steps_per_epoch(num_items: int, effective_batch: int) -> int:
    """Optimizer steps that see every item once: 97 for 1,550 items at 16, 49 at 32."""
    return math.ceil(num_items / effective_batch)


def steps_per_epoch_drop_last(num_items: int, effective_batch: int) -> int:
    """Optimizer steps an epoch where loaders drop the last, partial batch: 96 for 1,550 items at 16."""
    return num_items // effective_batch


def last_batch(num_items: int, effective_batch: int) -> int:
    """Samples of the last step of an epoch."""
    return num_items - (steps_per_epoch(num_items, effective_batch) - 1) * effective_batch


def num_steps(samples: float, effective_batch: int) -> int:
    """Optimizer steps until so many samples were seen."""
    return math.ceil(samples / effective_batch)


def epochs(samples: float, num_items: int) -> float:
    """How often each item was seen on average."""
    return samples / num_items


# Epochs in runs on 100 to 1,350 pictures of 8x8 pixels (docs/methods.md): the validation loss turned at 240 (100
# pictures) and 290 (300 pictures); the first copies came at 640 (100), none by 1,067 (300).
LOSS_TURNED_EPOCHS, FIRST_COPIES_EPOCHS, NO_COPIES_EPOCHS = 240, 640, 1067
_ONSET_SOURCE = (
    "time to memorize grows in proportion to the number of items (Bonnaire et al., arXiv 2505.17638);"
    " epochs of runs on 100 to 1350 small pictures"
)


def exposure(run_samples: Claim, dataset: Dataset) -> Exposure:
    """How often each item is seen, and when copies may be expected.

    The onset is a constant number of epochs to first order; how many depends on the network, and a larger one gets
    there sooner. The interval is from the earliest turn of the validation loss to the latest sight of no copy.
    """
    seen = None if run_samples.value is None else epochs(run_samples.value, dataset.num_items)
    return Exposure(
        samples_per_item=Claim(value=seen, basis=run_samples.basis, source="samples of the run / items"),
        memorization_onset_samples=Claim(
            value=FIRST_COPIES_EPOCHS * dataset.num_items,
            low=LOSS_TURNED_EPOCHS * dataset.num_items,
            high=NO_COPIES_EPOCHS * dataset.num_items,
            basis="rule",
            source=_ONSET_SOURCE,
        ),
    )


DEFAULT_EPOCHS = 250  # as the trainer's own default; see trainer/plan.py


def default_run_samples(num_items: int) -> Claim:
    """Samples of a run whose length nobody gave: an assumption for times and milestones, not advice."""
    return Claim(value=DEFAULT_EPOCHS * num_items, basis="rule", source=f"assumed: {DEFAULT_EPOCHS} epochs")
