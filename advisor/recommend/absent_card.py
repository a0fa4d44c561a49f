"""A card that is not here: its memory, what of it may be used, and the step foreseen on it."""

import dataclasses
from collections.abc import Callable

from advisor.errors import DeviceError
from advisor.hardware.gpus import peaks_of, read_table
from advisor.predict.cards import Card, card_named, card_of
from advisor.predict.efficiency import efficiency_of
from advisor.predict.memory import LARGEST_MICRO_BATCH, MemoryModel, predict_memory
from advisor.predict.simulation import Simulation
from advisor.predict.step_time import StepTimeModel
from advisor.recommend.case import Case, Question, fill_in
from advisor.recommend.savers import Saver
from advisor.recommend.try_savers import foresee_savers
from advisor.records import Device, record
from advisor.units import format_bytes


@record
class Forecast:
    """The step as it would run on the card; ``safe`` is the largest micro-batch that surely fits, or 0.

    ``times`` is ``None`` where nothing is known of them: no GPU could be simulated, or the card's rates are unknown.
    """

    case: Case
    card: Card
    model: MemoryModel
    budget_bytes: int
    safe: int
    times: StepTimeModel | None = None
    savers: tuple[Saver, ...] = ()


def foresee(gpu: str, question: Question, on_progress: Callable[[str], None]) -> Forecast:
    """The step traced on a simulated card of that name.

    Raises:
        UsageError: if there is no such card, or the workload cannot be used.
        WorkloadError: if the user's own step raises.
        DeviceError: if the memory of the step cannot be predicted, or not even micro-batch 2 fits.
    """
    card = card_named(gpu)
    on_progress(f"tracing the step on a simulated {card.name} ...")
    with Simulation() as simulation:
        model = predict_memory(
            question.subject.spec,
            question.subject.parameters,
            card,
            accumulation=question.accumulation,
            simulation=simulation,
            timeout_s=question.timeout_s,
        )
    budget_bytes = min(card.usable_bytes, question.memory_budget_bytes or card.usable_bytes)
    case = fill_in(question, model.built, budget_bytes)
    safe = model.largest_safe(budget_bytes, question.max_batch or LARGEST_MICRO_BATCH)
    times = _times(card, model)
    forecast = Forecast(case=case, card=card, model=model, budget_bytes=budget_bytes, safe=safe, times=times)
    _require_room(forecast)
    savers = foresee_savers(question, device_of(card), card, model, budget_bytes, on_progress)
    return dataclasses.replace(forecast, savers=savers)


def _times(card: Card, model: MemoryModel) -> StepTimeModel | None:
    gpu = next(one for one in read_table() if one.name == card.name)
    if model.operators is None:
        return None
    try:
        efficiency = efficiency_of(gpu)
    except DeviceError:
        return None
    return StepTimeModel(model.operators, efficiency, model.breakdown(card).gradients_bytes or 0)


def device_of(card: Card) -> Device:
    """The card as a device of which nothing could be read."""
    unread = ("free_bytes", "used_by_others_bytes", "num_cores", "temperature_c", "power_w", "power_limit_w")
    device = Device(
        index=None,
        kind="cuda",
        name=card.name,
        uuid=None,
        total_bytes=card.total_bytes,
        free_bytes=None,
        usable_bytes=card.usable_bytes + card.context_bytes,  # as of a card that is here: its context is within it
        used_by_others_bytes=None,
        compute_capability=f"{card.compute_capability:.1f}",
        num_cores=None,
        temperature_c=None,
        power_w=None,
        power_limit_w=None,
        default_power_limit_w=None,
        unknown={name: "not_here" for name in unread},
    )
    return dataclasses.replace(device, peaks=peaks_of(device))


def _require_room(forecast: Forecast) -> None:
    if forecast.safe >= 2 or forecast.case.max_batch == 1:
        return
    needed, kept = forecast.model.at(2), forecast.model.breakdown(forecast.card)
    kept_bytes = sum(x or 0 for x in (kept.weights_bytes, kept.gradients_bytes, kept.optimizer_bytes, kept.ema_bytes))
    raise DeviceError(
        f"not even micro-batch 2 fits on a {forecast.card.name}: it takes {format_bytes(needed.reserved_bytes)}"
        f" (at most {format_bytes(needed.high)}) of {format_bytes(forecast.budget_bytes)}, of which weights, gradients,"
        f" optimizer state and EMA are {format_bytes(kept_bytes)}. To make it fit: {_remedy(needed.high, kept_bytes)}"
    )


def _remedy(needed_bytes: int, kept_bytes: int) -> str:
    cards = [card_of(gpu) for gpu in read_table() if gpu.vendor == "NVIDIA" and gpu.compute_capability]
    enough = [card for card in cards if card.usable_bytes >= needed_bytes]
    smallest = min(enough, key=lambda card: card.total_bytes, default=None)
    larger = f"a card like the {smallest.name}, or " if smallest else ""
    if kept_bytes > needed_bytes / 2:
        return f"{larger}a smaller network, or an optimizer that keeps less for every weight"
    return f"{larger}gradient checkpointing, half precision, or smaller inputs"
