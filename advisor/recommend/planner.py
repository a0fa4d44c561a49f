"""``advise()``: looks at the machine, measures or predicts the workload at a few settings, and says which to take."""

import time
from collections.abc import Callable, Mapping, Sequence

from advisor.errors import UsageError
from advisor.measure.campaign import DEFAULT_TIMEOUT_S, Subject
from advisor.recommend.absent import advise_for
from advisor.recommend.absent_card import foresee
from advisor.recommend.advice import make_advice
from advisor.recommend.case import DEFAULT_BATCH, Question, require_valid
from advisor.recommend.duration import Planned
from advisor.recommend.here import measure_here
from advisor.recommend.options import Changes, Goal
from advisor.records import Advice, Claim, Dataset, Device, Note, Setting, Value


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
    savers: Changes | None = None,
    noise_scale: bool | None = None,
    use_cache: bool = True,
    made_up_because: Note | None = None,
    planned: Sequence[Planned] = (),
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
        savers: which parameters of the workload switch on what saves memory; without it that is only suggested.
        noise_scale: whether to measure the gradient noise scale; if not said, where it takes less than half a minute.
        use_cache: whether measurements of the same question on the same machine may be taken from the last week.
        made_up_because: why the workload trains on made-up data, so that there is no noise scale.
        planned: what the run does beside its steps; without it, an evaluation and a checkpoint every 5 % of it, as far
            as the workload lets them be timed.
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
    question = Question(
        subject=Subject(spec=workload, parameters=dict(parameters or {})),
        workload_name=workload_name or workload,
        dataset=_dataset(dataset, dataset_size),
        micro_batch=present.micro_batch if present else DEFAULT_BATCH if batch_size is None else batch_size,
        accumulation=present.accumulation if present else accumulation,
        present=present,
        lr=lr if isinstance(lr, Claim) or lr is None else Claim(value=lr, basis="user", source="given"),
        run_samples=run_samples,
        memory_budget_bytes=memory_budget_bytes,
        max_batch=max_batch,
        goal=goal,
        timeout_s=timeout_s,
        command=command,
        machine=probe(),
        started_s=started_s,
        savers=savers or {},
        noise_scale=noise_scale,
        use_cache=use_cache,
        made_up_because=made_up_because,
        planned=tuple(planned),
    )
    require_valid(question)
    say = on_progress or (lambda _: None)
    if gpu is not None:
        return advise_for(foresee(gpu, question, say))
    chosen = choose_device(question.machine, device) if isinstance(device, str) else device
    return make_advice(measure_here(question, chosen, say))


def _dataset(dataset: Dataset | None, dataset_size: int | None) -> Dataset:
    if dataset is None and dataset_size is None:
        raise UsageError("how large is the data set? Give the number of items")
    return Dataset(num_items=dataset_size or 0, source="given") if dataset is None else dataset
