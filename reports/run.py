"""What a run folder says: its advice, its logs, and the figures that came out of it.

Everything in a run folder is optional to a reader, for a run can be killed at any moment: a torn last
line is left out, a damaged line is skipped and told in :attr:`RunView.problems`.
"""

import dataclasses
import itertools
import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import tomlkit
from tomlkit.exceptions import TOMLKitError

from advisor import schema, storage
from advisor.errors import UsageError
from advisor.evaluation import Evaluation
from advisor.records import Advice, Claim, Note, record
from reports.folder import number, read_log, read_plain, read_record, whole

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
class SampleGrid:
    """A picture that the run made, by its path inside the run folder."""

    path: str
    samples: int | None


@record
class Actual:
    """What the run really took; a value is ``None`` where the logs do not say it.

    ``training_peak_bytes`` is the peak before anything but training steps was run: what was advised
    can be compared with it alone.
    """

    step_s: Claim
    samples_per_s: Claim
    elapsed_s: Claim
    peak_reserved_bytes: Claim
    training_peak_bytes: Claim


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
    def best_validation(self) -> ValidationPoint | None:
        """The point with the lowest validation loss of the averaged weights, or of the raw ones."""
        scored = [(point, _validation_loss(point)) for point in self.validation]
        known = [(loss, point) for point, loss in scored if loss is not None]
        return min(known, key=lambda pair: pair[0])[1] if known else None


def read_run(folder: Path) -> RunView:
    """Everything that can be read from a run folder.

    Raises:
        UsageError: if the folder does not exist or nothing of a run is in it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such run folder; give the folder that `cfgadvise train --out` wrote")
    if not any((folder / name).exists() for name in ("advice.json", "metrics.jsonl", "events.jsonl", "config.toml")):
        raise UsageError(f"{folder}: no advice.json, metrics.jsonl or config.toml in it: this is not a run folder")
    problems: list[str] = []
    metrics = read_log(folder / "metrics.jsonl", problems)
    events = read_log(folder / "events.jsonl", problems)
    train = tuple(map(_train_point, (entry for entry in metrics if entry.get("kind") == "train")))
    last_samples = [whole(entry.get("samples")) or 0 for entry in (*metrics, *events)]
    advice = read_record(Advice, folder / "advice.json", problems)
    return RunView(
        name=folder.resolve().name,
        folder=folder,
        device_kind=_device_kind(advice, metrics),
        started_utc=next((str(e["utc"]) for e in events if e.get("kind") == "start" and "utc" in e), None),
        plan=_plan(folder / "config.toml", problems),
        status=_status(events),
        samples=max(last_samples, default=0),
        step=train[-1].step if train else None,
        num_resumes=sum(entry.get("kind") == "resume" for entry in events),
        advice=advice,
        dataset=_dataset(folder / "dataset.json", problems),
        evaluation=read_record(Evaluation, folder / "evaluation.json", problems),
        train=train,
        validation=tuple(map(_validation_point, (entry for entry in metrics if entry.get("kind") == "validation"))),
        actual=_actual(train, events, metrics),
        grids=_grids(folder, events),
        checkpoints_samples=_checkpoints(folder),
        run_warnings=tuple(_warning(entry) for entry in events if entry.get("kind") == "warning" and "text" in entry),
        health=_health(events, metrics),
        problems=tuple(problems),
    )


def _health(events: list[dict[str, Any]], metrics: list[dict[str, Any]]) -> RunHealth | None:
    """What the checks logged; ``None`` for a run that had none."""
    computed: dict[str, Any] = next((e for e in reversed(events) if e.get("kind") == "baselines"), {})
    if not computed:
        return None
    last: dict[str, Any] = next(
        (e for e in reversed(metrics) if e.get("kind") == "validation" and "error_by_bucket" in e), {}
    )
    alarms = (e for e in events if e.get("kind") == "alarm" and "text" in e)
    return RunHealth(
        alarms=tuple(RunAlarm(samples=whole(e.get("samples")) or 0, note=_warning(e)) for e in alarms),
        samples=whole(last.get("samples")),
        errors=_numbers(last.get("error_by_bucket")),
        baselines={name: _numbers(values) for name, values in computed.items() if isinstance(values, list)},
        label_is_used=last.get("label_is_used") if isinstance(last.get("label_is_used"), bool) else None,
    )


def _numbers(values: Any) -> tuple[float | None, ...]:
    return tuple(map(number, values)) if isinstance(values, list) else ()


def read_source(path: Path) -> tuple[Advice | None, RunView | None]:
    """What ``cfgadvise report`` is asked to report: an advice file, or a run folder, with its advice if it has one.

    Raises:
        UsageError: if it is neither.
    """
    if not path.is_dir():
        return schema.from_plain(Advice, storage.require_json_object(path), where=str(path)), None
    run = read_run(path)
    return run.advice, run


def source_json(advice: Advice | None, run: RunView | None) -> str:
    """The records behind a report as one JSON object."""
    outcome = None
    if run is not None:
        portable = dataclasses.replace(run, advice=None, folder=Path())
        outcome = {key: value for key, value in schema.to_plain(portable).items() if key not in ("advice", "folder")}
    return schema.to_json({"schema": "cfgadvise.report/1", "advice": advice, "run": outcome})


def _dataset(path: Path, problems: list[str]) -> RunDataset | None:
    plain = read_plain(path, problems)
    if not isinstance(plain, dict):
        return None
    try:
        return RunDataset(
            source=str(plain["source"]),
            num_classes=len(plain["classes"]),
            num_train=int(plain["num_train"]),
            num_held_out=int(plain["num_held_out"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        problems.append(f"{path.name}: not a dataset record ({error!r})")
        return None


def _plan(path: Path, problems: list[str]) -> RunPlan:
    try:
        text = path.read_text(encoding="utf-8")
        parsed: Mapping[str, Any] = tomlkit.parse(text).unwrap()
    except FileNotFoundError:
        return RunPlan()
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        problems.append(f"{path.name}: cannot be read ({error})")
        return RunPlan()

    def value(section: str, key: str) -> Any:
        table = parsed.get(section)
        return table.get(key) if isinstance(table, dict) else None

    return RunPlan(
        micro_batch=whole(value("batch", "micro_batch")),
        accumulation=whole(value("batch", "accumulation")),
        samples=whole(value("run", "samples")),
        num_milestones=whole(value("run", "num_milestones")),
        lr=number(value("optimizer", "lr")),
        text=text,
    )


def _warning(entry: Mapping[str, Any]) -> Note:
    values = entry.get("values")
    return Note(id=str(entry.get("id", "")), text=str(entry["text"]), values=values if isinstance(values, dict) else {})


def _train_point(entry: Mapping[str, Any]) -> TrainPoint:
    return TrainPoint(
        samples=whole(entry.get("samples")) or 0,
        step=whole(entry.get("step")) or 0,
        loss=number(entry.get("loss")),
        step_s=number(entry.get("step_s")),
        elapsed_s=number(entry.get("elapsed_s")),
        peak_reserved_bytes=whole(entry.get("peak_reserved_bytes")),
    )


def _validation_point(entry: Mapping[str, Any]) -> ValidationPoint:
    return ValidationPoint(
        samples=whole(entry.get("samples")) or 0,
        step=whole(entry.get("step")) or 0,
        loss=number(entry.get("loss")),
        ema_loss=number(entry.get("ema_loss")),
    )


def _validation_loss(point: ValidationPoint) -> float | None:
    return point.loss if point.ema_loss is None else point.ema_loss


def _status(events: list[dict[str, Any]]) -> Status:
    last = next((e["kind"] for e in reversed(events) if e.get("kind") in _TURNING_POINTS), None)
    return "finished" if last == "finished" else "interrupted" if last == "interrupted" else "unfinished"


_TURNING_POINTS = ("start", "resume", "interrupted", "finished")


def _actual(train: tuple[TrainPoint, ...], events: list[dict[str, Any]], metrics: list[dict[str, Any]]) -> Actual:
    """Figures of the whole run: the logs' own lines, and the ``finished`` event where there is one."""
    finished: dict[str, Any] = next((e for e in reversed(events) if e.get("kind") == "finished"), {})
    steps_s = sorted(point.step_s for point in train if point.step_s)
    step_s = statistics.median(steps_s) if steps_s else number(finished.get("step_s"))
    low, high = _middle_90_percent(steps_s)
    per_step = _samples_per_step(train)
    peaks = [point.peak_reserved_bytes for point in train] + [whole(finished.get("peak_reserved_bytes"))]
    elapsed = [point.elapsed_s for point in train] + [number(finished.get("elapsed_s"))]
    return Actual(
        step_s=Claim(value=step_s, low=low, high=high, basis="measured", source="metrics.jsonl: step_s"),
        samples_per_s=_logged(per_step / step_s if per_step and step_s else None, "metrics.jsonl: samples / step_s"),
        elapsed_s=_logged(max((t for t in elapsed if t is not None), default=None), "metrics.jsonl: elapsed_s"),
        peak_reserved_bytes=_logged(
            max((peak for peak in peaks if peak is not None), default=None), "metrics.jsonl: peak_reserved_bytes"
        ),
        training_peak_bytes=_logged(_training_peak(metrics), "metrics.jsonl: before the first validation"),
    )


