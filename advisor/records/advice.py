"""The answer, with all of its evidence."""

from typing import Literal

from advisor import schema
from advisor.records.claims import Claim, Note
from advisor.records.device import Device
from advisor.records.frozen import record
from advisor.records.measurements import Measurement, Memory, NoiseScale, Speed
from advisor.records.options import Option
from advisor.records.probe import Host
from advisor.records.refinement import Refinement
from advisor.records.run import Cost, Dataset, Exposure, Milestone, Occasion, Sessions, WorkloadRef


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
