"""Loss, gradient norm and time of the steps between two reports, and whether each step was finite."""

import dataclasses
import math
import statistics
import time

import torch
from torch import Tensor

from advisor.errors import NonFiniteError
from trainer.state import TrainState

_LOG_EVERY_S = 2.0
_LEAST_LOSS_SCALE = 1.0  # a gradient that overflows unscaled is no matter of the scale


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Means over the steps since the last report.

    ``num_skipped`` of its steps changed no weight, since a gradient overflowed in fp16; they are left
    out of the means, which are ``None`` if no other step is there.
    """

    loss: float | None
    grad_norm: float | None
    lr: float
    step_s: float
    num_steps: int
    num_skipped: int = 0


class Meter:
    """Means and time since the last report. On a GPU nothing is read back in between: that stalls it."""

    def __init__(self, state: TrainState) -> None:
        self._state = state
        self._reads_every_step = state.model.device.type == "cpu"
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._lr = 0.0
        self.restart()

    def restart(self) -> None:
        """Begin a new window; what happened since the last report is not training time."""
        self._since_s = time.perf_counter()
        self._losses.clear()
        self._norms.clear()

    def add(self, loss: Tensor, norm: Tensor, lr: float) -> None:
        """Take in one step."""
        self._losses.append(loss)
        self._norms.append(norm.detach())
        self._lr = lr
        if self._reads_every_step:
            self._is_good(float(loss), float(norm))

    def is_due(self) -> bool:
        """Whether it is time for a report."""
        return time.perf_counter() - self._since_s >= _LOG_EVERY_S

    def window(self) -> Window:
        """Means since the last report; adds the time to the run's training time.

        Raises:
            NonFiniteError: if a step of the window was not finite.
        """
        losses, norms = torch.stack(self._losses).tolist(), torch.stack(self._norms).tolist()
        window_s = time.perf_counter() - self._since_s
        good = [pair for pair in zip(losses, norms, strict=True) if self._is_good(*pair)]
        num_steps, num_skipped = len(losses), len(losses) - len(good)
        self._state.elapsed_s += window_s
        self._state.skipped_steps += num_skipped
        return Window(
            loss=statistics.fmean(loss for loss, _ in good) if good else None,
            grad_norm=statistics.fmean(norm for _, norm in good) if good else None,
            lr=self._lr,
            step_s=window_s / num_steps,
            num_steps=num_steps,
            num_skipped=num_skipped,
        )

    def _is_good(self, loss: float, norm: float) -> bool:
        """Whether the step changed the weights; in fp16 it may have been skipped, to be tried at a lower scale."""
        if math.isfinite(loss) and math.isfinite(norm):
            return True
        scaler = self._state.scaler
        if scaler.is_enabled() and scaler.get_scale() >= _LEAST_LOSS_SCALE:
            return False
        raise NonFiniteError(
            f"loss {loss}, gradient norm {norm} near {self._state.samples_seen} samples: no weight was changed by it, "
            "the last checkpoint is good. Lower the learning rate (--set lr=...) in another --out, or look at the data"
        )
