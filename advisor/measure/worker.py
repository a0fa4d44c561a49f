"""The child process of a measurement: builds a workload and steps it on orders from its parent.

``python -m advisor.measure.worker`` reads :class:`~advisor.measure.messages.Order` lines from stdin and
writes :class:`~advisor.measure.messages.Reply` lines to what was stdout. The user's own prints go to
stderr, the user's reads find an empty stdin, and the process ends when its parent does.
"""

import contextlib
import inspect
import math
import os
import queue
import threading
import time
from typing import IO, Any

from advisor import schema
from advisor.errors import UsageError, WorkloadError
from advisor.measure.messages import BuildOrder, Built, Failure, Order, Reply, StepReport
from advisor.measure.oom import classify_error
from advisor.workload.load import load_factory, workload_error
from advisor.workload.protocol import Workload

import torch  # isort: skip - after our own modules, which are quick to fail

from advisor.measure.memory import MemoryMeter, meter_for, static_breakdown  # isort: skip - imports torch


def main() -> None:
    """Answer orders until the parent closes the pipe."""
    orders_pipe, replies_pipe = _take_over_streams()
    orders: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read_orders, args=(orders_pipe, orders), daemon=True).start()
    bench = Bench()
    while True:
        reply = bench.answer(schema.from_json(Order, orders.get(), where="order"))
        replies_pipe.write(" ".join(schema.to_json(reply).split("\n")) + "\n")
        replies_pipe.flush()


class Bench:
    """One workload on one device at one setting, ready to be stepped."""

    def __init__(self) -> None:
        self._meter: MemoryMeter | None = None
        self._stepper: Stepper | None = None

    def answer(self, order: Order) -> Reply:
        """Do what is ordered; whatever goes wrong is a reply too."""
        try:
            if order.action == "build" and order.build is not None:
                return Reply(built=self._build(order.build))
            if self._stepper is None:
                raise UsageError("a step was ordered before the workload was built")
            return Reply(step=self._stepper.step(tracks_memory=order.tracks_memory))
        except NonFiniteLossError as error:
            return Reply(failure=Failure(outcome="non_finite", message=str(error)))
        except WorkloadError as error:
            failure = Failure(outcome="error", message=str(error), traceback_text=error.traceback_text)
            return Reply(failure=failure)
        except UsageError as error:
            return Reply(failure=Failure(outcome="error", message=str(error), usage_error=True))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
            return Reply(failure=self._failure(error, "building the workload" if not self._stepper else "a step"))

    def _build(self, order: BuildOrder) -> Built:
        factory = load_factory(order.spec)
        device = torch.device(order.device)
        try:
            inspect.signature(factory).bind(device, **order.parameters)
        except TypeError as error:
            raise UsageError(f"{order.spec} must take the device and {dict(order.parameters)}: {error}") from None
        self._meter = meter_for(device)
        if order.cap_bytes is not None:
            self._meter.set_cap(order.cap_bytes)
        torch.manual_seed(0)
        workload = factory(device, **order.parameters)
        if not isinstance(workload, Workload):
            raise UsageError(f"{order.spec} returned {type(workload).__name__}; it must return an advisor.Workload")
        self._stepper = Stepper(workload, device, order.micro_batch, order.accumulation, self._meter)
        return _describe(workload, self._meter)

    def _failure(self, error: BaseException, doing: str) -> Failure:
        kind = classify_error(type(error).__name__, str(error))
        nearly_full = kind == "oom_suspect" and self._meter is not None and self._meter.is_nearly_full()
        shown = workload_error(error, doing)
        if kind == "oom" or nearly_full:
            return Failure(outcome="oom", message=_first_line(error))
        if kind == "size_limit":
            message = f"a size limit of the device, not its memory: {_first_line(error)}"
            return Failure(outcome="error", message=message, traceback_text=shown.traceback_text)
        return Failure(outcome="error", message=str(shown), traceback_text=shown.traceback_text)


class NonFiniteLossError(Exception):
    """The loss is NaN or infinite."""


