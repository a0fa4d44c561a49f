"""The training loop: draw, accumulate, step, average; validate, sample and save when they are due.

Shapes: B effective batch, M micro-batch, N items, C channels, H and W height and width.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from advisor.errors import Interrupted
from advisor.records import Note
from trainer.compiled import Compiled
from trainer.config import TrainConfig
from trainer.diffusion import NUM_TIMES, Objective
from trainer.meter import Meter, Window
from trainer.model import autocast_dtype, null_class
from trainer.noise import NoiseFound, NoiseWatch
from trainer.notes import note
from trainer.oom import MORE_ROOM, NoRoomError, TooLarge, attempt
from trainer.order import Draws, draws
from trainer.schedule import lr_at
from trainer.state import TrainState
from trainer.stop import StopRequest


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """What is trained on, resident on the device: ``x_NCHW`` and ``label_N``."""

    x_NCHW: Tensor
    label_N: Tensor


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What the run's checks look at of one optimizer step; the losses and the norm are still on the device."""

    item_B: Tensor
    time_B: Tensor
    losses_B: Tensor
    grad_norm: Tensor
    lr: float


@dataclasses.dataclass(kw_only=True)
class Due:
    """What the run does at certain points; called between two steps."""

    validate: Callable[[], None]
    milestone: Callable[[int], None]
    checkpoint: Callable[[], None]
    report: Callable[[Window], None]
    note: Callable[[Note], None]
    noise: Callable[[NoiseFound], None] = lambda _: None
    stepped: Callable[[Step], None] = lambda _: None
    stop_reason: Callable[[], Note | None] = lambda: None


class Stepper:
    """One optimizer step after another, each a function of how many samples came before it."""

    def __init__(
        self, state: TrainState, data: TrainingData, config: TrainConfig, *, shrink_on_oom: bool = True
    ) -> None:
        self._state, self._data, self._config = state, data, config
        self._device = data.x_NCHW.device
        self._objective = Objective(self._device, config.min_snr_gamma)
        self._shrink_on_oom = shrink_on_oom
        self.noise = NoiseWatch(state, config)
        self.micro_batch = config.micro_batch
        self.last: Step | None = None
        self._losses_B = torch.empty(0)
        self._notes: list[Note] = []
        self._network: Any = state.model
        if config.compile:
            self._network = Compiled(state.model, self._say_not_compiled)

    def take_notes(self) -> list[Note]:
        """What the last steps have to tell, once."""
        taken, self._notes = self._notes, []
        return taken

    def _say_not_compiled(self, problem: str) -> None:
        self._notes.append(note("not_compiled", problem=problem))

    def step(self) -> tuple[Tensor, Tensor, float]:
        """Run one optimizer step; returns loss, gradient norm (both on the device) and learning rate.

        A step whose gradient is not finite changes no weight: the optimizer is told to skip it, on
        the device, without waiting for it.

        Raises:
            NoRoomError: if not even a micro-batch of one fits; no weight has changed.
        """
        state, config = self._state, self._config
        lr = lr_at(config, state.samples_seen)
        for group in state.optimizer.param_groups:
            group["lr"] = lr
        draw = self._draws()
        loss = self._gradients(draw)
        state.scaler.unscale_(state.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), config.clip_norm)
        state.optimizer.found_inf = (~(norm.isfinite() & loss.isfinite())).float()  # type: ignore[attr-defined]
        state.optimizer.step()
        state.scaler.update()
        state.optimizer.zero_grad(set_to_none=True)
        state.ema.update(state.samples_seen, config.effective_batch)
        state.samples_seen += config.effective_batch
        self.last = Step(
            item_B=draw.item_B, time_B=draw.time_B, losses_B=self._losses_B, grad_norm=norm.detach(), lr=lr
        )
        return loss, norm, lr

    def _draws(self) -> Draws:
        config, data = self._config, self._data
        _, channels, height, width = data.x_NCHW.shape
        return draws(
            seed=config.seed,
            num_items=len(data.label_N),
            samples_seen=self._state.samples_seen,
            batch=config.effective_batch,
            shape=(channels, height, width),
            num_times=NUM_TIMES,
            drop=config.label_dropout,
        )

    def _gradients(self, draw: Draws) -> Tensor:
        """Mean loss of the effective batch, its gradient left in the parameters.

        Out of memory: the micro-batch is halved and the same effective batch done again, so the
        numbers of the run stay what they were.
        """
        while True:
            found = attempt(partial(self._accumulate, draw))
            if not isinstance(found, TooLarge):
                return found
            self._state.optimizer.zero_grad(set_to_none=True)
            self._make_room(found.reason)

    def _make_room(self, reason: str) -> None:
        """Halve the micro-batch; where that cannot be, do without the noise scale, which needs memory of its own."""
        if self.micro_batch > 1 and self._shrink_on_oom:
            before, self.micro_batch = self.micro_batch, self.micro_batch // 2
            self._notes.append(note("micro_batch_halved", before=before, after=self.micro_batch))
        elif self.noise.give_up():
            self._notes.append(note("noise_scale_left_out", problem=reason))
        else:
            remedy = MORE_ROOM if self._shrink_on_oom else "--on-oom shrink halves it"
            raise NoRoomError(f"out of memory with micro-batch {self.micro_batch} ({reason}); {remedy}")

    def _accumulate(self, draw: Draws) -> Tensor:
        total, losses = torch.zeros((), device=self._device), []
        batch = self._config.effective_batch
        size = self.noise.begin_step(self.micro_batch)
        for part in range(0, batch, size):
            chosen = slice(part, part + size)
            with self._precision():
                losses_M = self._losses(draw, chosen)
                loss = losses_M.sum() / batch
            self.noise.before_backward()
            self._state.scaler.scale(loss).backward()
            total += loss.detach()
            losses.append(losses_M.detach())
        self.noise.end_step(self._state.scaler)
        self._losses_B = torch.cat(losses)
        return total

    def _losses(self, draw: Draws, chosen: slice) -> Tensor:
        item_M = draw.item_B[chosen].to(self._device, non_blocking=True)
        drop_M = draw.drop_label_B[chosen].to(self._device, non_blocking=True)
        label_M = torch.where(drop_M, null_class(self._state.model), self._data.label_N[item_M])
        return self._objective.losses(
            self._network,
            self._data.x_NCHW[item_M],
            label_M,
            draw.time_B[chosen].to(self._device, non_blocking=True),
            draw.noise_BCHW[chosen].to(self._device, non_blocking=True),
        )

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        dtype = autocast_dtype(self._config.precision)
        return contextlib.nullcontext() if dtype is None else torch.autocast(self._device.type, dtype=dtype)


