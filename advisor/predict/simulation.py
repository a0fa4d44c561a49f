"""The parent's side of a prediction: traces of one step at a few micro-batches, from children side by side."""

import concurrent.futures
from collections.abc import Callable, Sequence
from types import TracebackType

from advisor import schema
from advisor.errors import CfgadviseError, DeviceError, UsageError, WorkloadError
from advisor.predict.messages import Traced, TraceOrder, TraceReply
from advisor.workload.child import Child, Failure

_WORKER = "advisor.predict.worker"
_NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}  # a card that is there must not be touched
_NUM_CHILDREN = 2


class Simulation:
    """Child processes with simulated cards. They start (and import torch) at once, and share the work."""

    def __init__(self) -> None:
        self._children = [Child(_WORKER, _NO_GPU) for _ in range(_NUM_CHILDREN)]

    def __enter__(self) -> "Simulation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the children."""
        for child in self._children:
            child.close()

    def trace_all(self, orders: Sequence[TraceOrder], *, timeout_s: float) -> list[Traced]:
        """Every order traced, in the order of asking.

        Raises:
            WorkloadError: if the user's step raises.
            UsageError: if the workload cannot be used, or needs values that a simulated GPU does not have.
            DeviceError: if the step hangs.
        """
        found: dict[int, Traced] = {}
        with concurrent.futures.ThreadPoolExecutor(_NUM_CHILDREN) as pool:
            shares = [
                pool.submit(self._trace_share, k, orders[k::_NUM_CHILDREN], timeout_s) for k in range(_NUM_CHILDREN)
            ]
            for k, share in enumerate(shares):
                found |= dict(zip(range(k, len(orders), _NUM_CHILDREN), share.result()))
        return [found[k] for k in range(len(orders))]

    def _trace_share(self, k: int, orders: Sequence[TraceOrder], timeout_s: float) -> list[Traced]:
        return [self._trace(k, order, timeout_s) for order in orders]

    def _trace(self, k: int, order: TraceOrder, timeout_s: float) -> Traced:
        line = self._children[k].ask(schema.to_json(order), timeout_s=timeout_s)
        if isinstance(line, Failure):
            self._children[k].close()
            self._children[k] = Child(_WORKER, _NO_GPU)
            raise _error(line)
        reply = schema.from_json(TraceReply, line, where="the reply")
        if reply.traced is None:
            raise _error(reply.failure or Failure(outcome="error", message="neither a trace nor a reason"))
        return reply.traced


def _error(failure: Failure) -> CfgadviseError:
    kinds: tuple[tuple[bool, Callable[[], CfgadviseError]], ...] = (
        (failure.usage_error, lambda: UsageError(failure.message)),
        (failure.outcome == "timeout", lambda: DeviceError(f"the step on the simulated GPU gave {failure.message}")),
        (failure.outcome == "oom", lambda: DeviceError(f"the simulation did not end: {failure.message}")),
    )
    found = next((make() for applies, make in kinds if applies), None)
    return found or WorkloadError(failure.message, failure.traceback_text or failure.message)