class Stepper:
    """Runs optimizer steps: zero_grad, micro-batches with loss / accumulation, clip, step, EMA."""

    def __init__(
        self, workload: Workload, device: torch.device, micro_batch: int, accumulation: int, meter: MemoryMeter
    ) -> None:
        self._workload, self._device, self._meter = workload, device, meter
        self._micro_batch, self._accumulation = micro_batch, accumulation
        scales = workload.autocast_dtype == torch.float16 and device.type == "cuda"
        self._scaler = torch.amp.GradScaler(device.type, enabled=scales)

    def step(self, *, tracks_memory: bool) -> StepReport:
        """Run one optimizer step and say what it took.

        Raises:
            NonFiniteLossError: if the loss is not finite.
        """
        tracking = self._meter.tracking(self._workload.model) if tracks_memory else contextlib.nullcontext()
        self._synchronize()
        started_s = time.perf_counter()
        with tracking:
            loss = self._run()
        self._synchronize()
        step_s = time.perf_counter() - started_s
        if not math.isfinite(float(loss)):
            raise NonFiniteLossError(f"the loss is {float(loss)}")
        if not tracks_memory:
            return StepReport(step_s=step_s, peak_reserved_bytes=self._meter.reserved_bytes())
        phase_bytes = self._meter.phase_bytes()
        return StepReport(
            step_s=step_s,
            peak_allocated_bytes=max(phase_bytes.values()),
            peak_reserved_bytes=self._meter.reserved_bytes(),
            phase_bytes=phase_bytes,
            breakdown=static_breakdown(self._workload),
        )

    def _run(self) -> torch.Tensor:
        workload, meter = self._workload, self._meter
        workload.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self._device)
        for k in range(self._accumulation):
            with meter.phase("first_micro_batch" if k == 0 else "later_micro_batches"):
                total += self._micro_step()
        with meter.phase("optimizer"):
            self._update_weights()
        if workload.ema is not None:
            with meter.phase("ema"):
                workload.ema.update()
        return total

    def _micro_step(self) -> torch.Tensor:
        workload = self._workload
        batch = workload.batch(self._micro_batch)
        autocast = torch.autocast(
            self._device.type, dtype=workload.autocast_dtype, enabled=workload.autocast_dtype is not None
        )
        with autocast:
            loss = workload.loss(workload.model, batch)
        _require_scalar_with_gradient(loss)
        torch.autograd.backward(self._scaler.scale(loss / self._accumulation))
        return loss.detach() / self._accumulation

    def _update_weights(self) -> None:
        workload = self._workload
        if workload.clip_norm is not None:
            self._scaler.unscale_(workload.optimizer)
            torch.nn.utils.clip_grad_norm_(workload.model.parameters(), workload.clip_norm)
        self._scaler.step(workload.optimizer)
        self._scaler.update()

    def _synchronize(self) -> None:
        if self._device.type != "cpu":
            getattr(torch, self._device.type).synchronize()


def _require_scalar_with_gradient(loss: Any) -> None:
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        found = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise UsageError(f"loss(model, batch) must return the mean loss, one number; found {found}")
    if not loss.requires_grad:
        raise UsageError(
            "loss(model, batch) returned a loss without gradient: is it computed under no_grad or detached?"
        )


def _describe(workload: Workload, meter: MemoryMeter) -> Built:
    group = workload.optimizer.param_groups[0] if workload.optimizer.param_groups else {}
    betas = group.get("betas") or (group.get("momentum"), None)
    return Built(
        lr=_finite_number(group.get("lr")),
        beta1=_finite_number(betas[0]),
        beta2=_finite_number(betas[1]),
        ema_decay=_finite_number(getattr(workload.ema, "decay", None)),
        has_ema=workload.ema is not None,
        clip_norm=workload.clip_norm,
        tracking_costs_time=meter.tracking_costs_time,
    )


def _finite_number(value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None  # type: ignore[arg-type]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _take_over_streams() -> tuple[IO[str], IO[str]]:
    """Private copies of stdin and stdout; the public ones become empty and stderr."""
    orders_pipe = os.fdopen(os.dup(0), encoding="utf-8")
    replies_pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return orders_pipe, replies_pipe


def _read_orders(orders_pipe: IO[str], orders: "queue.Queue[str]") -> None:
    for line in orders_pipe:
        orders.put(line)
    os._exit(0)  # the parent is gone: end even in the middle of the user's endless loop


if __name__ == "__main__":
    main()
