"""The gradient noise scale of a run, measured while it trains, and the advice looked at again with it.

Windows of steps at 5, 20 and 50 % of the run are watched: the noise scale grows as the loss falls, so it is measured
more than once. A step without accumulation is cut in two while it is watched. How many windows there are and how
long they last is decided by the run's length, so that all of them together cost less than 2 % of it.
"""

from collections.abc import Callable

import torch

from advisor.measure.gradient_noise import SETTLING_STEPS, GradientNoiseMeter
from advisor.measure.noise_scale import MIN_STEPS, NoNoiseScaleError
from advisor.recommend.again import better_batch
from advisor.records import Advice, NoiseScale, Note, record
from trainer.config import TrainConfig
from trainer.journal import Journal
from trainer.notes import note
from trainer.state import TrainState

SHARES = (0.05, 0.2, 0.5)
MAX_STEPS = 200  # the error of a window of 200 steps is about a tenth
MAX_COST_FRAC = 0.02
# What a watched step takes longer, at most: the norms of the micro-batches' gradients, and as much again as the step
# itself where its batch has to be cut in two. docs/noise-scale.md says what was measured.
NORMS_COST_FRAC = 0.7
SPLIT_COST_FRAC = 1 + NORMS_COST_FRAC


@record
class NoiseWindow:
    """Steps that are watched: the first one, and how many."""

    first_step: int
    num_steps: int


@record
class NoiseFound:
    """What a window showed; without a noise scale, why there is none."""

    noise_scale: NoiseScale | None
    num_steps: int
    refusal: str | None = None


def plan_windows(num_steps: int, *, is_accumulated: bool) -> tuple[NoiseWindow, ...]:
    """As many of the windows as fit in 2 % of the run, the one at a fifth of it first; none in a short run."""
    affordable = MAX_COST_FRAC * num_steps / (NORMS_COST_FRAC if is_accumulated else SPLIT_COST_FRAC)
    for shares in (SHARES, SHARES[1:], SHARES[1:2]):
        length = min(MAX_STEPS, int(affordable / len(shares)))
        if length >= MIN_STEPS:
            return tuple(NoiseWindow(first_step=int(share * num_steps), num_steps=length) for share in shares)
    return ()


def cut(micro_batch: int, effective_batch: int) -> int:
    """Samples a micro-batch of a watched step has: all of equal size, two or more; 0 if that cannot be."""
    if effective_batch % micro_batch:
        return 0
    if micro_batch < effective_batch:
        return micro_batch
    return effective_batch // 2 if effective_batch % 2 == 0 else 0


class NoiseWatch:
    """Tells the stepper how to cut a step, and watches its backward passes where a window is open."""

    def __init__(self, state: TrainState, config: TrainConfig, windows: tuple[NoiseWindow, ...] | None = None) -> None:
        """Watch these windows, or those that the length of the run allows."""
        self._state, self._batch = state, config.effective_batch
        planned = plan_windows(config.num_steps, is_accumulated=config.accumulation > 1)
        self._windows = planned if windows is None else windows
        self._open: NoiseWindow | None = None
        self._micro_batch = 0
        self._meter: GradientNoiseMeter | None = None

    def begin_step(self, micro_batch: int) -> int:
        """Open or go on with a window if this step lies in one; says how many samples a micro-batch gets."""
        step = self._state.samples_seen // self._batch
        size = cut(micro_batch, self._batch)
        self._open = next((w for w in self._windows if 0 <= step - w.first_step < w.num_steps and size), None)
        if self._open is None:
            return micro_batch
        if self._meter is None or size != self._micro_batch:  # after out of memory the micro-batches are others
            if self._meter is not None:
                self._meter.close()
            self._micro_batch = size
            self._meter = GradientNoiseMeter(
                self._state.model.parameters(),
                micro_batch=size,
                optimizer=self._state.optimizer,
                is_settled=step >= SETTLING_STEPS,
            )
            self._meter.attach()
        self._meter.forget_step()
        return size

    def before_backward(self) -> None:
        """Say that the next backward pass is of another micro-batch."""
        if self._open is not None and self._meter is not None:
            self._meter.before_backward()

    def end_step(self, scaler: torch.amp.GradScaler) -> None:
        """Take in the gradient of the whole step, before it is unscaled and clipped."""
        if self._open is not None and self._meter is not None:
            self._meter.step(grad_scale=scaler.get_scale() if scaler.is_enabled() else 1.0)

    def take(self) -> NoiseFound | None:
        """What the window showed, once after its last step."""
        step = self._state.samples_seen // self._batch
        if self._open is None or self._meter is None or step - self._open.first_step < self._open.num_steps:
            return None
        meter = self._meter
        self._close()
        try:
            found = meter.estimate_both()
        except NoNoiseScaleError as error:
            return NoiseFound(noise_scale=None, num_steps=meter.num_steps, refusal=str(error))
        return NoiseFound(noise_scale=found, num_steps=meter.num_steps)

    def give_up(self) -> bool:
        """Watch no step any more; whether one was being watched."""
        was_watching = self._open is not None
        self._close()
        self._windows = () if was_watching else self._windows
        return was_watching

    def _close(self) -> None:
        if self._meter is not None:
            self._meter.close()
        self._meter, self._open = None, None


class NoiseReport:
    """Writes down what windows show, and says once what the advice would be with it. Nothing is changed."""

    def __init__(
        self, config: TrainConfig, advice: Advice | None, journal: Journal, on_note: Callable[[Note], None]
    ) -> None:
        self._config, self._advice, self._journal, self._on_note = config, advice, journal, on_note
        self._has_said = False

    def __call__(self, samples_seen: int, found: NoiseFound) -> None:
        """Take in one window."""
        scale = found.noise_scale
        adam = scale.preconditioned if scale else None
        self._journal.metric(
            "noise_scale",
            samples_seen,
            step=samples_seen // self._config.effective_batch,
            value=scale.value if scale else None,
            low=scale.low if scale else None,
            high=scale.high if scale else None,
            preconditioned=[adam.value, adam.low, adam.high] if adam else None,
            num_steps=found.num_steps,
            refusal=found.refusal,
        )
        if scale is not None and self._advice is not None:
            self._look_again(samples_seen, scale, self._advice)

    def _look_again(self, samples_seen: int, scale: NoiseScale, advice: Advice) -> None:
        config = self._config
        better = better_batch(advice, (config.micro_batch, config.accumulation), config.lr, scale)
        if better is None:
            return
        said = note(
            "other_batch_from_here",
            share=samples_seen / config.samples,
            value=scale.value,
            low=scale.low,
            high=scale.high,
            micro_batch=better.micro_batch,
            accumulation=better.accumulation,
            lr=better.lr.value,
            ratio=better.progress.value,
            ratio_low=better.progress.low,
            ratio_high=better.progress.high,
        )
        self._journal.event("noise_advice", samples_seen, id=said.id, text=said.text, values=said.values)
        if not self._has_said:
            self._on_note(said)
        self._has_said = True
