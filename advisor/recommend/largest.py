"""The largest micro-batch on the device that is here: when it is searched for, and within which bounds."""

import dataclasses
from collections.abc import Callable

from advisor.errors import CfgadviseError
from advisor.measure.attempts import Attempts, Decider
from advisor.measure.campaign import Place, Subject
from advisor.measure.curve import Law
from advisor.measure.found import RESERVED_MARGIN_FRAC, Found, Ground
from advisor.measure.search import search
from advisor.predict.cards import Card, context_bytes
from advisor.predict.memory import MemoryModel, predict_memory
from advisor.predict.simulation import Simulation
from advisor.recommend.case import Question
from advisor.recommend.searched import Searched
from advisor.records import Device, record
from advisor.units import MIB

TIME_LIMIT_S = 180.0  # for all attempts together
FORECAST_TIMEOUT_S = 60.0  # a forecast only saves steps
_NOISE_BYTES = 256 * MIB  # of what a driver keeps for itself, more or less
_CAPABILITY_OF_OTHERS = 8.0  # of the simulated card, where the device is no CUDA card: for a first guess it will do


def search_here(
    question: Question, device: Device, place: Place, on_progress: Callable[[str], None]
) -> Searched | None:
    """What a search on this device finds; ``None`` where it is not worth its time.

    On a card it takes seconds. On a CPU steps of large batches take minutes, and nothing but a budget makes the answer
    useful: there it is searched only within one.
    """
    is_cuda = device.kind == "cuda"
    if place.budget_bytes is None or not (is_cuda or question.memory_budget_bytes is not None):
        return None
    capability = float(device.compute_capability or 0) if is_cuda else None
    bounds = Bounds(
        budget_bytes=place.budget_bytes - (context_bytes(capability) if capability is not None else 0),
        num_items=question.dataset.num_items,
        max_batch=question.max_batch,
        start=question.micro_batch,
        accumulation=min(2, question.accumulation),  # the third micro-batch takes what the second took
        time_limit_s=TIME_LIMIT_S,
        timeout_s=question.timeout_s,
    )
    capped = dataclasses.replace(place, budget_bytes=bounds.budget_bytes)
    found = find_largest(question.subject, capped, bounds, capability=capability, on_progress=on_progress)
    changed_bytes = _changed_by_others(device) if is_cuda else None
    return Searched(found=found, accumulation=bounds.accumulation, others_bytes=changed_bytes)


def _changed_by_others(before: Device) -> int | None:
    """By how much the memory of other processes on the device changed; ``None`` if it did not, or is not known."""
    from advisor.hardware.probe import probe

    now = next((one for one in probe().devices if one.uuid == before.uuid and one.kind == before.kind), None)
    if now is None or now.used_by_others_bytes is None or before.used_by_others_bytes is None:
        return None
    changed_bytes = abs(now.used_by_others_bytes - before.used_by_others_bytes)
    return changed_bytes if changed_bytes > _NOISE_BYTES else None


@record
class Bounds:
    """What the search keeps to. ``start``: the micro-batch that is run now."""

    budget_bytes: int
    num_items: int
    max_batch: int | None
    start: int
    accumulation: int
    time_limit_s: float
    timeout_s: float
    decider: Decider = "reserved"


def find_largest(
    subject: Subject, place: Place, bounds: Bounds, *, capability: float | None, on_progress: Callable[[str], None]
) -> Found:
    """The largest micro-batch that was run and checked on this device within these bounds.

    ``capability``: compute capability of a CUDA card. Whatever goes wrong is in the result.
    """
    with Attempts(
        subject,
        place,
        accumulation=bounds.accumulation,
        decider=bounds.decider,
        timeout_s=bounds.timeout_s,
        on_progress=on_progress,
    ) as attempts:
        law = forecast(subject, capability, bounds, on_progress)
        return search(ground_of(bounds, law, capability), attempts.run)


def ground_of(bounds: Bounds, law: Law | None, capability: float | None) -> Ground:
    """The bounds as the search takes them."""
    limits = {"dataset_size": bounds.num_items, **({"max_batch": bounds.max_batch} if bounds.max_batch else {})}
    tightest = min(limits, key=lambda name: limits[name])
    return Ground(
        budget_bytes=bounds.budget_bytes,
        most=limits[tightest],
        most_is="max_batch" if tightest == "max_batch" else "dataset_size",
        start=bounds.start,
        forecast=law,
        caches=capability is not None,
        margin_frac=RESERVED_MARGIN_FRAC if bounds.decider == "reserved" else 0.0,
        time_limit_s=bounds.time_limit_s,
        notices_spills=capability is not None,
    )


def forecast(
    subject: Subject, capability: float | None, bounds: Bounds, on_progress: Callable[[str], None]
) -> Law | None:
    """Bytes at a micro-batch as a simulated card has them; ``None`` where it cannot tell."""
    on_progress("tracing the step on a simulated card, for a first guess ...")
    card = Card(
        name="",
        compute_capability=capability or _CAPABILITY_OF_OTHERS,
        total_bytes=bounds.budget_bytes,
        context_bytes=0,
    )
    try:
        with Simulation() as simulation:
            model = predict_memory(
                subject.spec,
                subject.parameters,
                card,
                accumulation=bounds.accumulation,
                simulation=simulation,
                timeout_s=min(FORECAST_TIMEOUT_S, bounds.timeout_s),
            )
    except CfgadviseError as error:
        on_progress(f"no guess: {error}")
        return None
    return _reserved(model) if capability is not None else _allocated(model)


def _reserved(model: MemoryModel) -> Law:
    return lambda micro_batch: model.at(micro_batch).reserved_bytes


def _allocated(model: MemoryModel) -> Law:
    return lambda micro_batch: max(model.phase_bytes(micro_batch).values())
