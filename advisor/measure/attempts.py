"""One attempt at a micro-batch, in a child of its own: a few steps, on demand an evaluation, and what they took."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal

from advisor.measure.campaign import Place, Subject
from advisor.measure.messages import BuildOrder, Built, Failure, StepReport
from advisor.measure.sandbox import Sandbox
from advisor.predict.trace import Trace, phase_peaks
from advisor.records import Breakdown, Measurement, Outcome, record

Decider = Literal["reserved", "allocated"]


@record
class Plan:
    """What to run: so many optimizer steps at this micro-batch, then the evaluation if it ``checks``."""

    micro_batch: int
    num_steps: int
    checks: bool = False


@record
class Attempt:
    """What came of it. ``peak_bytes`` decides: what was taken from the device, or the tensors where it does not say.

    ``kept_bytes`` of it stay from step to step: weights, optimizer state, EMA; at most the peak, 0 if not known.
    ``step_s`` is the shortest step but the first. ``num_retries`` counts how often the allocator had to give back
    memory before it could go on: the step ran, but slowly.
    """

    plan: Plan
    outcome: Outcome
    steps_run: int
    peak_bytes: int | None = None
    kept_bytes: int = 0
    gradients_bytes: int = 0
    peak_allocated_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    first_step_s: float | None = None
    step_s: float | None = None
    elapsed_s: float = 0.0
    num_retries: int = 0
    trace: Trace | None = None
    failure: Failure | None = None

    @property
    def micro_batch(self) -> int:
        """The micro-batch that was tried."""
        return self.plan.micro_batch

    def measurement(self, accumulation: int) -> Measurement:
        """The attempt as it is shown beside the settings that were timed."""
        return Measurement(
            micro_batch=self.micro_batch,
            accumulation=accumulation,
            outcome=self.outcome,
            peak_allocated_bytes=self.peak_allocated_bytes,
            peak_reserved_bytes=self.peak_reserved_bytes,
            first_step_s=self.first_step_s,
            steps_run=self.steps_run,
            message=self.failure.message if self.failure else None,
        )


class Attempts:
    """Runs attempts one after the other; the next child imports torch while a probe is at work.

    ``decider``: whether what was taken from the device decides, or the bytes of live tensors.
    """

    def __init__(
        self,
        subject: Subject,
        place: Place,
        *,
        accumulation: int = 1,
        decider: Decider = "reserved",
        timeout_s: float,
        on_progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._subject, self._place, self._accumulation = subject, place, accumulation
        self._decider, self._timeout_s, self._on_progress = decider, timeout_s, on_progress
        self._next: Sandbox | None = self._start()
        self.built: Built | None = None

    def __enter__(self) -> "Attempts":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._next is not None:
            self._next.close()

    def run(self, plan: Plan) -> Attempt:
        """Run what is planned, in a fresh child."""
        purpose = "checking" if plan.checks else "probing"
        self._on_progress(f"{purpose} the memory at micro-batch {plan.micro_batch} ...")
        started_s = time.perf_counter()
        sandbox = self._next or self._start()
        self._next = None if plan.checks else self._start()  # a check is most likely the last
        try:
            return self._run(plan, sandbox, started_s)
        finally:
            sandbox.close()

    def _start(self) -> Sandbox:
        return Sandbox(self._subject.spec, self._place.environment)

    def _run(self, plan: Plan, sandbox: Sandbox, started_s: float) -> Attempt:
        order = BuildOrder(
            spec=self._subject.spec,
            parameters=dict(self._subject.parameters),
            device=self._place.torch_device,
            micro_batch=plan.micro_batch,
            accumulation=self._accumulation,
            cap_bytes=self._place.budget_bytes,
            keeps_history=True,
        )
        built = sandbox.build(order, timeout_s=self._timeout_s)
        if isinstance(built, Failure):
            return self._attempt(plan, [], built, None, started_s)
        self.built = built
        reports: list[StepReport] = []
        for _ in range(plan.num_steps):
            report = sandbox.step(tracks_memory=False, timeout_s=self._timeout_s)
            if isinstance(report, Failure):
                return self._attempt(plan, reports, report, None, started_s)
            reports.append(report)
        evaluated = sandbox.evaluate(timeout_s=self._timeout_s) if plan.checks else reports[-1]
        if isinstance(evaluated, Failure):
            return self._attempt(plan, reports, evaluated, None, started_s)
        history = sandbox.history(timeout_s=self._timeout_s)
        return self._attempt(plan, reports, evaluated, history if isinstance(history, Trace) else None, started_s)

    def _attempt(
        self, plan: Plan, steps: list[StepReport], last: StepReport | Failure, trace: Trace | None, started_s: float
    ) -> Attempt:
        failure = last if isinstance(last, Failure) else None
        reserved_bytes = None if isinstance(last, Failure) else last.peak_reserved_bytes
        allocated_bytes = live_peak_bytes(trace) if trace is not None else None
        decides = reserved_bytes if self._decider == "reserved" and reserved_bytes is not None else allocated_bytes
        return Attempt(
            plan=plan,
            outcome=failure.outcome if failure else "ok",
            steps_run=len(steps),
            peak_bytes=decides,
            kept_bytes=min(kept_bytes(steps[-1].breakdown), decides) if steps and decides else 0,
            gradients_bytes=_gradients_bytes(steps),
            peak_allocated_bytes=allocated_bytes,
            peak_reserved_bytes=reserved_bytes,
            first_step_s=steps[0].step_s if steps else None,
            step_s=min((one.step_s for one in steps[1:]), default=None),
            elapsed_s=time.perf_counter() - started_s,
            num_retries=0 if isinstance(last, Failure) else last.num_retries,
            trace=trace,
            failure=failure,
        )


def kept_bytes(breakdown: Breakdown | None) -> int:
    """What stays from step to step whatever the batch; gradients do not."""
    if breakdown is None:
        return 0
    return sum(x or 0 for x in (breakdown.weights_bytes, breakdown.optimizer_bytes, breakdown.ema_bytes))


def _gradients_bytes(steps: list[StepReport]) -> int:
    breakdown = steps[-1].breakdown if steps else None
    return (breakdown.gradients_bytes if breakdown else None) or 0


def live_peak_bytes(trace: Trace) -> int:
    """The most that was allocated at once."""
    return max(one.peak_allocated_bytes for one in phase_peaks(trace.events, trace.sizes_bytes, trace.phases))
