"""One worker of a search, a process of its own: ``cfgadvise refine`` starts it, and it ends with it."""

import time
import traceback

from advisor import schema
from advisor.errors import CfgadviseError
from advisor.refine.messages import WorkDone, WorkOrder
from advisor.refine.study import join_study
from advisor.refine.verdict import counted
from advisor.workload.child import answer_orders
from advisor.workload.load import load_factory


def main() -> None:
    """Answer orders until the parent closes the pipe."""
    answer_orders(lambda line: schema.to_json(work(schema.from_json(WorkOrder, line, where="order"))))


def work(order: WorkOrder) -> WorkDone:
    """Train until no slot is left; whatever goes wrong is an answer too."""
    try:
        training = load_factory(order.objective)(order.device, **order.parameters)
        study = join_study(order.place, order.space, order.sampler_seed)

        def may_start() -> bool:
            if order.ends_at_s is None or time.time() < order.ends_at_s:
                return True
            return len(counted(study.entries())) < order.min_slots

        study.work(training, may_start)  # type: ignore[arg-type]  # an objective's factory, not a workload's
    except CfgadviseError as error:
        return WorkDone(error=str(error), exit_code=error.exit_code)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a training may raise anything
        return WorkDone(error=f"{type(error).__name__}: {error}", exit_code=1, traceback_text=traceback.format_exc())
    return WorkDone()
