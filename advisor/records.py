"""What the advisor finds and says, as frozen records. These are the JSON contract.

A record that carries a figure carries its basis too (:class:`Claim`). Unknown is ``None``, never 0.
Units are the last word of a name: bytes, seconds, samples. A *step* is an optimizer step: it sees
``micro_batch * accumulation`` samples.
"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from advisor import schema

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        """Says to type checkers that a decorator makes dataclasses; in Python itself from 3.11 on."""
        return lambda decorator: decorator


PROBE_SCHEMA = "cfgadvise.probe/1"
ADVICE_SCHEMA = "cfgadvise.advice/1"

Basis = Literal["measured", "predicted", "rule", "user"]
Verdict = Literal["recommended", "acceptable", "not_recommended", "infeasible"]
Outcome = Literal["ok", "oom", "error", "timeout", "non_finite"]
Severity = Literal["blocker", "warning", "info"]
Sign = Literal["+", "-", "!"]
Value = bool | int | float | str | None

C = TypeVar("C", bound=type)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: C) -> C:
    """Make a class a frozen, slotted, keyword-only dataclass: a document, not an object with a life."""
    return cast("C", dataclasses.dataclass(frozen=True, slots=True, kw_only=True)(cls))


@record
class Claim:
    """One figure, the interval around it, and why anyone should believe it.

    ``measured`` is the point that was run; ``predicted`` comes from a model, with an interval;
    ``rule`` from a named law; ``user`` was given. ``value`` may be unknown while its bounds are not.
    """

    value: float | int | None
    low: float | int | None = None
    high: float | int | None = None
    basis: Basis
    source: str

    def __post_init__(self) -> None:
        present = [x for x in (self.low, self.value, self.high) if x is not None]
        if not all(math.isfinite(x) for x in present):
            raise ValueError("a figure must be finite; write null where it is unknown")
        if present != sorted(present):
            raise ValueError(f"expected low <= value <= high, found {self.low}, {self.value}, {self.high}")


@record
class Note:
    """A remark with an identity, so that it can be said in any language.

    ``text`` is the English sentence; ``id`` and ``values`` are what a catalogue needs to say it anew.
    """

    id: str
    text: str
    values: dict[str, Value] = dataclasses.field(default_factory=dict)


@record
class Reason:
    """A :class:`Note` that speaks for (``+``), against (``-``) or warns about (``!``) an option."""

    sign: Sign
    text: str
    id: str
    values: dict[str, Value] = dataclasses.field(default_factory=dict)


# ---- the machine --------------------------------------------------------------------------------


@record
class Host:
    """The computer and the software on it that decides what a training step can do.

    ``load_average`` is the number of runnable processes over the last minute: other people's work
    makes every time that is measured longer.
    """

    os: str
    cpu_name: str | None
    num_cores: int
    ram_total_bytes: int
    ram_available_bytes: int
    python_version: str
    torch_version: str | None
    torch_cuda_version: str | None
    driver_version: str | None
    driver_cuda_version: str | None
    in_container: bool
    machine: str = ""
    torch_rocm_version: str | None = None
    torch_xpu_version: str | None = None
    instruction_sets: tuple[str, ...] = ()
    shared_memory_bytes: int | None = None
    disk_free_bytes: int | None = None
    load_average: float | None = None
    swap_total_bytes: int | None = None
    swap_used_bytes: int | None = None


@record
class DeviceProcess:
    """A process that holds device memory. In a container its number may belong to the host.

    ``cpu_frac`` is of one core, over the time that it has run. Its command line is nobody's business.
    """

    pid: int
    kind: Literal["compute", "graphics"]
    name: str | None
    used_bytes: int | None
    user: str | None = None
    running_s: float | None = None
    cpu_frac: float | None = None
    ram_bytes: int | None = None
    sm_utilization_frac: float | None = None
    memory_utilization_frac: float | None = None


@record
class Peaks:
    """What a card can do at best: dense rates with float32 accumulation, from a table or estimated."""

    name: str
    estimated: bool
    fp32_tflops: float | None = None
    tf32_tflops: float | None = None
    fp16_tflops: float | None = None
    bf16_tflops: float | None = None
    bandwidth_gb_s: float | None = None
    source: str


@record
class Load:
    """A card's own state while it was benchmarked: the median over time, of the link the most."""

    utilization_frac: float | None = None
    sm_clock_mhz: int | None = None
    pcie_generation: int | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
    num_readings: int


