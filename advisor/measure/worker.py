"""The child process of a measurement: builds a workload and steps it on orders from its parent.

It reads lines of :class:`~advisor.measure.messages.Order` and writes lines of
:class:`~advisor.measure.messages.Reply`, as :mod:`advisor.workload.child` lets it.
"""

import contextlib
import dataclasses
import math
import statistics
import time
from collections.abc import Iterator

from advisor import schema
from advisor.errors import UsageError, WorkloadError
from advisor.measure.messages import BuildOrder, Built, Failure, Order, Rehearsed, Reply, StepReport, WatchReport
from advisor.predict.trace import Trace
from advisor.workload.child import answer_orders
from advisor.workload.description import describe
from advisor.workload.load import import_early, load_factory, workload_error
from advisor.workload.oom import classify_error
from advisor.workload.protocol import Workload

import torch  # isort: skip - after our own modules, which are quick to fail

from advisor.measure.history import History, collect_cycles, start_history  # isort: skip - imports torch
from advisor.measure.memory import MemoryMeter, meter_for  # isort: skip - imports torch
from advisor.measure.rehearsal import rehearse  # isort: skip - imports torch
from advisor.measure.watched import WatchedSteps  # isort: skip - imports torch
from advisor.workload.build import build_workload  # isort: skip - imports torch
from advisor.workload.state import static_breakdown  # isort: skip - imports torch
from advisor.workload.step import TrainingStep  # isort: skip - imports torch


def main(spec: str) -> None:
    """Answer orders until the parent closes the pipe; the workload's imports take seconds and are done before."""
    bench = Bench()
    answer_orders(
        lambda line: schema.to_json(bench.answer(schema.from_json(Order, line, where="order"))),
        prepare=lambda: import_early(spec),
    )


class Bench:
    """One workload on one device at one setting, ready to be stepped."""

    def __init__(self) -> None:
        self._meter: MemoryMeter | None = None
        self._stepper: Stepper | None = None

    def answer(self, order: Order) -> Reply:
        """Do what is ordered; whatever goes wrong is a reply too."""
        try:
            if order.action == "import":
                return Reply()
            if order.action == "build" and order.build is not None:
                return Reply(built=self._build(order.build))
            if self._stepper is None:
                raise UsageError("a step was ordered before the workload was built")
            if order.action == "history":
                return Reply(history=self._stepper.history())
            if order.action == "watch":
                return Reply(watched=self._stepper.watch(order.num_steps, anew=order.anew))
            if order.action == "rehearse":
                return Reply(rehearsed=self._stepper.rehearse())
            if order.action == "evaluate":
                return Reply(step=self._stepper.evaluate())
            if order.num_steps > 1:
                return Reply(step=self._stepper.steps(order.num_steps))
            return Reply(step=self._stepper.step(tracks_memory=order.tracks_memory))
        except NonFiniteLossError as error:
            return Reply(failure=Failure(outcome="non_finite", message=str(error)))
        except WorkloadError as error:
            failure = Failure(outcome="error", message=str(error), traceback_text=error.traceback_text)
            return Reply(failure=failure)
        except UsageError as error:
            return Reply(failure=Failure(outcome="error", message=str(error), usage_error=True))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
            return Reply(failure=self._failure(error, self._doing(order)))

    def _build(self, order: BuildOrder) -> Built:
        device = torch.device(order.device)
        factory = load_factory(order.spec)
        meter = meter_for(device)  # after the imports of the user's file: they are no part of the step
        if order.cap_bytes is not None:
            meter.set_cap(order.cap_bytes)
        self._meter = meter
        history = start_history(device) if order.keeps_history else None
        workload = build_workload(factory, order.spec, device, order.parameters)
        self._stepper = Stepper(workload, device, order.micro_batch, order.accumulation, meter, history)
        return describe(workload, tracking_costs_time=meter.tracking_costs_time)

    def _doing(self, order: Order) -> str:
        if self._stepper is None:
            return "building the workload"
        return {"evaluate": "the evaluation", "rehearse": "what a run does beside its steps"}.get(
            order.action, "a step"
        )

    def _failure(self, error: BaseException, doing: str) -> Failure:
        kind = classify_error(type(error).__name__, str(error))
        nearly_full = kind == "oom_suspect" and self._meter is not None and self._meter.is_nearly_full()
        shown = workload_error(error, doing)
        if kind == "oom" or nearly_full:
            return Failure(outcome="oom", message=_first_line(error))
        if kind == "size_limit":
            message = f"a size limit of the device, not its memory: {_first_line(error)}"
            return Failure(outcome="error", message=message, traceback_text=shown.traceback_text, is_size_limit=True)
        return Failure(outcome="error", message=str(shown), traceback_text=shown.traceback_text)


