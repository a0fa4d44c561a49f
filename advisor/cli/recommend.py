"""``cfgadvise recommend``: measures a training step at a few settings and says which one to take."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from advisor.cli.apply import complete_from_file, read_own_settings, show_change
from advisor.cli.context import current_settings, print_answer, print_progress
from advisor.errors import UsageError

if TYPE_CHECKING:
    from advisor.recommend.options import Goal
    from advisor.records import Advice, Claim, Dataset

_DEFAULT_PRESET = "gait48"
_DEFAULT_BATCH = 16
_TRAINER_WORKLOAD = "trainer.workload:make"
_GOALS = ("balanced", "time", "memory")
_PRECISIONS = ("fp32", "bf16")
_FORMATS = ("python", "toml", "accelerate", "lightning")
_REPORT_SUFFIXES = (".md", ".html", ".json")


def recommend(
    dataset_size: Annotated[int | None, typer.Option(metavar="N", help="How many items there are to train on.")] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Count them: one subfolder of pictures a class.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="D", help="auto, cpu, cuda:N or a GPU's UUID.")] = "auto",
    gpu: Annotated[
        str | None, typer.Option(metavar="NAME", help="Predict for this card, which need not be here: 'Tesla P100'.")
    ] = None,
    workload: Annotated[
        str | None, typer.Option(metavar="FILE.py:FUNC", help="Your own training step; else a preset of the trainer.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Network of the trainer; {_DEFAULT_PRESET} if nothing is named.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="B", help="Your present micro-batch.")] = None,
    accumulation: Annotated[
        int | None, typer.Option(metavar="A", help="Your present accumulation steps; 1 if not given.")
    ] = None,
    lr: Annotated[float | None, typer.Option(metavar="LR", help="Your present learning rate.")] = None,
    samples: Annotated[int | None, typer.Option(metavar="S", help="Length of the run in samples.")] = None,
    steps: Annotated[int | None, typer.Option(metavar="S", help="... or in your present optimizer steps.")] = None,
    epochs: Annotated[float | None, typer.Option(metavar="E", help="... or in epochs.")] = None,
    memory_budget: Annotated[
        str | None, typer.Option(metavar="14GiB", help="No setting may take more memory than this.")
    ] = None,
    max_batch: Annotated[int | None, typer.Option(metavar="B", help="No micro-batch may be larger.")] = None,
    precision: Annotated[str, typer.Option(metavar="fp32|bf16", help="Precision of a preset's step.")] = "fp32",
    goal: Annotated[
        str, typer.Option(metavar="balanced|time|memory", help="A change for 5 %, for any gain, or for less memory.")
    ] = "balanced",
    emit: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="Only lines to paste instead of the report: " + ", ".join(_FORMATS) + "."),
    ] = None,
    apply: Annotated[
        Path | None,
        typer.Option(metavar="FILE.py", help="Take the present setting from there; show what would change as a diff."),
    ] = None,
    apply_names: Annotated[
        str | None, typer.Option(metavar="NAMES", help="What FILE.py calls them: batch=B,accumulation=A,lr=Config.LR.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the change to FILE.py, too.")] = False,
    report: Annotated[
        list[Path] | None, typer.Option(metavar="FILE.md|.html|.json", help="Also write the report here; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write advice.json and report.md here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of the report.")] = False,
) -> None:
    """Measure a training step here and say which batch, accumulation and learning rate to take."""
    _require_choice("--goal", goal, _GOALS)
    _require_choice("--precision", precision, _PRECISIONS)
    writer = _emitter(emit, as_json=as_json)
    answers = {"--emit": emit is not None, "--json": as_json}
    own = read_own_settings(apply, apply_names, write=write, other_answers=answers)
    given = complete_from_file(own, {"micro_batch": batch_size, "accumulation": accumulation, "lr": lr})
    given["accumulation"] = 1 if given["accumulation"] is None else given["accumulation"]
    _require_setting(given["micro_batch"], given["accumulation"], given["lr"], max_batch)
    files = _report_files(report or [], out)
    if gpu is not None and device != "auto":
        raise UsageError("--gpu and --device exclude each other: --gpu is for a card that is not here")
    if workload is not None and preset is not None:
        raise UsageError("--workload and --preset exclude each other: which step is to be measured?")
    if workload is not None:
        arguments = _own_arguments(workload, given, _dataset(dataset_size, data))
    elif data is not None and dataset_size is None:
        arguments = _data_arguments(data, device, gpu, {**given, "preset": preset, "precision": precision})
    else:
        dataset = _dataset(dataset_size, data)
        arguments = _preset_arguments(preset or _DEFAULT_PRESET, precision, given, dataset)
    arguments["memory_budget_bytes"] = _parse_budget(memory_budget)
    arguments["run_samples"] = _run_samples(samples, steps, epochs, arguments)
    advice = _advise({"device": device, "gpu": gpu} | arguments, max_batch, cast("Goal", goal))
    for path in files:
        _write(path, advice)
    if own is not None:
        show_change(own, advice, write=write)
    else:
        print_answer(advice.to_json() if as_json else writer(advice))


# ---- options ------------------------------------------------------------------------------------


def _require_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        from advisor.schema import nearest_name

        raise UsageError(f"{option}: {value!r} is none of {', '.join(choices)}{nearest_name(value, choices)}")


def _require_setting(batch_size: int | None, accumulation: int, lr: float | None, max_batch: int | None) -> None:
    for option, value in (("--batch-size", batch_size), ("--accumulation", accumulation), ("--max-batch", max_batch)):
        if value is not None and value < 1:
            raise UsageError(f"{option} must be at least 1, found {value}")
    if lr is not None and not 0 < lr < float("inf"):
        raise UsageError(f"--lr must be a positive number such as 1e-4, found {lr}")


def _parse_budget(text: str | None) -> int | None:
    from advisor.units import parse_bytes

    return None if text is None else parse_bytes(text)


def _run_samples(
    samples: int | None, steps: int | None, epochs: float | None, arguments: dict[str, Any]
) -> "Claim | None":
    from advisor.records import Claim

    given = {"--samples": samples, "--steps": steps, "--epochs": epochs}
    named = [option for option, value in given.items() if value is not None]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} exclude each other: give one length of the run")
    if not named:
        return None
    value = given[named[0]] or 0
    if not 0 < value < float("inf"):
        raise UsageError(f"{named[0]} must be a positive number, found {value}")
    present = arguments.get("present")
    batch = present.effective_batch if present else arguments["batch_size"] * arguments["accumulation"]
    num_items = arguments["dataset"].num_items
    factor = {"--samples": 1, "--steps": batch, "--epochs": num_items}[named[0]]
    return Claim(value=max(1, round(value * factor)), basis="user", source=f"{named[0]} {value:g}")


# ---- what is measured ---------------------------------------------------------------------------


def _dataset(dataset_size: int | None, data: Path | None) -> "Dataset":
    from advisor.records import Dataset

    if (dataset_size is None) == (data is None):
        raise UsageError("give either --dataset-size N or --data DIR: how much there is to train on")
    if dataset_size is None:
        from trainer.config import HELD_OUT_FRAC
        from trainer.plan import survey

        return survey(str(data)).training_set(HELD_OUT_FRAC)
    if dataset_size < 1:
        raise UsageError(f"--dataset-size must be at least 1, found {dataset_size}")
    return Dataset(num_items=dataset_size, source="--dataset-size")


def _own_arguments(workload: str, given: dict[str, Any], dataset: "Dataset") -> dict[str, Any]:
    """The user's own step. What is not given is read from its optimizer."""
    from advisor.workload.load import split_spec

    split_spec(workload)
    return {
        "workload": workload,
        "batch_size": given["micro_batch"] or _DEFAULT_BATCH,
        "accumulation": given["accumulation"],
        "lr": given["lr"],
        "dataset": dataset,
    }