@record
class Benchmark:
    """What a device did when it was tried for some seconds, by precision; ``None`` where it could not.

    ``load`` is ``None`` where the device cannot be watched.
    """

    fp32_tflops: float | None = None
    tf32_tflops: float | None = None
    fp16_tflops: float | None = None
    bf16_tflops: float | None = None
    copy_gb_s: float | None = None
    host_to_device_gb_s: float | None = None
    elapsed_s: float
    load: Load | None = None


@record
class Device:
    """One place where a step can run. A field that could not be read is named in ``unknown``.

    ``index`` is what a training script writes after ``cuda:``; ``nvml_index`` is what nvidia-smi shows.
    """

    index: int | None
    kind: Literal["cuda", "cpu", "mps", "xpu"]
    name: str
    uuid: str | None
    total_bytes: int | None
    free_bytes: int | None
    usable_bytes: int | None
    used_by_others_bytes: int | None
    compute_capability: str | None
    num_cores: int | None
    temperature_c: float | None
    power_w: float | None
    power_limit_w: float | None
    default_power_limit_w: float | None
    nvml_index: int | None = None
    pci_bus_id: str | None = None
    reserved_bytes: int | None = None
    utilization_frac: float | None = None
    memory_utilization_frac: float | None = None
    encoder_utilization_frac: float | None = None
    decoder_utilization_frac: float | None = None
    bar1_total_bytes: int | None = None
    bar1_used_bytes: int | None = None
    fan_frac: float | None = None
    performance_state: int | None = None
    sm_clock_mhz: int | None = None
    max_sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    max_memory_clock_mhz: int | None = None
    pcie_generation: int | None = None
    max_pcie_generation: int | None = None
    pcie_width: int | None = None
    max_pcie_width: int | None = None
    throttle_reasons: tuple[str, ...] | None = None
    display_active: bool | None = None
    persistence_mode: bool | None = None
    compute_mode: str | None = None
    driver_model: str | None = None
    ecc_enabled: bool | None = None
    uncorrected_ecc_errors: int | None = None
    mig_enabled: bool | None = None
    integrated: bool | None = None
    memory_bus_bits: int | None = None
    peaks: Peaks | None = None
    benchmark: Benchmark | None = None
    processes: tuple[DeviceProcess, ...] | None = None
    unknown: dict[str, str] = dataclasses.field(default_factory=dict)


@record
class Check:
    """Something on this machine that costs the user, and the line that mends it."""

    id: str
    severity: Severity
    device: int | None
    message: str
    fix: str | None
    values: dict[str, Value] = dataclasses.field(default_factory=dict)


@record
class Probe:
    """Everything that ``cfgadvise probe`` says."""

    schema: Literal["cfgadvise.probe/1"] = "cfgadvise.probe/1"
    host: Host
    devices: tuple[Device, ...]
    checks: tuple[Check, ...]


@record
class Setting:
    """How somebody trains now: what every option is compared with and scaled from."""

    micro_batch: int
    accumulation: int
    lr: Claim
    beta1: Claim
    beta2: Claim
    ema_decay: Claim
    warmup_samples: Claim

    @property
    def effective_batch(self) -> int:
        """Samples an optimizer step sees."""
        return self.micro_batch * self.accumulation


# ---- what was measured --------------------------------------------------------------------------


@record
class StepTime:
    """Seconds an optimizer step takes: median of ``n`` steps, with the bounds of its interval."""

    median: float
    low: float
    high: float
    n: int


@record
class Measurement:
    """One (micro-batch, accumulation) that was run in a process of its own.

    ``peak_allocated_bytes`` counts live tensors. ``peak_reserved_bytes`` is what the process took
    from the device: the allocator's reservation on CUDA, the resident set's growth on a CPU.
    ``first_step_s`` stands apart: it creates optimizer state and warms caches. ``mean_step_s``, with an 80 % band,
    decides how long a run is. ``input_s`` is what the batches take of a step at least (median); ``None`` where it was
    not timed, or for made-up data.
    """

    micro_batch: int
    accumulation: int
    outcome: Outcome
    peak_allocated_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    first_step_s: float | None = None
    step_s: StepTime | None = None
    steps_run: int = 0
    message: str | None = None
    input_s: float | None = None
    mean_step_s: Claim | None = None


@record
class MemoryPrediction:
    """Reserved bytes at a micro-batch that was not run."""

    micro_batch: int
    reserved_bytes: int
    low: int
    high: int


