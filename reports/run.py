"""What a run folder says: its advice, its logs, and the figures that came out of it.

Everything in a run folder is optional to a reader, for a run can be killed at any moment: a torn last
line is left out, a damaged line is skipped and told in :attr:`RunView.problems`.
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from advisor import schema, storage
from advisor.errors import UsageError
from advisor.evaluation import Evaluation
from advisor.records import Advice
from reports import entries
from reports.folder import number, read_log, read_plain, read_record, whole
from reports.view import RunDataset, RunPlan, RunView, SampleGrid


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
    train = tuple(map(entries.train_point, (entry for entry in metrics if entry.get("kind") == "train")))
    last_samples = [whole(entry.get("samples")) or 0 for entry in (*metrics, *events)]
    plan = _plan(folder / "config.toml", problems)
    advice = read_record(Advice, folder / "advice.json", problems)
    return RunView(
        name=folder.resolve().name,
        folder=folder,
        device_kind=entries.device_kind(advice, metrics),
        started_utc=next((str(e["utc"]) for e in events if e.get("kind") == "start" and "utc" in e), None),
        plan=plan,
        status=entries.status(events),
        samples=max(last_samples, default=0),
        step=train[-1].step if train else None,
        num_resumes=sum(entry.get("kind") == "resume" for entry in events),
        advice=advice,
        dataset=_dataset(folder / "dataset.json", problems),
        evaluation=read_record(Evaluation, folder / "evaluation.json", problems),
        train=train,
        validation=tuple(
            map(entries.validation_point, (entry for entry in metrics if entry.get("kind") == "validation"))
        ),
        actual=entries.actual(train, events, metrics),
        grids=_grids(folder, events),
        checkpoints_samples=_checkpoints(folder),
        run_warnings=tuple(
            entries.logged_note(entry) for entry in events if entry.get("kind") == "warning" and "text" in entry
        ),
        health=entries.health(events, metrics),
        noise=entries.noise(metrics, events, plan.samples),
        problems=tuple(problems),
    )


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
