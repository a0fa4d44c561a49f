"""Epoch arithmetic. Ours rounds up: the last step of an epoch may see fewer samples."""

import math

from advisor.records import Claim


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


DEFAULT_EPOCHS = 250  # as the trainer's own default; see trainer/plan.py


def default_run_samples(num_items: int) -> Claim:
    """Samples of a run whose length nobody gave: an assumption for times and milestones, not advice."""
    return Claim(value=DEFAULT_EPOCHS * num_items, basis="rule", source=f"assumed: {DEFAULT_EPOCHS} epochs")
