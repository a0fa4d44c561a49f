"""What a worker is told to do, and what it answers: JSON records over a pipe."""

from advisor.records import record
from advisor.refine.objective import Parameters
from advisor.refine.study import Place, Space


@record
class WorkOrder:
    """Train slots of a study until none is left.

    ``ends_at_s`` is the Unix time after which no slot is begun, once ``min_slots`` have ended.
    """

    place: Place
    space: Space
    objective: str
    parameters: Parameters
    device: str
    sampler_seed: int
    ends_at_s: float | None
    min_slots: int


@record
class WorkDone:
    """How a worker ended: ``error`` is what its training raised, with its traceback if it is no error of ours."""

    error: str | None = None
    exit_code: int = 0
    traceback_text: str | None = None
