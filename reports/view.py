"""A run as a report sees it: records, filled by :mod:`reports.run` from the files of its folder."""

import dataclasses
from pathlib import Path
from typing import Literal

from advisor.evaluation import Evaluation
from advisor.records import Advice, Claim, NoiseScale, Note, record

Status = Literal["finished", "interrupted", "unfinished"]


@record
class RunDataset:
    """What ``dataset.json`` says about the data."""

    source: str
    num_classes: int
    num_train: int
    num_held_out: int


@record
class TrainPoint:
    """One ``train`` line of ``metrics.jsonl``."""

    samples: int
    step: int
    loss: float | None
    step_s: float | None
    elapsed_s: float | None
    peak_reserved_bytes: int | None


@record
class ValidationPoint:
    """One ``validation`` line of ``metrics.jsonl``."""

    samples: int
    step: int
    loss: float | None
    ema_loss: float | None


@record
class RunAlarm:
    """An alarm of the health checks, and where in the run it was raised."""

    samples: int
    note: Note


@record
class RunHealth:
    """What the health checks wrote down; errors by noise bucket, from little noise to much.

    ``baselines`` holds those that were computed, by name: zero, wiener, copier, floor.
    """

    alarms: tuple[RunAlarm, ...]
    samples: int | None = None
    errors: tuple[float | None, ...] = ()
    baselines: dict[str, tuple[float | None, ...]] = dataclasses.field(default_factory=dict)
    label_is_used: bool | None = None


@record
class NoiseReading:
    """A gradient noise scale that was measured in the run, as a share of all its samples; why there is none."""

    samples: int
    share: float | None
    scale: NoiseScale | None
    refusal: str | None = None


@record
class RunNoise:
    """The noise scales of a run, and what was last said of another batch."""

    readings: tuple[NoiseReading, ...]
    better: Note | None = None


@record
class SampleGrid:
    """A picture that the run made, by its path inside the run folder."""

    path: str
    samples: int | None


@record
class Actual:
    """What the run really took; a value is ``None`` where the logs do not say it.

    ``training_peak_bytes`` is the peak before anything but training steps was run: what was advised
    can be compared with it alone. ``elapsed_s`` is the time of training steps, ``total_s`` that on the clock.
    """

    step_s: Claim
    samples_per_s: Claim
    elapsed_s: Claim
    peak_reserved_bytes: Claim
    training_peak_bytes: Claim
    total_s: Claim = Claim(value=None, basis="measured", source="events.jsonl: utc")


@record
class RunPlan:
    """What ``config.toml`` says about the run; ``text`` is the file itself."""

    micro_batch: int | None = None
    accumulation: int | None = None
    samples: int | None = None
    num_milestones: int | None = None
    lr: float | None = None
    text: str = ""


@record
class RunView:
    """A run as a report sees it."""

    name: str
    folder: Path
    device_kind: Literal["cuda", "cpu"]
    started_utc: str | None
    plan: RunPlan
    status: Status
    samples: int
    step: int | None
    num_resumes: int
    advice: Advice | None
    dataset: RunDataset | None
    evaluation: Evaluation | None
    train: tuple[TrainPoint, ...]
    validation: tuple[ValidationPoint, ...]
    actual: Actual
    grids: tuple[SampleGrid, ...]
    checkpoints_samples: tuple[int, ...]
    run_warnings: tuple[Note, ...]
    health: RunHealth | None
    noise: RunNoise | None
    problems: tuple[str, ...]

    @property
    def micro_batch(self) -> int | None:
        """Items of one forward pass."""
        return self.plan.micro_batch

    @property
    def accumulation(self) -> int | None:
        """Micro-batches of one optimizer step."""
        return self.plan.accumulation

    def _repr_html_(self) -> str:
        """The whole report for a notebook, in a frame of its own so that no style leaks out of it."""
        from reports.html import framed_report

        return framed_report(self)

    @property
    def address(self) -> str:
        """The folder as a command names it; its bare name where the path is one of this machine alone."""
        return self.name if self.folder.is_absolute() else self.folder.as_posix()

    @property
    def validation_curve(self) -> tuple[tuple[int, float], ...]:
        """Samples seen and validation loss, in order; what a resumed run validated again stands once."""
        known = {point.samples: _validation_loss(point) for point in self.validation}
        return tuple((samples, loss) for samples, loss in sorted(known.items()) if loss is not None)

    @property
    def best_validation(self) -> ValidationPoint | None:
        """The point with the lowest validation loss of the averaged weights, or of the raw ones."""
        scored = [(point, _validation_loss(point)) for point in self.validation]
        known = [(loss, point) for point, loss in scored if loss is not None]
        return min(known, key=lambda pair: pair[0])[1] if known else None


def _validation_loss(point: ValidationPoint) -> float | None:
    return point.loss if point.ema_loss is None else point.ema_loss
