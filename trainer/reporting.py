"""What a run tells while it trains: a line of metrics and a frame of progress for each window of steps."""

from collections.abc import Callable

import psutil
import torch

from advisor.records import Claim, Progress
from trainer.card import CardWatch
from trainer.config import TrainConfig
from trainer.health.monitor import Health
from trainer.journal import Journal, RemainingTime
from trainer.loop import Stepper
from trainer.meter import Window
from trainer.state import TrainState


class PeakMemory:
    """Peak bytes of this process since the run began.

    On CUDA the allocator's own counters; on a CPU the growth of the resident set, as it was seen at
    each report.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._rss_before_bytes = self._peak_rss_bytes = psutil.Process().memory_info().rss

    def read(self) -> dict[str, int | None]:
        """The fields of a log line."""
        if self._device.type == "cuda":
            return {
                "peak_allocated_bytes": torch.cuda.max_memory_allocated(self._device),
                "peak_reserved_bytes": torch.cuda.max_memory_reserved(self._device),
            }
        self._peak_rss_bytes = max(self._peak_rss_bytes, psutil.Process().memory_info().rss)
        return {"peak_allocated_bytes": None, "peak_reserved_bytes": self._peak_rss_bytes - self._rss_before_bytes}


class Reporter:
    """Writes a window down, lets the health checks look at it, and shows where the run stands."""

    def __init__(
        self,
        config: TrainConfig,
        state: TrainState,
        stepper: Stepper,
        journal: Journal,
        on_progress: Callable[[Progress], None],
        *,
        run_name: str,
        device_name: str,
        num_train: int,
        memory: PeakMemory,
        health: Health | None,
        at_the_end_s: Claim,
    ) -> None:
        self._config, self._state, self._stepper, self._journal = config, state, stepper, journal
        self._on_progress, self._memory, self._health = on_progress, memory, health
        self._run_name, self._device_name, self._num_train = run_name, device_name, num_train
        self._remaining = RemainingTime(state.samples_seen, at_the_end_s)
        self._card = CardWatch(state.model.device, state.optimizer)

    def __call__(self, window: Window, validation_loss: float | None) -> None:
        """Report one window, with the last known validation loss."""
        state, config = self._state, self._config
        samples_per_s = config.effective_batch / window.step_s
        card = self._card.read()
        self._journal.metric(
            "train",
            state.samples_seen,
            step=state.samples_seen // config.effective_batch,
            epoch=self._epoch(),
            loss=window.loss,
            lr=window.lr,
            grad_norm=window.grad_norm,
            samples_per_s=samples_per_s,
            step_s=window.step_s,
            elapsed_s=state.elapsed_s,
            **self._memory.read(),
            **card,
        )
        self._tell_skipped(window)
        if self._health is not None:
            self._health.reported(state.samples_seen, window, card)
        self._on_progress(self._progress(window, samples_per_s, validation_loss))

    def _epoch(self) -> float:
        return round(self._state.samples_seen / self._num_train, 4)

    def _tell_skipped(self, window: Window) -> None:
        if not window.num_skipped:
            return
        self._journal.event(
            "skipped_steps",
            self._state.samples_seen,
            count=window.num_skipped,
            total=self._state.skipped_steps,
            loss_scale=self._state.scaler.get_scale(),
        )

    def _progress(self, window: Window, samples_per_s: float, validation_loss: float | None) -> Progress:
        state, config = self._state, self._config
        every = config.samples / config.num_milestones
        reached = min(config.num_milestones, int(state.samples_seen / every + 1e-9) + 1)
        return Progress(
            run_name=self._run_name,
            device_name=self._device_name,
            micro_batch=self._stepper.micro_batch,
            accumulation=-(-config.effective_batch // self._stepper.micro_batch),
            samples=state.samples_seen,
            total_samples=config.samples,
            step=state.samples_seen // config.effective_batch,
            total_steps=config.num_steps,
            epoch=self._epoch(),
            loss=window.loss,
            validation_loss=validation_loss,
            lr=window.lr,
            samples_per_s=samples_per_s,
            elapsed_s=state.elapsed_s,
            remaining_s=self._remaining.update(state.samples_seen, config.samples),
            peak_reserved_bytes=self._memory.read()["peak_reserved_bytes"],
            next_milestone_samples=round(reached * every) if state.samples_seen < config.samples else None,
            num_alarms=len(self._health.alarms.raised) if self._health is not None else None,
        )