@record
class Breakdown:
    """Where the memory of a step goes. ``None`` where it was not determined.

    ``workspaces_bytes``: what libraries keep for themselves, and the largest they take for a moment.
    ``fragmentation_bytes``: reserved from the card, and of no use to any tensor at the peak.
    """

    weights_bytes: int | None = None
    gradients_bytes: int | None = None
    optimizer_bytes: int | None = None
    ema_bytes: int | None = None
    activations_bytes_per_sample: int | None = None
    workspaces_bytes: int | None = None
    fragmentation_bytes: int | None = None
    context_bytes: int | None = None


@record
class Memory:
    """How much may be used, how far up it was run, and what larger sizes would take.

    ``max_micro_batch`` is the largest that was run and fitted the budget; for a card that is not here, the
    largest whose predicted interval lies within it.
    """

    max_micro_batch: int | None
    budget_bytes: int | None
    predicted: tuple[MemoryPrediction, ...] = ()
    breakdown: Breakdown = Breakdown()


@record
class Speed:
    """The fit ``t(b, a) = a (alpha + beta b) + gamma`` with its intervals; all ``None`` where it does not hold.

    To times that were measured, intervals are 95 %; for a card that is not here, they hold what the intervals of the
    predicted times allow.
    """

    alpha_s: float | None = None
    beta_s: float | None = None
    gamma_s: float | None = None
    log_rmse: float | None = None
    knee_micro_batch: int | None = None
    alpha_interval_s: tuple[float, float] | None = None
    beta_interval_s: tuple[float, float] | None = None
    gamma_interval_s: tuple[float, float] | None = None


@record
class NoiseScale:
    """Gradient noise scale in samples: McCandlish et al., arXiv 1812.06162, section 2.2.

    ``preconditioned`` is that of the gradients as Adam divides them. ``is_early``: the loss had not fallen to half
    of its first value, and the noise scale grows as the loss falls.
    """

    value: float
    low: float
    high: float
    n: int
    preconditioned: Claim | None = None
    is_early: bool = False

    @property
    def bounds(self) -> tuple[float, float]:
        """What is held possible where a batch is chosen: from the raw lower bound to twice Adam's upper one.

        Which of the two decides under Adam is not known, and both grow during training, hence the factor.
        """
        if self.is_early:
            return self.low, math.inf
        adam_high = self.preconditioned.high if self.preconditioned else None
        return self.low, max(self.high, 2 * (adam_high or 0))


# ---- what is advised ----------------------------------------------------------------------------


@record
class Occasion:
    """Something that a run does beside its steps: how often, and what it takes each time.

    ``spread`` over the run means: in proportion to the samples seen.
    """

    id: str
    num_times: int
    each_s: Claim
    when: Literal["start", "spread", "end"] = "spread"


@record
class Option:
    """One setting with its price.

    ``run_s`` is the whole run, ``training_s`` its optimizer steps alone; ``time_to_same_progress`` is a ratio to the
    present setting, below 1 when the option gets there sooner.
    """

    id: str
    micro_batch: int
    accumulation: int
    effective_batch: int
    lr: Claim
    betas: tuple[Claim, Claim]
    ema_decay: Claim
    warmup_samples: Claim
    peak_reserved_bytes: Claim
    memory_frac: Claim
    step_s: Claim
    samples_per_s: Claim
    steps_per_epoch: int
    run_s: Claim
    time_to_same_progress: Claim
    verdict: Verdict
    reasons: tuple[Reason, ...]
    training_s: Claim | None = None


@record
class Milestone:
    """A point of the run at which to look, in all the units that people count in."""

    id: str
    samples: int
    step: int
    epoch: float
    elapsed_s: Claim


@record
class WorkloadRef:
    """Which step was measured: a preset's name or ``file.py:function``, and its parameters."""

    name: str
    parameters: dict[str, Value]


@record
class Dataset:
    """How many items there are, and where that number comes from."""

    num_items: int
    num_classes: int | None = None
    source: str


@record
class Exposure:
    """How often the run sees each item, and after how many samples a generative network may begin to copy them."""

    samples_per_item: Claim
    memorization_onset_samples: Claim


# ---- what a search for the learning rate found --------------------------------------------------


@record
class SearchBudget:
    """How many trainings, how long each, and what they take together.

    ``runs`` is the price in runs of full length; ``seconds`` is unknown where no step was timed.
    """

    num_trials: int
    num_finalists: int
    num_seeds: int
    proxy_samples: int
    run_samples: int
    total_samples: int
    runs: float
    seconds: float | None

    @property
    def proxy_frac(self) -> float:
        """Length of a training as a share of the run."""
        return self.proxy_samples / self.run_samples


