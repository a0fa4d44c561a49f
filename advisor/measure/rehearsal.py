"""Times once what a run does beside its steps, in the child of a measurement: evaluation, sampling, checkpoints."""

import math
import time
from collections.abc import Callable

import torch

from advisor.measure.messages import Rehearsed
from advisor.workload.protocol import Rehearsal, Workload

MOST_S = 1.0  # a larger size is tried if by proportion it takes less: small ones are all overhead and warming up


def rehearse(workload: Workload, synchronize: Callable[[], None]) -> tuple[Rehearsed, ...]:
    """The time of each; ``synchronize`` waits for the device."""
    with torch.no_grad():
        return tuple(_timed(name, one, synchronize) for name, one in rehearsals_of(workload).items())


def rehearsals_of(workload: Workload) -> dict[str, Rehearsal]:
    """What the workload names, else its evaluation step, if it has one."""
    evaluate = workload.eval_step
    if workload.rehearsals or evaluate is None:
        return dict(workload.rehearsals)
    return {"evaluation": Rehearsal(run=lambda _: evaluate(), sizes=(1, 1))}


def _timed(name: str, one: Rehearsal, synchronize: Callable[[], None]) -> Rehearsed:
    for size, larger in zip(one.sizes, (*one.sizes[1:], math.inf), strict=True):
        synchronize()
        started_s = time.perf_counter()
        one.run(size)
        synchronize()
        found = Rehearsed(id=name, seconds=time.perf_counter() - started_s, units=size * one.units)
        if found.seconds * larger / size > MOST_S:
            break
    return found
