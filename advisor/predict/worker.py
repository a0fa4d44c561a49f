"""The child process of a prediction: runs training steps on a simulated GPU and says what they allocate.

A child of its own, because private parts of PyTorch that meet a device that they do not know may abort.
"""

import contextlib
import functools
import gc
from collections.abc import Iterator

from advisor import schema
from advisor.errors import UsageError, WorkloadError
from advisor.imports import quick_imports, set_imports_aside
from advisor.predict.messages import Traced, TraceOrder, TraceReply
from advisor.workload.child import Failure, answer_orders
from advisor.workload.description import describe
from advisor.workload.load import load_factory, workload_error

import torch  # isort: skip - after our own modules, which are quick to fail

from advisor.predict.recorder import Recorder, RecordingMode  # isort: skip - imports torch
from advisor.predict.self_test import usable_gpu  # isort: skip - imports torch
from advisor.predict.simulated_gpu import SimulatedGpu  # isort: skip - imports torch
from advisor.workload.build import build_workload  # isort: skip - imports torch
from advisor.workload.protocol import Workload  # isort: skip - beside the others
from advisor.workload.state import static_breakdown  # isort: skip - imports torch
from advisor.workload.step import TrainingStep  # isort: skip - imports torch


def main() -> None:
    """Answer orders until the parent closes the pipe."""
    card = Card()
    answer_orders(lambda line: schema.to_json(card.answer(schema.from_json(TraceOrder, line, where="order"))))


class Card:
    """The simulated card of this process; the CPU where this PyTorch cannot simulate one."""

    @functools.cached_property
    def _gpu(self) -> SimulatedGpu | None:
        with quick_imports():
            return usable_gpu()

    def answer(self, order: TraceOrder) -> TraceReply:
        """Trace what is ordered; whatever goes wrong is a reply too."""
        try:
            return TraceReply(traced=self._trace(order))
        except WorkloadError as error:
            failure = Failure(outcome="error", message=str(error), traceback_text=error.traceback_text)
        except UsageError as error:
            failure = Failure(outcome="error", message=str(error), usage_error=True)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
            shown = workload_error(error, "a step on the simulated GPU")
            failure = Failure(outcome="error", message=str(shown), traceback_text=shown.traceback_text)
        return TraceReply(failure=failure)

    def _trace(self, order: TraceOrder) -> Traced:
        if self._gpu is None:
            recorder = Recorder("cpu")
            with RecordingMode(recorder):
                return run_steps(order, torch.device("cpu"), recorder, None)
        recorder = self._gpu.insert_card(order.compute_capability)
        return run_steps(order, torch.device("cuda", 0), recorder, self._gpu)


def run_steps(order: TraceOrder, device: torch.device, recorder: Recorder, gpu: SimulatedGpu | None) -> Traced:
    """Build the workload, run its steps and an evaluation, and say what happened.

    Raises:
        UsageError: if the step does not use the device.
    """
    with without_garbage_collection():
        factory = load_factory(order.spec)
        set_imports_aside()  # nothing is garbage here
        workload = build_workload(factory, order.spec, device, order.parameters)
        if gpu is not None:
            gpu.adopt(workload.optimizer)
        step = TrainingStep(workload, device, order.micro_batch, order.accumulation, recorder.phase)
        for k in range(order.num_steps):
            step.run(None if k == order.num_steps - 1 else 1)  # earlier ones make the optimizer's state, no more
            gc.collect()  # cycles would be freed at some time; at the same time in every trace
        breakdown = static_breakdown(workload)
        evaluation_problem = _evaluate(workload, recorder)
    if not recorder.num_events:
        raise UsageError(f"{order.spec} puts nothing on the device that it is given")
    return Traced(
        trace=recorder.trace(order.micro_batch),
        built=describe(workload, tracking_costs_time=False),
        breakdown=breakdown,
        is_simulated=gpu is not None,
        evaluation_problem=evaluation_problem,
        operators=None if gpu is None else gpu.operators.log(),
    )


def _evaluate(workload: Workload, recorder: Recorder) -> str | None:
    """Run the evaluation, if there is one; says why it cannot be simulated, if so."""
    if workload.eval_step is None:
        return None
    try:
        with recorder.phase("evaluation"), torch.no_grad():
            workload.eval_step()
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything; the training step is known
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return None


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Nothing is freed at a moment that hangs on how much else was allocated."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
