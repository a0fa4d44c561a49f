"""What the training steps themselves show: their order, their losses by noise bucket, their gradients.

Steps are only collected while they run, on the device; they are looked at when a log line is due.

Shapes: S steps, B samples of a step, K noise buckets, N training items.
"""

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from advisor.records import Note
from trainer.amounts import NUM_BUCKETS
from trainer.config import TrainConfig
from trainer.diffusion import NUM_TIMES
from trainer.health.alarms import alarm
from trainer.health.statistics import (
    Dispersion,
    Floats,
    bucket_means,
    bucket_of,
    overdispersion,
    rank_correlation,
    spikes,
)
from trainer.loop import Step

KEPT_STEPS = 400
SPIKE_FACTOR, SPIKE_STEPS, MAX_SPIKES = 6.0, 100, 2
MAX_CLIPPED_FRAC = 0.2
REPEAT_Z = 5.0
LEAST_TRAINED_FRAC, LEAST_IN_BUCKET = 0.1, 100
# At a constant rate the weights wander: up to 5 % from block to block in healthy runs, which the weight average takes
# out. Twice that is a loss that swings.
MAX_SWING_FRAC, OSCILLATION_CHANCE, LEAST_BLOCKS = 0.1, 1e-4, 8


class _Seen:
    """One step, read back from the device."""

    def __init__(self, step: Step, loss_B: Floats, norm: float, samples: int) -> None:
        self.item_B: NDArray[np.int64] = step.item_B.numpy()
        self.time_B: NDArray[np.int64] = step.time_B.numpy()
        self.loss_B, self.norm, self.samples = loss_B, norm, samples
        self.is_finite = bool(np.isfinite(loss_B).all() and math.isfinite(norm))


