"""Tries ways to save memory: measured on the device that is here, traced for a card that is not."""

import dataclasses
from collections.abc import Callable

from advisor.errors import CfgadviseError
from advisor.measure.campaign import Campaign, Place, Subject, measure_settings
from advisor.predict.cards import Card
from advisor.predict.memory import MemoryModel, predict_memory
from advisor.predict.simulation import Simulation
from advisor.recommend.case import Question
from advisor.recommend.options import SaverId
from advisor.recommend.savers import Saver, worth_trying
from advisor.recommend.verdicts import exceeds
from advisor.records import Device


def measure_savers(
    question: Question, device: Device, place: Place, campaign: Campaign, on_progress: Callable[[str], None]
) -> tuple[Saver, ...]:
    """The present setting with each of them, if it does not fit without or less memory is the goal."""
    present = campaign.points[0].measurement if campaign.points else None
    if present is None or present.outcome not in ("ok", "oom"):
        return ()
    fits = present.outcome == "ok" and not exceeds(present, place.budget_bytes)
    if fits and question.goal != "memory":
        return ()
    return tuple(
        _measured(one, question, place, on_progress)
        for one in worth_trying(campaign.built, device, checkpoints=_checkpoints(question.subject))
    )


def _measured(one: SaverId, question: Question, place: Place, on_progress: Callable[[str], None]) -> Saver:
    if one not in question.savers:
        return Saver(id=one)
    on_progress(f"trying {one} ...")
    layout = (question.micro_batch, question.accumulation)
    subject = _with(question, one)
    found = measure_settings([layout], subject, place, timeout_s=question.timeout_s, on_progress=on_progress)
    return Saver(id=one, measurement=found.points[0].measurement)


def foresee_savers(
    question: Question,
    device: Device,
    card: Card,
    model: MemoryModel,
    budget_bytes: int,
    on_progress: Callable[[str], None],
) -> tuple[Saver, ...]:
    """As :func:`measure_savers`, by traces on a simulated card."""
    fits = model.at(question.micro_batch).high <= budget_bytes
    if fits and question.goal != "memory":
        return ()
    wanted = worth_trying(model.built, device, checkpoints=_checkpoints(question.subject))
    if not any(one in question.savers for one in wanted):
        return tuple(Saver(id=one) for one in wanted)
    with Simulation() as simulation:
        return tuple(_foreseen(one, question, card, simulation, on_progress) for one in wanted)


def _foreseen(
    one: SaverId, question: Question, card: Card, simulation: Simulation, on_progress: Callable[[str], None]
) -> Saver:
    if one not in question.savers:
        return Saver(id=one)
    on_progress(f"tracing the step with {one} ...")
    subject = _with(question, one)
    try:
        model = predict_memory(
            subject.spec,
            subject.parameters,
            card,
            accumulation=question.accumulation,
            simulation=simulation,
            timeout_s=question.timeout_s,
        )
    except CfgadviseError:
        return Saver(id=one)  # the present step could be traced: its advice is not lost for this
    return Saver(id=one, prediction=model.at(question.micro_batch))


def _with(question: Question, one: SaverId) -> Subject:
    return dataclasses.replace(question.subject, parameters={**question.subject.parameters, **question.savers[one]})


def _checkpoints(subject: Subject) -> bool:
    return bool(subject.parameters.get("gradient_checkpointing"))