def _preset_arguments(name: str, precision: str, given: dict[str, Any], dataset: "Dataset") -> dict[str, Any]:
    """The trainer's step at a preset's own shapes, trained as the preset says."""
    from advisor.records import Claim
    from trainer.config import preset_named, reference_lr

    preset = preset_named(name)
    micro_batch = given["micro_batch"] or preset.reference_batch
    by_preset = Claim(
        value=reference_lr(preset, micro_batch * given["accumulation"]),
        basis="rule",
        source=f"preset {name}: {preset.reference_lr:g} at batch {preset.reference_batch}, square-root rule from there",
    )
    return {
        "workload": _TRAINER_WORKLOAD,
        "workload_name": name,
        "parameters": {"preset": name, "precision": precision},
        "batch_size": micro_batch,
        "accumulation": given["accumulation"],
        "lr": by_preset if given["lr"] is None else given["lr"],
        "dataset": dataset,
    }


def _data_arguments(data: Path, device: str, gpu: str | None, given: dict[str, Any]) -> dict[str, Any]:
    """What ``cfgadvise train`` would train on this folder, at its shapes and with its classes."""
    from advisor.hardware.probe import choose_device, probe
    from advisor.schema import to_plain
    from trainer.plan import plan_config, present_setting, survey, workload_parameters

    known = {key: value for key, value in given.items() if value is not None}
    source = survey(str(data))
    chosen = choose_device(probe(), device) if gpu is None else device
    config, _ = plan_config(source, "cuda" if isinstance(chosen, str) else chosen.kind, known)
    values = to_plain(config)
    present = present_setting(values, known)
    return {
        "workload": _TRAINER_WORKLOAD,
        "workload_name": values["preset"],
        "parameters": workload_parameters(source, values),
        "present": present,
        "dataset": source.training_set(config.held_out_frac),
        "device": chosen,
    }