@record
class SearchTrial:
    """One finished training of the search: a learning rate and its validation loss (``None``: it diverged)."""

    lr: float
    loss: float | None
    stopped_early: bool = False


@record
class Finalist:
    """One learning rate on fresh seeds. ``gain`` is the share by which its loss is below the start's, paired.

    ``gain_low`` and ``gain_high`` are two standard errors away.
    """

    lr: float
    losses: tuple[float | None, ...]
    gain: float | None
    gain_low: float | None
    gain_high: float | None


@record
class Refinement:
    """What the search found: every training, the contest, and what follows.

    ``min_gain``: the gain from which on another learning rate is believed to be better for the whole run.
    """

    study: str
    storage: str
    start_lr: float
    lr: float
    conclusion: Literal["better", "no_difference", "unfinished"]
    budget: SearchBudget
    trials: tuple[SearchTrial, ...]
    finalists: tuple[Finalist, ...]
    min_gain: float
    seeds: tuple[int, ...]
    num_retried: int
    num_left_out: int
    elapsed_s: float


# ---- the answer ---------------------------------------------------------------------------------


@record
class Cost:
    """Money, in whatever unit the price was given."""

    price_per_hour: Claim
    run: Claim


@record
class Sessions:
    """A run where the machine is taken away after a while: how far each session comes.

    ``checkpoint_every_samples``: how often to save, so that little is lost with a session. ``ends_at_samples``: what
    was seen and saved when each of the first sessions ends.
    """

    session_s: Claim
    images_per_session: Claim
    num_sessions: Claim
    checkpoint_every_samples: int | None = None
    ends_at_samples: tuple[int, ...] = ()


@record
class Provenance:
    """Who said this, when, with what: enough to repeat it."""

    cfgadvise_version: str
    created_at_utc: str
    command: str
    host: Host | None


@record
class Advice:
    """The answer, with all of its evidence: a report needs nothing else.

    ``occasions``: what the recommended run does beside its steps, as far as that could be timed.
    """

    schema: Literal["cfgadvise.advice/1"] = "cfgadvise.advice/1"
    device: Device
    workload: WorkloadRef
    dataset: Dataset
    run_samples: Claim
    measurements: tuple[Measurement, ...]
    optimizer_steps_run: int
    oom_count: int
    elapsed_s: float
    memory: Memory
    speed: Speed
    noise_scale: NoiseScale | None
    recommended: Option
    options: tuple[Option, ...]
    milestones: tuple[Milestone, ...]
    monitoring: tuple[Note, ...]
    warnings: tuple[Note, ...]
    provenance: Provenance
    refinement: Refinement | None = None
    exposure: Exposure | None = None
    cost: Cost | None = None
    sessions: Sessions | None = None
    occasions: tuple[Occasion, ...] = ()

    def to_json(self) -> str:
        """The JSON that ``cfgadvise recommend --json`` prints and ``advice.json`` holds."""
        return schema.to_json(self)

    def _repr_html_(self) -> str:
        """What a notebook shows: the options with their prices."""
        from advisor.notebook import advice_html

        return advice_html(self)

    @property
    def present(self) -> Option:
        """The option that keeps the present setting."""
        return next(option for option in self.options if option.id == "keep")


@record
class Refusal:
    """A card on which the step cannot be had, and why."""

    gpu: str
    message: str


@record
class Advices:
    """One step on several cards."""

    schema: Literal["cfgadvise.advices/1"] = "cfgadvise.advices/1"
    advices: tuple[Advice, ...]
    refused: tuple[Refusal, ...] = ()

    def to_json(self) -> str:
        """The JSON that ``cfgadvise recommend --gpu A --gpu B --json`` prints."""
        return schema.to_json(self)


# ---- what a run says ----------------------------------------------------------------------------


@record
class Progress:
    """Where a training run stands: one frame of the live screen, one line of the plain log."""

    run_name: str
    device_name: str
    micro_batch: int
    accumulation: int
    samples: int
    total_samples: int
    step: int
    total_steps: int
    epoch: float
    loss: float | None
    validation_loss: float | None
    lr: float
    samples_per_s: float | None
    elapsed_s: float
    remaining_s: Claim
    peak_reserved_bytes: int | None
    next_milestone_samples: int | None
    num_alarms: int | None = None
