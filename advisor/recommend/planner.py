"""``advise()``: looks at the machine, measures the workload at a few settings, and says which to take."""

import datetime
import math
import time
from collections.abc import Callable, Mapping

import advisor
from advisor.errors import CfgadviseError, DeviceError, UsageError, WorkloadError
from advisor.measure.campaign import DEFAULT_TIMEOUT_S, Campaign, Place, Subject, measure_settings
from advisor.measure.messages import Built, Failure
from advisor.recommend.absent import Request, advise_from, budget_on, foresee
from advisor.recommend.advice import Evidence, make_advice
from advisor.recommend.dataset import DEFAULT_EPOCHS, default_run_samples
from advisor.recommend.options import Candidate, Goal, batch_candidates, more_accumulation
from advisor.recommend.reasons import note
from advisor.recommend.scaling import default_ema_decay, default_lr, default_warmup_samples
from advisor.recommend.verdicts import exceeds
from advisor.records import Advice, Claim, Dataset, Device, Note, Probe, Provenance, Setting, Value, WorkloadRef
from advisor.workload.load import split_spec

_DEFAULT_BATCH = 16
_UNKNOWN = Claim(value=None, basis="user", source="not given, and not readable from the workload")


def advise(
    *,
    workload: str,
    workload_name: str | None = None,
    parameters: Mapping[str, Value] | None = None,
    dataset: Dataset | None = None,
    dataset_size: int | None = None,
    device: Device | str = "auto",
    gpu: str | None = None,
    present: Setting | None = None,
    batch_size: int | None = None,
    accumulation: int = 1,
    lr: float | Claim | None = None,
    run_samples: Claim | None = None,
    memory_budget_bytes: int | None = None,
    max_batch: int | None = None,
    goal: Goal = "balanced",
    timeout_s: float = DEFAULT_TIMEOUT_S,
    command: str = "",
    on_progress: Callable[[str], None] | None = None,
) -> Advice:
    """Measured advice for one workload on this machine.

    Args:
        workload: ``path/to/file.py:function`` or ``package.module:function``.
        workload_name: how to call it; else the spec.
        parameters: given to the function after the device.
        dataset: what is trained on; or only ``dataset_size``.
        dataset_size: the number of items.
        device: ``auto``, ``cpu``, ``cuda:N``, a UUID, or a device of the probe.
        gpu: a card that is not here, by name: its memory is predicted, nothing is measured.
        present: how it is trained now; or only ``batch_size``, ``accumulation`` and ``lr``. What is not
            given is read from the workload's optimizer, else follows a named rule.
        batch_size: the present micro-batch.
        accumulation: the present accumulation steps.
        lr: the present learning rate, as a number or with its basis.
        run_samples: length of the run.
        memory_budget_bytes: no setting may take more; else what the device has.
        max_batch: no micro-batch may be larger.
        goal: ``balanced`` (a change for 5 % and more), ``time`` (for any clear gain), ``memory``.
        timeout_s: for building the workload and for every step.
        command: what the user typed, for the record.
        on_progress: told what is being done.

    Raises:
        UsageError: for a wrong argument, or a workload that cannot be built as named.
        WorkloadError: if the user's own step raises.
        DeviceError: if there is no such device, or nothing fits on it.
    """
    from advisor.hardware.probe import choose_device, probe

    started_s = time.perf_counter()
    micro_batch, accumulation = _layout(present, batch_size, accumulation)
    data = _dataset(dataset, dataset_size)
    given_lr = lr if isinstance(lr, Claim) or lr is None else Claim(value=_positive(lr), basis="user", source="given")
    _require_valid(micro_batch, accumulation, max_batch)
    split_spec(workload)
    machine: Probe = probe()
    say = on_progress or (lambda _: None)
    subject = Subject(spec=workload, parameters=dict(parameters or {}))
    if gpu is not None:
        card, model = foresee(gpu, workload, dict(subject.parameters), accumulation, timeout_s, say)
        length = run_samples or default_run_samples(data.num_items)
        setting = present or _setting(micro_batch, accumulation, given_lr, model.built, length)
        request = Request(
            card=card,
            workload=WorkloadRef(name=workload_name or workload, parameters=dict(subject.parameters)),
            dataset=data,
            run_samples=length,
            present=setting,
            budget_bytes=budget_on(card, memory_budget_bytes),
            max_batch=max_batch,
            goal=goal,
            notes=_notes(run_samples, length, None if present else setting),
            elapsed_s=time.perf_counter() - started_s,
            provenance=_provenance(machine, command),
        )
        return advise_from(model, request)
    chosen = choose_device(machine, device) if isinstance(device, str) else device
    budget_bytes = _budget(chosen, memory_budget_bytes)
    candidates, campaign = _measure(
        batch_candidates((micro_batch, accumulation), goal),
        subject,
        _place(chosen, budget_bytes),
        max_batch,
        timeout_s,
        say,
    )
    _require_usable(campaign)
    length = run_samples or default_run_samples(data.num_items)
    setting = present or _setting(micro_batch, accumulation, given_lr, campaign.built, length)
    return make_advice(
        Evidence(
            device=chosen,
            workload=WorkloadRef(name=workload_name or workload, parameters=dict(subject.parameters)),
            dataset=data,
            run_samples=length,
            present=setting,
            candidates=candidates,
            campaign=campaign,
            budget_bytes=budget_bytes,
            max_batch=max_batch,
            goal=goal,
            notes=_notes(run_samples, length, None if present else setting),
            elapsed_s=time.perf_counter() - started_s,
            provenance=_provenance(machine, command),
        )
    )