def _advise(arguments: dict[str, Any], max_batch: int | None, goal: "Goal") -> "Advice":
    from advisor.recommend.planner import advise

    return advise(
        **arguments,
        max_batch=max_batch,
        goal=goal,
        command=shlex.join(["cfgadvise", *sys.argv[1:]]),
        on_progress=print_progress,
    )


# ---- answers ------------------------------------------------------------------------------------


def _emitter(emit: str | None, *, as_json: bool) -> Callable[["Advice"], Any]:
    if emit is None:
        return _report
    from advisor.recommend.emit import EMITTERS

    _require_choice("--emit", emit, _FORMATS)
    if as_json:
        raise UsageError("--emit and --json exclude each other: stdout holds one answer")
    return EMITTERS[emit]


def _report(advice: "Advice") -> Any:
    from reports import terminal
    from reports.document import build_document

    return terminal.render(build_document(advice, None, current_settings().lang))


def _report_files(reports: list[Path], out: Path | None) -> list[Path]:
    """Every file to write, each checked before anything is measured."""
    from advisor.storage import require_writable

    for path in reports:
        if path.suffix not in _REPORT_SUFFIXES:
            raise UsageError(f"--report {path}: the name must end in {' or '.join(_REPORT_SUFFIXES)}")
    files = [*reports, *([out / "advice.json", out / "report.md"] if out else [])]
    for folder in {path.parent for path in files}:
        require_writable(folder)
    return files


def _write(path: Path, advice: "Advice") -> None:
    from advisor.storage import write_atomically
    from reports import markdown
    from reports.document import build_document

    lang = current_settings().lang
    if path.suffix == ".json":
        text = advice.to_json()
    elif path.suffix == ".html":
        from reports.html import whole_page

        text = whole_page(advice, None, lang)
    else:
        text = markdown.render(build_document(advice, None, lang))
    write_atomically(path, text.rstrip("\n") + "\n")
    print_progress(f"wrote {path}")