class StepChecks:
    """The last few hundred steps of a run."""

    def __init__(self, config: TrainConfig, num_items: int, samples_seen: int) -> None:
        self._config, self._num_items = config, num_items
        self._samples = self._first_sample = samples_seen
        self._waiting: list[Step] = []
        self._seen: deque[_Seen] = deque(maxlen=KEPT_STEPS)
        self._order = _Order(num_items, samples_seen)

    def collect(self, step: Step) -> None:
        """Take in a step; nothing is read back from the device."""
        self._waiting.append(step)

    def read(self) -> None:
        """Read back what was collected, in two transfers."""
        if not self._waiting:
            return
        losses_SB = torch.stack([step.losses_B for step in self._waiting]).double().cpu().numpy()
        norms = torch.stack([step.grad_norm for step in self._waiting]).tolist()
        for step, loss_B, norm in zip(self._waiting, losses_SB, norms, strict=True):
            self._seen.append(_Seen(step, loss_B, norm, self._samples))
            self._order.add(self._seen[-1].item_B)
            self._samples += len(loss_B)
        self._waiting.clear()

    def _good(self) -> list[_Seen]:
        return [step for step in self._seen if step.is_finite]

    # ---- alarms ---------------------------------------------------------------------------------

    def order(self) -> Note | None:
        """A new permutation every epoch shows no item more than once an epoch, whatever the batch is."""
        draws = self._samples - self._first_sample
        allowed = draws // self._num_items + 2
        most = self._order.most
        if most > allowed:
            return alarm("order_stuck", statistic=most, threshold=allowed, n=draws)
        if self._order.repeats > REPEAT_Z:
            return alarm("order_repeats", statistic=self._order.repeats, threshold=REPEAT_Z, n=self._num_items)
        return None

    def spikes(self) -> Note | None:
        """Outliers of the gradient norm among the last hundred steps, by the spread of the last two hundred."""
        norms = np.array([step.norm for step in self._good()][-2 * SPIKE_STEPS :])
        if len(norms) < 2 * SPIKE_STEPS:
            return None
        count = int((spikes(norms, SPIKE_FACTOR) >= SPIKE_STEPS).sum())
        if count <= MAX_SPIKES:
            return None
        return alarm("gradient_spikes", statistic=count, threshold=MAX_SPIKES, n=SPIKE_STEPS)

    def clipping(self) -> Note | None:
        """Share of clipped steps among the last hundred after the warm-up."""
        norms = [step.norm for step in self._good() if step.samples >= self._config.warmup_samples][-SPIKE_STEPS:]
        share = float(np.mean(np.array(norms) > self._config.clip_norm)) if len(norms) == SPIKE_STEPS else 0.0
        if share <= MAX_CLIPPED_FRAC:
            return None
        return alarm("clipped_often", statistic=share, threshold=MAX_CLIPPED_FRAC, n=len(norms))

    def untrained_bucket(self, expected_K: Floats) -> Note | None:
        """A bucket whose training loss is far below what its error and the configured weight foretell.

        Args:
            expected_K: configured weight times error, by bucket.
        """
        steps = self._good()[-SPIKE_STEPS:]
        if not steps:
            return None
        bucket = bucket_of(np.concatenate([step.time_B for step in steps]), NUM_TIMES)
        loss = np.concatenate([step.loss_B for step in steps])
        ratio_K = bucket_means(loss, bucket) / np.where(expected_K > 0, expected_K, math.nan)
        count_K = np.bincount(bucket, minlength=NUM_BUCKETS)
        ratio_K = np.where(count_K >= LEAST_IN_BUCKET, ratio_K / np.nanmedian(ratio_K), math.inf)
        worst = int(np.nanargmin(ratio_K))
        if not ratio_K[worst] < LEAST_TRAINED_FRAC:
            return None
        return alarm(
            "bucket_untrained",
            statistic=float(ratio_K[worst]),
            threshold=LEAST_TRAINED_FRAC,
            n=int(count_K[worst]),
            bucket=worst + 1,
        )

    def oscillation(self) -> Note | None:
        """Whether means of blocks of steps swing more than the draws explain, and by more than weights that wander."""
        steps = [step for step in self._good() if step.samples >= 2 * self._config.warmup_samples]
        block = len(steps) // (2 * LEAST_BLOCKS)
        if block < 5:
            return None
        found = self._dispersion(steps, block)
        if found is None or found.swing <= MAX_SWING_FRAC or found.chance >= OSCILLATION_CHANCE:
            return None
        return alarm(
            "loss_oscillates", statistic=found.swing, threshold=MAX_SWING_FRAC, n=found.num_blocks, factor=found.factor
        )

    @staticmethod
    def _dispersion(steps: list[_Seen], block: int) -> Dispersion | None:
        loss_SB = np.stack([step.loss_B for step in steps])
        bucket_SB = bucket_of(np.stack([step.time_B for step in steps]), NUM_TIMES)
        mean_K = bucket_means(loss_SB.ravel(), bucket_SB.ravel())
        standard_SB = loss_SB / np.where(mean_K > 0, mean_K, 1.0)[bucket_SB]
        return overdispersion(standard_SB.mean(axis=1), standard_SB.var(axis=1, ddof=1) / loss_SB.shape[1], block)

    def standardised_loss(self) -> float | None:
        """Mean loss of the last steps, each sample's divided by its bucket's mean: 1 where nothing changes."""
        steps = self._good()
        if len(steps) < 2 * LEAST_BLOCKS:
            return None
        loss = np.concatenate([step.loss_B for step in steps])
        bucket = bucket_of(np.concatenate([step.time_B for step in steps]), NUM_TIMES)
        mean_K, recent = bucket_means(loss, bucket), steps[-LEAST_BLOCKS:]
        chosen = bucket_of(np.concatenate([step.time_B for step in recent]), NUM_TIMES)
        scale_K = np.where(mean_K > 0, mean_K, 1.0)
        return float(np.mean(np.concatenate([step.loss_B for step in recent]) / scale_K[chosen]))

    def non_finite(self, name_of: Sequence[str]) -> Note | None:
        """The first step that was not finite, with its items."""
        self.read()
        bad = next((step for step in self._seen if not step.is_finite), None)
        if bad is None:
            return None
        which = bad.item_B[~np.isfinite(bad.loss_B)] if not np.isfinite(bad.loss_B).all() else bad.item_B
        names = ", ".join(name_of[item] for item in which[:5])
        return alarm("non_finite_step", statistic=1, threshold=0, n=len(self._seen), samples=bad.samples, names=names)


class _Order:
    """How often each item came, and whether two epochs in a row have the same order."""

    def __init__(self, num_items: int, samples_seen: int) -> None:
        self._count_N = np.zeros(num_items, np.int64)
        self._place = samples_seen
        self._epoch = self._fresh()
        self._last: NDArray[np.int64] | None = None
        self.repeats = 0.0

    @property
    def most(self) -> int:
        """How often the item came that came most often."""
        return int(self._count_N.max())

    def _fresh(self) -> NDArray[np.int64]:
        return np.full(len(self._count_N), -1)

    def add(self, item_B: NDArray[np.int64]) -> None:
        """Take in the items of a step, in the order of its batch."""
        self._count_N += np.bincount(item_B, minlength=len(self._count_N))
        for item in item_B.tolist():
            place = self._place % len(self._count_N)
            if place == 0:
                self._compare()
            self._epoch[item] = place
            self._place += 1

    def _compare(self) -> None:
        """At the end of an epoch; one that was not seen as a whole is left out."""
        epoch, self._epoch = self._epoch, self._fresh()
        whole = len(epoch) > 2 and bool((epoch >= 0).all())
        if whole and self._last is not None:
            self.repeats = rank_correlation(self._last, epoch)
        self._last = epoch if whole else None
