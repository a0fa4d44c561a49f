"""Which sample comes when, and which noise it gets: pure functions of (seed, samples seen).

Nothing here has a state, so nothing has to be saved: a run that is killed and started again draws
what the uninterrupted run would have drawn (the idea is EDM2's, arXiv 2312.02696, training code).

Shapes: B effective batch, C channels, H and W height and width.
"""

import dataclasses
import hashlib
from functools import lru_cache

import torch
from torch import Tensor


def draw_seed(*parts: object) -> int:
    """A 56-bit seed that is the same on every platform and in every process, unlike ``hash()``."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "little")


def generator(*parts: object) -> torch.Generator:
    """A CPU generator for one purpose; CPU draws are the same whatever the training device is."""
    return torch.Generator().manual_seed(draw_seed(*parts))


@lru_cache(maxsize=4)
def _epoch_order(seed: int, num_items: int, epoch: int) -> Tensor:
    return torch.randperm(num_items, generator=generator("perm", seed, epoch))


def sample_index(seed: int, num_items: int, k: int) -> int:
    """Item that is drawn as the k-th sample of the run; every epoch is a new permutation."""
    epoch, place = divmod(k, num_items)
    return int(_epoch_order(seed, num_items, epoch)[place])


def batch_indices(seed: int, num_items: int, samples_seen: int, batch: int) -> Tensor:
    """Items of the effective batch that starts after ``samples_seen`` samples: ``[B]``."""
    parts, first, end = [], samples_seen, samples_seen + batch
    while first < end:
        epoch, place = divmod(first, num_items)
        parts.append(_epoch_order(seed, num_items, epoch)[place : place + end - first])
        first += len(parts[-1])
    return torch.cat(parts)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """All randomness of one optimizer step, for the whole effective batch."""

    item_B: Tensor
    time_B: Tensor
    noise_BCHW: Tensor
    drop_label_B: Tensor


def draws(
    *,
    seed: int,
    num_items: int,
    samples_seen: int,
    batch: int,
    shape: tuple[int, int, int],
    num_times: int,
    drop: float,
) -> Draws:
    """The draws of the step that starts after ``samples_seen`` samples.

    Times are independent draws, not stratified, so that micro-batch gradients can serve to estimate
    the gradient noise scale.
    """
    source = generator("step", seed, samples_seen)
    return Draws(
        item_B=batch_indices(seed, num_items, samples_seen, batch),
        time_B=torch.randint(num_times, (batch,), generator=source),
        noise_BCHW=torch.randn(batch, *shape, generator=source),
        drop_label_B=torch.rand(batch, generator=source) < drop,
    )