def train(stepper: Stepper, state: TrainState, config: TrainConfig, due: Due, stop: StopRequest) -> None:
    """Train until ``config.samples`` samples have been seen, or until there is a reason to stop early.

    Raises:
        Interrupted: after a signal, when the step is finished and a checkpoint is written.
        NonFiniteError: when a loss or gradient is NaN or infinite; no weight has changed by it. In fp16
            such steps are skipped and the loss is scaled down, until no scale is left to try.
    """
    state.model.train()
    meter = Meter(state)
    while state.samples_seen < config.samples:
        before = state.samples_seen
        taken = stepper.step()
        if stepper.last is not None:
            due.stepped(stepper.last)
        meter.add(*taken)
        for said in stepper.take_notes():
            due.note(said)
        found = stepper.noise.take()
        if found is not None:
            due.noise(found)

        milestones = _crossed(config.samples / config.num_milestones, before, state.samples_seen)
        validating = _crossed(config.validate_every_samples, before, state.samples_seen)
        saving = _crossed(config.checkpoint_every_samples, before, state.samples_seen)
        finished = state.samples_seen >= config.samples
        stopping = stop.signal_number is not None and not finished
        if not (milestones or validating or saving or finished or stopping or meter.is_due()):
            continue

        due.report(meter.window())
        if validating:
            due.validate()
        for k in milestones:
            if k <= config.num_milestones:
                due.milestone(k)
        if saving or milestones or finished or stopping:
            due.checkpoint()
        if stopping:
            raise Interrupted(
                f"stopped and saved at {state.samples_seen} samples; the same command goes on from here",
                stop.signal_number or 0,
            )
        reason = due.stop_reason() if saving and not finished else None
        if reason is not None:
            due.note(reason)
            return
        meter.restart()


def _crossed(every: float, before: int, after: int) -> list[int]:
    """Numbers k with ``before < k * every <= after``; a hair of tolerance for a fractional ``every``."""
    return list(range(math.floor(before / every + 1e-9) + 1, math.floor(after / every + 1e-9) + 1))