def _training_peak(metrics: list[dict[str, Any]]) -> int | None:
    alone = itertools.takewhile(lambda entry: entry.get("kind") == "train", metrics)
    known = [whole(entry.get("peak_reserved_bytes")) for entry in alone]
    return max((peak for peak in known if peak is not None), default=None)


def _device_kind(advice: Advice | None, metrics: list[dict[str, Any]]) -> Literal["cuda", "cpu"]:
    """What it was trained on: a processor has no allocator that counts allocated bytes."""
    if advice is not None:
        return "cuda" if advice.device.kind == "cuda" else "cpu"
    return "cuda" if any(whole(entry.get("peak_allocated_bytes")) for entry in metrics) else "cpu"


def _middle_90_percent(ordered: list[float]) -> tuple[float | None, float | None]:
    if len(ordered) < 3:
        return None, None
    margin = int(0.05 * len(ordered))
    return ordered[margin], ordered[-1 - margin]


def _samples_per_step(train: tuple[TrainPoint, ...]) -> float | None:
    return train[-1].samples / train[-1].step if train and train[-1].step else None


def _logged(value: float | None, source: str) -> Claim:
    return Claim(value=value, basis="measured", source=source)


def _grids(folder: Path, events: list[dict[str, Any]]) -> tuple[SampleGrid, ...]:
    samples_at = {str(e["path"]): whole(e.get("samples")) for e in events if e.get("kind") == "sample" and "path" in e}
    by_name = {re.split(r"[\\/]", path)[-1]: samples for path, samples in samples_at.items()}
    files = sorted(folder.glob("samples/*.png"), key=lambda path: (_number_in(path.stem), path.name))
    return tuple(SampleGrid(path=f"samples/{file.name}", samples=by_name.get(file.name)) for file in files)


def _checkpoints(folder: Path) -> tuple[int, ...]:
    return tuple(sorted(_number_in(path.name) for path in folder.glob("checkpoints/ckpt-*") if path.is_dir()))


def _number_in(name: str) -> int:
    digits = re.findall(r"\d+", name)
    return int(digits[-1]) if digits else 0
