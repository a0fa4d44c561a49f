"""What advice is asked for: the question as it was put, and the case with everything filled in."""

import dataclasses
import datetime
import math
import time

import advisor
from advisor.errors import UsageError
from advisor.measure.campaign import Subject
from advisor.recommend.dataset import DEFAULT_EPOCHS, default_run_samples
from advisor.recommend.duration import Planned
from advisor.recommend.options import Changes, Goal
from advisor.recommend.reasons import note
from advisor.recommend.scaling import default_ema_decay, default_lr, default_warmup_samples
from advisor.records import Claim, Dataset, Note, Probe, Provenance, Setting, WorkloadRef, record
from advisor.workload.description import Built
from advisor.workload.load import split_spec

DEFAULT_BATCH = 16
_UNKNOWN = Claim(value=None, basis="user", source="not given, and not readable from the workload")


@record
class Question:
    """What was asked, as far as it was said.

    ``present``: the whole setting, where the caller knows it. ``savers``: which parameters of the workload
    switch on what saves memory, where the caller knows that.
    ``noise_scale``: whether to measure it; ``None``: where it takes less than half a minute.
    ``planned``: what the run does beside its steps, where the caller knows that.
    ``made_up_because``: why the workload trains on made-up data, where the caller knows.
    """

    subject: Subject
    workload_name: str
    dataset: Dataset
    micro_batch: int
    accumulation: int
    present: Setting | None
    lr: Claim | None
    run_samples: Claim | None
    memory_budget_bytes: int | None
    max_batch: int | None
    goal: Goal
    timeout_s: float
    command: str
    machine: Probe
    started_s: float
    savers: Changes = dataclasses.field(default_factory=dict)
    noise_scale: bool | None = None
    use_cache: bool = True
    made_up_because: Note | None = None
    planned: tuple[Planned, ...] = ()


@record
class Case:
    """The question with what was not said filled in: from the workload, else by a named rule."""

    workload: WorkloadRef
    dataset: Dataset
    run_samples: Claim
    present: Setting
    budget_bytes: int | None
    max_batch: int | None = None
    goal: Goal = "balanced"
    notes: tuple[Note, ...] = ()
    planned: tuple[Planned, ...] = ()
    elapsed_s: float
    provenance: Provenance


def require_valid(question: Question) -> None:
    """Nothing is built or measured for a question that cannot be answered.

    Raises:
        UsageError: for a workload that is not named as one, and numbers that make no sense.
    """
    split_spec(question.subject.spec)
    if question.dataset.num_items < 1:
        raise UsageError(f"the data set must have at least one item, found {question.dataset.num_items}")
    counts = {
        "batch size": question.micro_batch,
        "accumulation": question.accumulation,
        "largest batch": question.max_batch,
    }
    for name, value in counts.items():
        if value is not None and value < 1:
            raise UsageError(f"the {name} must be at least 1, found {value}")
    if question.max_batch is not None and question.micro_batch > question.max_batch:
        raise UsageError(
            f"the present batch size {question.micro_batch} is above the largest allowed, {question.max_batch}"
        )
    lr = question.lr.value if question.lr else None
    if lr is not None and not (math.isfinite(lr) and lr > 0):
        raise UsageError(f"the learning rate must be a positive number, found {lr}")


def fill_in(question: Question, built: Built | None, budget_bytes: int | None) -> Case:
    """The case, once the workload was built and its optimizer could be read."""
    length = question.run_samples or default_run_samples(question.dataset.num_items)
    setting = question.present or _setting(question, built, length)
    return Case(
        workload=WorkloadRef(name=question.workload_name, parameters=dict(question.subject.parameters)),
        dataset=question.dataset,
        run_samples=length,
        present=setting,
        budget_bytes=budget_bytes,
        max_batch=question.max_batch,
        goal=question.goal,
        notes=_notes(question.run_samples, length, None if question.present else setting),
        planned=question.planned,
        elapsed_s=time.perf_counter() - question.started_s,
        provenance=_provenance(question.machine, question.command),
    )


def _setting(question: Question, built: Built | None, length: Claim) -> Setting:
    micro_batch, accumulation = question.micro_batch, question.accumulation
    batch, samples = micro_batch * accumulation, float(length.value or 0)
    beta2 = _from_workload(built.beta2 if built else None)
    decay = _from_workload(built.ema_decay if built else None)
    if decay.value is None and built is not None and built.has_ema:
        decay = default_ema_decay(batch, samples)
    return Setting(
        micro_batch=micro_batch,
        accumulation=accumulation,
        lr=_present_lr(question.lr, batch, built),
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