class NonFiniteLossError(Exception):
    """The loss is NaN or infinite."""


class Stepper:
    """Runs optimizer steps, and times and meters them."""

    def __init__(
        self,
        workload: Workload,
        device: torch.device,
        micro_batch: int,
        accumulation: int,
        meter: MemoryMeter,
        history: History | None = None,
    ) -> None:
        self._workload, self._device, self._meter, self._history = workload, device, meter, history
        self._micro_batch, self._accumulation = micro_batch, accumulation
        self._watched: WatchedSteps | None = None
        self._step = TrainingStep(workload, device, micro_batch, accumulation, self._phase)

    def step(self, *, tracks_memory: bool) -> StepReport:
        """Run one optimizer step and say what it took.

        Raises:
            NonFiniteLossError: if the loss is not finite.
        """
        tracking = self._meter.tracking(self._workload.model) if tracks_memory else contextlib.nullcontext()
        self._synchronize()
        started_s = time.perf_counter()
        with tracking:
            loss = self._step.run()
        self._synchronize()
        step_s = time.perf_counter() - started_s
        if not math.isfinite(float(loss)):
            raise NonFiniteLossError(f"the loss is {float(loss)}")
        if not tracks_memory:
            return self._report(step_s, self._step.input_s if self._workload.real_data else None)
        phase_bytes = self._meter.phase_bytes()
        return StepReport(
            step_s=step_s,
            peak_allocated_bytes=max(phase_bytes.values()),
            peak_reserved_bytes=self._meter.reserved_bytes(),
            phase_bytes=phase_bytes,
            breakdown=static_breakdown(self._workload),
        )

    def steps(self, num_steps: int) -> StepReport:
        """Run several without a pause, as a run does; times are the mean of all but the first.

        Raises:
            NonFiniteLossError: if a loss is not finite.
        """
        _, *timed = [self.step(tracks_memory=False) for _ in range(num_steps)]
        inputs_s = [one.input_s for one in timed if one.input_s is not None]
        return dataclasses.replace(
            timed[-1],
            step_s=statistics.fmean(one.step_s for one in timed),
            input_s=statistics.fmean(inputs_s) if inputs_s else None,
            num_steps=num_steps,
        )

    def evaluate(self) -> StepReport:
        """Run the workload's evaluation or sampling step, if it has one."""
        self._synchronize()
        started_s = time.perf_counter()
        if self._workload.eval_step is not None:
            with self._phase("evaluation"), torch.no_grad():
                self._workload.eval_step()
        self._synchronize()
        return self._report(time.perf_counter() - started_s)

    def watch(self, num_steps: int, *, anew: bool) -> WatchReport:
        """Run steps whose gradients are watched.

        Raises:
            NonFiniteLossError: if a loss is not finite.
        """
        if self._watched is None or anew:
            self._watched = WatchedSteps(
                self._workload, self._device, self._micro_batch, self._accumulation, is_settled=anew
            )
        report = self._watched.run(num_steps)
        if not math.isfinite(report.loss):
            raise NonFiniteLossError(f"the loss is {report.loss}")
        return report

    def rehearse(self) -> tuple[Rehearsed, ...]:
        """Time what a run of the workload does beside its steps."""
        return rehearse(self._workload, self._synchronize)

    def history(self) -> Trace | None:
        """Every allocation and free since the workload was built, if the device tells."""
        return self._history.trace(self._micro_batch) if self._history is not None else None

    def _report(self, step_s: float, input_s: float | None = None) -> StepReport:
        if self._history is not None:
            collect_cycles()
        breakdown = static_breakdown(self._workload) if self._history is not None else None
        return StepReport(
            step_s=step_s,
            peak_reserved_bytes=self._meter.reserved_bytes(),
            breakdown=breakdown,
            num_retries=self._meter.num_retries(),
            input_s=input_s,
        )

    @contextlib.contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        with self._meter.phase(name), self._history.phase(name) if self._history else contextlib.nullcontext():
            yield

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # without it the current card is waited for, which may be another
        elif self._device.type != "cpu":
            getattr(torch, self._device.type).synchronize()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
