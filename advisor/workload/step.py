"""One optimizer step of a workload: the same code whether it is measured on a device or traced on a simulated one."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import torch

from advisor.errors import UsageError
from advisor.workload.protocol import Workload

_SMALL_SCALE = 256.0

Phase = Callable[[str], contextlib.AbstractContextManager[None]]


class TrainingStep:
    """Runs optimizer steps: zero_grad, micro-batches with loss / accumulation, clip, step, EMA.

    ``phase(name)`` is entered around ``first_micro_batch``, ``later_micro_batches``, ``clip``, ``optimizer`` and
    ``ema``.
    """

    def __init__(
        self, workload: Workload, device: torch.device, micro_batch: int, accumulation: int, phase: Phase
    ) -> None:
        self._workload, self._device, self._phase = workload, device, phase
        self._micro_batch, self._accumulation = micro_batch, accumulation
        self._scaler = workload.grad_scaler or _scaler_for(workload, device)
        self._waits_s: list[float] = []

    @property
    def loss_scale(self) -> float:
        """What losses are multiplied by before their backward pass."""
        return self._scaler.get_scale() if self._scaler.is_enabled() else 1.0

    @property
    def input_s(self) -> float:
        """Seconds that ``batch(n)`` took in the last step, if the device was idle when that began.

        On a device that works on while the host waits, later micro-batches may wait for it instead of the input: the
        first one stands for all. A loader that works ahead may have done so before the step: it is a lower bound.
        """
        if self._device.type == "cpu":
            return sum(self._waits_s)
        return self._waits_s[0] * self._accumulation if self._waits_s else 0.0

    def run(self, num_micro_batches: int | None = None) -> torch.Tensor:
        """Run one, of fewer micro-batches than usual if so many are named; says its loss, still on the device.

        Raises:
            UsageError: if the loss is not one number with a gradient.
        """
        workload = self._workload
        workload.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self._device)
        self._waits_s = []
        for k in range(num_micro_batches or self._accumulation):
            with self._phase("first_micro_batch" if k == 0 else "later_micro_batches"):
                total += self._micro_step()
        if workload.clip_norm is not None:
            with self._phase("clip"):
                self._scaler.unscale_(workload.optimizer)
                torch.nn.utils.clip_grad_norm_(workload.model.parameters(), workload.clip_norm)
        with self._phase("optimizer"):
            self._scaler.step(workload.optimizer)
            self._scaler.update()
        if workload.ema is not None:
            with self._phase("ema"):
                workload.ema.update()
        return total

    def _micro_step(self) -> torch.Tensor:
        workload = self._workload
        asked_s = time.perf_counter()
        batch = workload.batch(self._micro_batch)
        self._waits_s.append(time.perf_counter() - asked_s)
        autocast = torch.autocast(
            self._device.type, dtype=workload.autocast_dtype, enabled=workload.autocast_dtype is not None
        )
        with autocast:
            loss = workload.loss(workload.model, batch)
        _require_scalar_with_gradient(loss)
        torch.autograd.backward(self._scaler.scale(loss / self._accumulation))
        return loss.detach() / self._accumulation


def _scaler_for(workload: Workload, device: torch.device) -> torch.amp.GradScaler:
    """One that scales little, so that no step is left out: neither memory nor time depend on the scale."""
    enabled = workload.autocast_dtype == torch.float16
    return torch.amp.GradScaler(device.type, init_scale=_SMALL_SCALE, enabled=enabled)


def _require_scalar_with_gradient(loss: Any) -> None:
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        found = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise UsageError(f"loss(model, batch) must return the mean loss, one number; found {found}")
    if not loss.requires_grad:
        raise UsageError(
            "loss(model, batch) returned a loss without gradient: is it computed under no_grad or detached?"
        )
