"""What the parent and the child that simulates a GPU say to each other: one JSON object a line."""

from advisor.predict.operators import OperatorLog
from advisor.predict.trace import Trace
from advisor.records import Breakdown, Value, record
from advisor.workload.child import Failure
from advisor.workload.description import Built


@record
class TraceOrder:
    """Which step to trace, on what card, at which micro-batch."""

    spec: str
    parameters: dict[str, Value]
    compute_capability: float
    micro_batch: int
    accumulation: int
    num_steps: int


@record
class Traced:
    """The events of the steps, and what the workload keeps between them.

    ``is_simulated`` is false where this PyTorch cannot simulate a GPU: the step then ran on the CPU, and what it
    computes (``operators``, of the last step) is not known. ``evaluation_problem`` says why the evaluation step is
    not in the trace.
    """

    trace: Trace
    built: Built
    breakdown: Breakdown
    is_simulated: bool
    evaluation_problem: str | None = None
    operators: OperatorLog | None = None


@record
class TraceReply:
    """The answer to an order: exactly one field is filled."""

    traced: Traced | None = None
    failure: Failure | None = None
