"""The parent's side of a measurement: orders to a child process, and reports or failures back."""

from collections.abc import Mapping
from types import TracebackType

from advisor import schema
from advisor.errors import UsageError
from advisor.measure.messages import BuildOrder, Built, Failure, Order, Rehearsed, Reply, StepReport, WatchReport
from advisor.predict.trace import Trace
from advisor.workload.child import Child


class Sandbox:
    """One child process with one workload in it. It starts (and imports torch) at once."""

    def __init__(self, spec: str, environment: Mapping[str, str] | None = None) -> None:
        """Start the child for this workload, with these variables added to the environment."""
        self._child = Child("advisor.measure.worker", environment, spec)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait(self, *, timeout_s: float) -> Failure | None:
        """Wait until the child has imported what it needs."""
        reply = self._exchange(Order(action="import"), timeout_s)
        return reply if isinstance(reply, Failure) else None

    def build(self, order: BuildOrder, *, timeout_s: float) -> Built | Failure:
        """Build the workload in the child."""
        reply = self._exchange(Order(action="build", build=order), timeout_s)
        if isinstance(reply, Failure):
            return reply
        return reply.built or self._child.fail_for_nonsense("no description of the workload")

    def step(self, *, tracks_memory: bool, timeout_s: float, num_steps: int = 1) -> StepReport | Failure:
        """Run one optimizer step in the child, or some without a pause."""
        order = Order(action="step", tracks_memory=tracks_memory, num_steps=num_steps)
        reply = self._exchange(order, timeout_s)
        if isinstance(reply, Failure):
            return reply
        return reply.step or self._child.fail_for_nonsense("no report of the step")

    def evaluate(self, *, timeout_s: float) -> StepReport | Failure:
        """Run the workload's evaluation or sampling step in the child, if it has one."""
        reply = self._exchange(Order(action="evaluate"), timeout_s)
        if isinstance(reply, Failure):
            return reply
        return reply.step or self._child.fail_for_nonsense("no report of the evaluation")

    def history(self, *, timeout_s: float) -> Trace | Failure | None:
        """Every allocation and free since the workload was built, if the device tells."""
        reply = self._exchange(Order(action="history"), timeout_s)
        return reply if isinstance(reply, Failure) else reply.history

    def watch(self, num_steps: int, *, anew: bool, timeout_s: float) -> WatchReport | Failure:
        """Run steps whose gradients are watched, for the noise scale."""
        reply = self._exchange(Order(action="watch", num_steps=num_steps, anew=anew), timeout_s)
        if isinstance(reply, Failure):
            return reply
        return reply.watched or self._child.fail_for_nonsense("no report of the watched steps")

    def rehearse(self, *, timeout_s: float) -> tuple[Rehearsed, ...] | Failure:
        """Time in the child what a run does beside its steps."""
        reply = self._exchange(Order(action="rehearse"), timeout_s)
        return reply if isinstance(reply, Failure) else reply.rehearsed or ()

    def close(self) -> None:
        """End the child and everything that it started. Closing twice does nothing."""
        self._child.close()

    def _exchange(self, order: Order, timeout_s: float) -> Reply | Failure:
        line = self._child.ask(schema.to_json(order), timeout_s=timeout_s)
        if isinstance(line, Failure):
            return line
        try:
            reply = schema.from_json(Reply, line, where="the reply")
        except UsageError:
            return self._child.fail_for_nonsense(repr(line[:80]))
        return reply if reply.failure is None else self._child.fail(reply.failure)
