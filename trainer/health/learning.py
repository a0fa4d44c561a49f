"""Whether the run learns what it should: judged on the same held-out tuples at every validation.

Shapes: V validation tuples, K noise buckets, P weights of a sample of all.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from advisor.records import Note
from trainer.amounts import NUM_BUCKETS
from trainer.config import TrainConfig
from trainer.health.alarms import alarm
from trainer.health.baselines import Baselines
from trainer.health.statistics import Floats, Paired, bucket_means, final_error, paired
from trainer.schedule import ema_decay_at

PACE_FROM_FRAC = 0.05  # the earlier of the two points whose power law is extended; before it lies the warm-up
MIN_STEPS = 100  # the first steps shape the output's scale, and errors rise and fall with it
Z_SURE = 4.0  # of tests that are repeated at every validation and in every bucket: 1 in 30,000 each
Z_LABEL = 3.0
SMALL_GAIN_FRAC = 0.01
PLATEAU_FRAC = 0.005
PLATEAU_SPAN_FRAC = 0.2
Z_95 = 1.96
LEAST_MOVED, MOST_MOVED = 0.1, 1.0
_SAMPLED_PER_TENSOR = 1000


class Validation(NamedTuple):
    """Errors of the averaged weights at the fixed tuples, not weighted."""

    samples: int
    error_V: Floats


class WeightSample:
    """Some weights of every tensor, for how far training and its average have moved them."""

    def __init__(self, model: nn.Module, average: Sequence[Tensor]) -> None:
        self._parameters, self._average = list(model.parameters()), average
        self._first_P, _ = self._take()
        self._before: tuple[Tensor, int] | None = None

    def _take(self) -> tuple[Tensor, Tensor]:
        def flat(tensors: Sequence[Tensor]) -> Tensor:
            return torch.cat([tensor.detach().flatten()[:_SAMPLED_PER_TENSOR] for tensor in tensors]).float().cpu()

        return flat(self._parameters), flat(self._average)

    def moved(self) -> float:
        """Way from the initial weights, in their own length."""
        now_P, _ = self._take()
        return float((now_P - self._first_P).norm() / self._first_P.norm().clamp(min=1e-30))

    def average_follows(self, samples: int, config: TrainConfig) -> Note | None:
        """Compare the average's move since the last call with what its half-life implies.

        The average forgets a share ``f`` of itself, so it moves by ``f`` of the way to where the weights were
        on average, which is about half of the way to where they are now; a tenth of ``f`` is far below that.
        """
        now_P, average_P = self._take()
        before, self._before = self._before, (average_P, samples)
        if before is None or before[1] >= samples:
            return None
        way_P = now_P - before[0]
        share = float((average_P - before[0]) @ way_P / (way_P @ way_P).clamp(min=1e-30))
        threshold = 0.1 * _forgotten(before[1], samples, config)
        if share >= threshold or not float(way_P @ way_P):
            return None
        return alarm("ema_stuck", statistic=share, threshold=threshold, n=len(now_P))


def _forgotten(since: int, samples: int, config: TrainConfig) -> float:
    """Share of the first average that the steps between these points replace."""
    batch, kept = config.effective_batch, 1.0
    for seen in range(since, samples, batch):
        kept *= ema_decay_at(config.ema_half_lives_samples[0], seen, batch)
        if kept < 1e-3:
            break
    return 1 - kept


class LearningChecks:
    """All validations of a run, and what follows from them."""

    def __init__(self, config: TrainConfig, baselines: Baselines, wiener_V: Floats, bucket_V: np.ndarray) -> None:
        self._config, self.baselines, self._wiener_V, self._bucket_V = config, baselines, wiener_V, bucket_V
        self.history: list[Validation] = []
        self.label_is_used: bool | None = None
        self._groups = [*(bucket_V == bucket for bucket in range(NUM_BUCKETS)), np.ones(len(bucket_V), bool)]
        self._rising_runs = np.zeros(len(self._groups), np.int64)
        self.is_rising_at_high_noise = False

    def add(self, samples: int, error_V: Floats) -> None:
        """Take in a validation; one that is made again after a restart replaces the first."""
        self.history = [one for one in self.history if one.samples < samples]
        self.history.append(Validation(samples, error_V))

    def _is_early(self) -> bool:
        """Whether nothing can be said yet of what is learned."""
        return not self.history or self.history[-1].samples < MIN_STEPS * self._config.effective_batch

    def skill(self) -> list[float | None]:
        """Share of the Wiener denoiser's error that the network has removed, by bucket."""
        if not self.history or self.baselines.wiener is None:
            return [None] * NUM_BUCKETS
        error_K = bucket_means(self.history[-1].error_V, self._bucket_V)
        return [
            1 - error / wiener if math.isfinite(error) and wiener > 0 else None
            for error, wiener in zip(error_K.tolist(), self.baselines.wiener, strict=True)
        ]

    def pace(self, moved: float) -> Note | None:
        """Whether the error will get below the best linear denoiser's at all: the power law of the last two points.

        Which way the learning rate is wrong follows from how far the weights were moved.
        """
        if self._is_early():
            return None
        wiener = float(np.nanmean(self._wiener_V)) if np.isfinite(self._wiener_V).any() else math.nan
        now = self.history[-1]
        earlier = [one for one in self.history[:-1] if one.samples <= now.samples / 2 * 1.02]
        if not earlier or earlier[-1].samples < PACE_FROM_FRAC * self._config.samples or now.error_V.mean() <= wiener:
            return None
        before = earlier[-1]
        final = final_error(now.error_V, before.error_V, now.samples, before.samples, self._config.samples, z=Z_SURE)
        if not final > wiener:
            return None
        too_low = moved < LEAST_MOVED
        return alarm(
            "lr_too_low" if too_low else "lr_too_high",
            statistic=final,
            threshold=wiener,
            n=len(now.error_V),
            moved=moved,
            lr=self._config.lr * (10 if too_low else 0.1),
        )

    def _is_late_enough(self, samples: int) -> bool:
        return not self._is_early() and samples >= 2 * PACE_FROM_FRAC * self._config.samples

    def label(self, null_V: Floats) -> Note | None:
        """Whether the network does better with the label than without it, tuple by tuple."""
        now = self.history[-1]
        gain = paired(null_V, now.error_V)
        largest = (gain.mean + Z_LABEL * gain.standard_error) / float(now.error_V.mean())
        if gain.z >= Z_LABEL:
            self.label_is_used = True
        elif self._is_late_enough(now.samples) and largest <= SMALL_GAIN_FRAC:
            self.label_is_used = False
            return alarm("label_ignored", statistic=gain.z, threshold=Z_LABEL, n=gain.n, limit=SMALL_GAIN_FRAC)
        return None

    def overfit(self) -> Note | None:
        """Whether the error, of a bucket or as a whole, has risen above its best twice running."""
        if len(self.history) < 3 or self._is_early():
            return None
        now, rises = self.history[-1], list[tuple[Paired, int]]()
        for chosen in self._groups:
            best = min(self.history[:-1], key=lambda one: float(one.error_V[chosen].mean()))
            rises.append((paired(now.error_V[chosen], best.error_V[chosen]), best.samples))
        z_G = np.array([rise.z for rise, _ in rises])
        self._rising_runs = np.where(z_G > Z_SURE, self._rising_runs + 1, 0)
        self.is_rising_at_high_noise = bool((self._rising_runs[NUM_BUCKETS // 2 : NUM_BUCKETS] >= 2).any())
        rising = np.flatnonzero(self._rising_runs >= 2)
        if not len(rising):
            return None
        worst = int(rising[z_G[rising].argmax()])
        rise, best_samples = rises[worst]
        return alarm(
            "overfit",
            statistic=rise.z,
            threshold=Z_SURE,
            n=rise.n,
            bucket=worst + 1 if worst < NUM_BUCKETS else f"1-{NUM_BUCKETS}",
            best_samples=best_samples,
        )

    def plateau(self) -> Note | None:
        """Whether the 95 % interval of the relative change over a fifth of the run lies inside half a percent."""
        if self._is_early():
            return None
        now = self.history[-1]
        since = [one for one in self.history if one.samples <= now.samples - PLATEAU_SPAN_FRAC * self._config.samples]
        if not since:
            return None
        change = paired(now.error_V, since[-1].error_V)
        largest = (abs(change.mean) + Z_95 * change.standard_error) / float(since[-1].error_V.mean())
        if not largest <= PLATEAU_FRAC:
            return None
        return alarm("plateau_reached", statistic=largest, threshold=PLATEAU_FRAC, n=change.n)