# ---- what was asked -----------------------------------------------------------------------------


def _layout(present: Setting | None, batch_size: int | None, accumulation: int) -> tuple[int, int]:
    if present is not None:
        return present.micro_batch, present.accumulation
    return (_DEFAULT_BATCH if batch_size is None else batch_size), accumulation


def _dataset(dataset: Dataset | None, dataset_size: int | None) -> Dataset:
    if dataset is None and dataset_size is None:
        raise UsageError("how large is the data set? Give the number of items")
    if dataset is None:
        dataset = Dataset(num_items=dataset_size or 0, source="given")
    if dataset.num_items < 1:
        raise UsageError(f"the data set must have at least one item, found {dataset.num_items}")
    return dataset


def _require_valid(micro_batch: int, accumulation: int, max_batch: int | None) -> None:
    for name, value in (("batch size", micro_batch), ("accumulation", accumulation), ("largest batch", max_batch)):
        if value is not None and value < 1:
            raise UsageError(f"the {name} must be at least 1, found {value}")
    if max_batch is not None and micro_batch > max_batch:
        raise UsageError(f"the present batch size {micro_batch} is above the largest allowed, {max_batch}")


def _positive(lr: float) -> float:
    if not (math.isfinite(lr) and lr > 0):
        raise UsageError(f"the learning rate must be a positive number, found {lr}")
    return lr


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


# ---- measuring ----------------------------------------------------------------------------------


def _measure(
    candidates: tuple[Candidate, ...],
    subject: Subject,
    place: Place,
    max_batch: int | None,
    timeout_s: float,
    on_progress: Callable[[str], None],
) -> tuple[tuple[Candidate, ...], Campaign]:
    """Measure the candidates; while the same effective batch does not fit, try smaller micro-batches."""
    while True:
        layouts = [
            (one.micro_batch, one.accumulation)
            for one in candidates
            if max_batch is None or one.micro_batch <= max_batch
        ]
        campaign = measure_settings(
            list(dict.fromkeys(layouts)), subject, place, timeout_s=timeout_s, on_progress=on_progress
        )
        smallest = _smallest_same_batch(candidates)
        further = more_accumulation((smallest.micro_batch, smallest.accumulation))
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
        return UsageError(f"the workload cannot be measured: {failure.message} at the present setting")
    return DeviceError(f"the present setting gave {failure.message}: a hanging step, or a device that is far too slow")


# ---- filling in ---------------------------------------------------------------------------------


def _setting(micro_batch: int, accumulation: int, lr: Claim | None, built: Built | None, length: Claim) -> Setting:
    batch, samples = micro_batch * accumulation, float(length.value or 0)
    beta2 = _from_workload(built.beta2 if built else None)
    decay = _from_workload(built.ema_decay if built else None)
    if decay.value is None and built is not None and built.has_ema:
        decay = default_ema_decay(batch, samples)
    return Setting(
        micro_batch=micro_batch,
        accumulation=accumulation,
        lr=_present_lr(lr, batch, built),
        beta1=_from_workload(built.beta1 if built else None),
        beta2=beta2,
        ema_decay=decay,
        warmup_samples=default_warmup_samples(batch, beta2.value, samples),
    )


def _present_lr(lr: Claim | None, batch: int, built: Built | None) -> Claim:
    if lr is not None:
        return lr
    read = _from_workload(built.lr if built else None)
    return read if read.value else default_lr(batch)


def _from_workload(value: float | None) -> Claim:
    if value is None:
        return _UNKNOWN
    return Claim(value=value, basis="user", source="the workload's optimizer and EMA")


def _notes(given: Claim | None, length: Claim, assumed: Setting | None) -> tuple[Note, ...]:
    found = []
    if given is None:
        found.append(note("default_run_length", epochs=DEFAULT_EPOCHS, samples=length.value))
    if assumed is not None and assumed.lr.basis == "rule":
        found.append(note("default_lr", lr=assumed.lr.value))
    return tuple(found)


def _provenance(machine: Probe, command: str) -> Provenance:
    now = datetime.datetime.now(datetime.timezone.utc)
    return Provenance(
        cfgadvise_version=advisor.__version__,
        created_at_utc=now.isoformat(timespec="seconds"),
        command=command,
        host=machine.host,
    )
