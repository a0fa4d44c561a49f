"""What the lines of a run's logs say: points, figures, alarms, noise scales."""

import contextlib
import datetime
import itertools
import statistics
from collections.abc import Mapping
from typing import Any, Literal

from advisor.records import Advice, Claim, NoiseScale, Note
from reports.folder import number, whole
from reports.view import (
    Actual,
    NoiseReading,
    RunAlarm,
    RunHealth,
    RunNoise,
    Status,
    TrainPoint,
    ValidationPoint,
)

NOISE_SOURCE = "metrics.jsonl: noise_scale"


def logged_note(entry: Mapping[str, Any]) -> Note:
    """A note as it was written down."""
    values = entry.get("values")
    return Note(id=str(entry.get("id", "")), text=str(entry["text"]), values=values if isinstance(values, dict) else {})


def train_point(entry: Mapping[str, Any]) -> TrainPoint:
    """A ``train`` line of the metrics."""
    return TrainPoint(
        samples=whole(entry.get("samples")) or 0,
        step=whole(entry.get("step")) or 0,
        loss=number(entry.get("loss")),
        step_s=number(entry.get("step_s")),
        elapsed_s=number(entry.get("elapsed_s")),
        peak_reserved_bytes=whole(entry.get("peak_reserved_bytes")),
    )


def validation_point(entry: Mapping[str, Any]) -> ValidationPoint:
    """A ``validation`` line of the metrics."""
    return ValidationPoint(
        samples=whole(entry.get("samples")) or 0,
        step=whole(entry.get("step")) or 0,
        loss=number(entry.get("loss")),
        ema_loss=number(entry.get("ema_loss")),
    )


def status(events: list[dict[str, Any]]) -> Status:
    """How the run ended, if it did."""
    last = next((e["kind"] for e in reversed(events) if e.get("kind") in _TURNING_POINTS), None)
    return "finished" if last == "finished" else "interrupted" if last == "interrupted" else "unfinished"


_TURNING_POINTS = ("start", "resume", "interrupted", "finished")


def actual(train: tuple[TrainPoint, ...], events: list[dict[str, Any]], metrics: list[dict[str, Any]]) -> Actual:
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
        total_s=_logged(_on_the_clock(events), "events.jsonl: utc"),
    )


def _on_the_clock(events: list[dict[str, Any]]) -> float | None:
    """Seconds from the first to the last event of each part of the run; to the second, as they are logged."""
    parts: list[list[datetime.datetime]] = []
    for event in events:
        if event.get("kind") in ("start", "resume"):
            parts.append([])
        with contextlib.suppress(KeyError, TypeError, ValueError):
            if parts:
                parts[-1].append(datetime.datetime.fromisoformat(event["utc"]))
    return sum((max(part) - min(part)).total_seconds() for part in parts if part) if any(parts) else None


def _training_peak(metrics: list[dict[str, Any]]) -> int | None:
    alone = itertools.takewhile(lambda entry: entry.get("kind") == "train", metrics)
    known = [whole(entry.get("peak_reserved_bytes")) for entry in alone]
    return max((peak for peak in known if peak is not None), default=None)


def device_kind(advice: Advice | None, metrics: list[dict[str, Any]]) -> Literal["cuda", "cpu"]:
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


def health(events: list[dict[str, Any]], metrics: list[dict[str, Any]]) -> RunHealth | None:
    """What the checks logged; ``None`` for a run that had none."""
    computed: dict[str, Any] = next((e for e in reversed(events) if e.get("kind") == "baselines"), {})
    if not computed:
        return None
    last: dict[str, Any] = next(
        (e for e in reversed(metrics) if e.get("kind") == "validation" and "error_by_bucket" in e), {}
    )
    alarms = (e for e in events if e.get("kind") == "alarm" and "text" in e)
    return RunHealth(
        alarms=tuple(RunAlarm(samples=whole(e.get("samples")) or 0, note=logged_note(e)) for e in alarms),
        samples=whole(last.get("samples")),
        errors=_numbers(last.get("error_by_bucket")),
        baselines={name: _numbers(values) for name, values in computed.items() if isinstance(values, list)},
        label_is_used=last.get("label_is_used") if isinstance(last.get("label_is_used"), bool) else None,
    )


def _numbers(values: Any) -> tuple[float | None, ...]:
    return tuple(map(number, values)) if isinstance(values, list) else ()


def noise(metrics: list[dict[str, Any]], events: list[dict[str, Any]], samples_planned: int | None) -> RunNoise | None:
    """The gradient noise scales that were measured; ``None`` for a run that looked for none."""
    readings = tuple(_noise_reading(e, samples_planned) for e in metrics if e.get("kind") == "noise_scale")
    said = next((e for e in reversed(events) if e.get("kind") == "noise_advice" and "text" in e), None)
    return RunNoise(readings=readings, better=logged_note(said) if said else None) if readings else None


def _noise_reading(entry: Mapping[str, Any], samples_planned: int | None) -> NoiseReading:
    samples, refusal = whole(entry.get("samples")) or 0, entry.get("refusal")
    return NoiseReading(
        samples=samples,
        share=samples / samples_planned if samples_planned else None,
        scale=_noise_scale(entry),
        refusal=refusal if isinstance(refusal, str) else None,
    )


def _noise_scale(entry: Mapping[str, Any]) -> NoiseScale | None:
    value, low, high = (number(entry.get(key)) for key in ("value", "low", "high"))
    if value is None or low is None or high is None or not 0 < low <= value <= high:
        return None
    return NoiseScale(
        value=value,
        low=low,
        high=high,
        n=whole(entry.get("num_steps")) or 0,
        preconditioned=_preconditioned(_numbers(entry.get("preconditioned"))),
    )


def _preconditioned(logged: tuple[float | None, ...]) -> Claim | None:
    value, low, high = logged if len(logged) == 3 else (None, None, None)
    if value is None or low is None or high is None or not 0 < low <= value <= high:
        return None
    return Claim(value=value, low=low, high=high, basis="measured", source=NOISE_SOURCE)
