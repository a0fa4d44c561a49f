"""Evidence from the device that is here: the workload measured at a few settings."""

from collections.abc import Callable

from advisor.errors import CfgadviseError, DeviceError, NonFiniteError, UsageError, WorkloadError
from advisor.measure.campaign import Campaign, Place, measure_settings
from advisor.measure.messages import Failure
from advisor.recommend.advice import Evidence
from advisor.recommend.case import Question, fill_in
from advisor.recommend.largest import search_here
from advisor.recommend.noise import noise_of, noise_remarks
from advisor.recommend.options import Candidate, batch_candidates, more_accumulation, speed_probe
from advisor.recommend.remembered import Measured, age_remarks, recalled_or
from advisor.recommend.searched import Searched
from advisor.recommend.try_savers import measure_savers
from advisor.recommend.verdicts import exceeds
from advisor.records import Device


def measure_here(question: Question, device: Device, on_progress: Callable[[str], None]) -> Evidence:
    """What measuring the question's workload on this device shows.

    Raises:
        UsageError: if the workload cannot be built as named.
        WorkloadError: if the user's own step raises.
        CfgadviseError: if the present setting hangs or is not finite.
    """
    budget_bytes = _budget(device, question.memory_budget_bytes)
    place = _place(device, budget_bytes)
    measured, age_s = recalled_or(question, device, place, lambda: _measure_all(question, device, place, on_progress))
    return Evidence(
        case=fill_in(question, measured.campaign.built, budget_bytes),
        device=device,
        candidates=measured.candidates,
        campaign=measured.campaign,
        noise_scale=measured.noise.noise_scale,
        searched=measured.searched,
        savers=measured.savers,
        remarks=(*noise_remarks(measured.noise, question.made_up_because), *age_remarks(age_s)),
    )


def _measure_all(question: Question, device: Device, place: Place, on_progress: Callable[[str], None]) -> Measured:
    searched = search_here(question, device, place, on_progress)
    _require_alive(searched, question)
    candidates, campaign = _measure(question, place, searched, on_progress)
    _require_usable(campaign)
    return Measured(
        budget_bytes=place.budget_bytes,
        candidates=candidates,
        campaign=campaign,
        searched=searched,
        savers=measure_savers(question, device, place, campaign, on_progress),
        noise=noise_of(question, place, campaign, on_progress),
    )


def _budget(device: Device, memory_budget_bytes: int | None) -> int | None:
    """What the user allows, but no more than the device has for us."""
    known = [x for x in (memory_budget_bytes, device.usable_bytes) if x is not None]
    return min(known, default=None)


def _place(device: Device, budget_bytes: int | None) -> Place:
    if device.kind != "cuda":
        return Place(torch_device=device.kind, environment={}, budget_bytes=budget_bytes)
    # The child sees only this card, by the name that cannot be confused with another numbering.
    visible = {"CUDA_VISIBLE_DEVICES": device.uuid} if device.uuid else {}
    index = 0 if device.uuid else device.index or 0
    return Place(torch_device=f"cuda:{index}", environment=visible, budget_bytes=budget_bytes)


def _measure(
    question: Question, place: Place, searched: Searched | None, on_progress: Callable[[str], None]
) -> tuple[tuple[Candidate, ...], Campaign]:
    """Measure the candidates; while the same effective batch does not fit, try smaller micro-batches."""
    candidates = batch_candidates((question.micro_batch, question.accumulation), question.goal)
    while True:
        layouts = [
            (one.micro_batch, one.accumulation)
            for one in candidates
            if question.max_batch is None or one.micro_batch <= question.max_batch
            if one is candidates[0] or searched is None or searched.allows(one, place.budget_bytes)
        ]
        probe = speed_probe(candidates)
        campaign = measure_settings(
            list(dict.fromkeys([*layouts, *([probe] if probe else [])])),
            question.subject,
            place,
            timeout_s=question.timeout_s,
            rehearses=True,
            decides=question.goal == "time",
            on_progress=on_progress,
        )
        smallest = _smallest_same_batch(candidates)
        further = more_accumulation((smallest.micro_batch, smallest.accumulation))
        while further is not None and searched is not None and not searched.allows(further, place.budget_bytes):
            further = more_accumulation((further.micro_batch, further.accumulation))
        if further is None or not _ran_out(campaign, smallest, place.budget_bytes):
            return candidates, campaign
        on_progress(f"{smallest.micro_batch} x {smallest.accumulation} does not fit: trying a smaller micro-batch")
        candidates = (candidates[0], further)


def _smallest_same_batch(candidates: tuple[Candidate, ...]) -> Candidate:
    same = [one for one in candidates if one.effective_batch == candidates[0].effective_batch]
    return min(same, key=lambda one: one.micro_batch)


def _ran_out(campaign: Campaign, candidate: Candidate, budget_bytes: int | None) -> bool:
    layout = (candidate.micro_batch, candidate.accumulation)
    for point in campaign.points:
        if (point.measurement.micro_batch, point.measurement.accumulation) == layout:
            return point.measurement.outcome == "oom" or exceeds(point.measurement, budget_bytes)
    return False


def _require_alive(searched: Searched | None, question: Question) -> None:
    """What hung at the present micro-batch, or a smaller one, is not waited for again.

    Raises:
        DeviceError: if it did.
    """
    for one in searched.found.attempts if searched else ():
        if one.failure is not None and one.outcome == "timeout" and one.micro_batch <= question.micro_batch:
            raise _other_failure(one.failure)


def _require_usable(campaign: Campaign) -> None:
    """The present setting may not fit, but it must not fail for another reason.

    Raises:
        WorkloadError: with the user's own traceback.
        UsageError: if the workload is not what the advisor can step.
        CfgadviseError: if the step hangs or is not finite.
    """
    failure = campaign.points[0].failure if campaign.points else None
    if failure is None or failure.outcome == "oom":
        return
    if failure.usage_error:
        raise UsageError(failure.message)
    if failure.outcome == "error":
        raise WorkloadError(failure.message, failure.traceback_text or failure.message)
    raise _other_failure(failure)


def _other_failure(failure: Failure) -> CfgadviseError:
    if failure.outcome == "non_finite":
        return NonFiniteError(f"the workload cannot be measured: {failure.message} at the present setting")
    return DeviceError(f"the present setting gave {failure.message}: a hanging step, or a device that is far too slow")
