"""``cfgadvise refine``: a search for a better learning rate than the advised one, at a price that is said first."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.cli.context import current_settings, print_answer, print_progress
from advisor.errors import UsageError

if TYPE_CHECKING:
    from advisor.records import Advice, Device, SearchBudget
    from advisor.refine.search import Task
    from trainer.config import TrainConfig
    from trainer.plan import Source

WORKLOAD = "trainer.workload:make"
OBJECTIVE = "trainer.proxy:make"


def refine(
    device: Annotated[str, typer.Option(metavar="D", help="auto, cpu, cuda:N or a GPU's UUID.")] = "auto",
    advice: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Start from this advice.json; else it is measured first.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="One subfolder of pictures a class; else the bundled digits.")
    ] = None,
    preset: Annotated[str | None, typer.Option(metavar="NAME", help="Network of the trainer.")] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One value of the configuration; repeatable.")
    ] = None,
    samples: Annotated[int | None, typer.Option(metavar="S", help="Length of the run that is to be tuned.")] = None,
    trials: Annotated[int | None, typer.Option(metavar="N", help="Trainings of the search, at least 5.")] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="2h", help="Time for all of it; refused if it is too short to tell anything.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Database of the study, which machines may share; else in --out."),
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", help="Processes that train side by side here.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="For refine.db, advice.json, report.md; else runs/NAME-refine."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of the report.")] = False,
) -> None:
    """Search around the advised learning rate in short trainings; the same command again goes on."""
    from advisor.refine.database import file_url, require_database
    from advisor.refine.outcome import refined
    from advisor.refine.search import refine as search
    from advisor.storage import require_writable

    budget_s = _require_plan(trials, budget, workers)
    given = _given(data, preset, samples, assign or [])
    folder = out or Path("runs") / f"{Path(str(given['source'])).resolve().name}-refine"
    require_writable(folder)
    url = storage or file_url(folder / "refine.db")
    require_database(url)
    known, chosen, source, config = _start(given, advice, folder, device, _command(storage))
    plan = _budget(known, chosen, config, budget_s, trials)
    _require_memory(known, chosen, workers)
    print_progress(_price(plan, url))
    task = _task(config, source, chosen, plan, url, workers, budget_s)
    _write(folder, refined(known, search(task, print_progress)), as_json=as_json)


def _given(data: Path | None, preset: str | None, samples: int | None, assignments: list[str]) -> dict[str, Any]:
    from trainer.config import BUNDLED_DIGITS
    from trainer.config_file import parse_overrides

    values = {"source": BUNDLED_DIGITS, **parse_overrides(assignments)}
    options = {"source": None if data is None else str(data), "preset": preset, "samples": samples}
    return values | {name: value for name, value in options.items() if value is not None}


def _command(storage: str | None) -> str:
    """As it was typed, without the password of a database: reports show it."""
    from advisor.refine.database import shown

    words = ["cfgadvise", *sys.argv[1:]]
    return shlex.join(words if storage is None else [word.replace(storage, shown(storage)) for word in words])


def _require_plan(trials: int | None, budget: str | None, workers: int) -> float | None:
    """Seconds of the budget, if one is given; what makes no sense is refused before anything is measured."""
    from advisor.refine.budget import require_trials
    from advisor.units import parse_duration_s

    require_trials(trials)
    if workers < 1:
        raise UsageError(f"--workers must be at least 1, found {workers}")
    return None if budget is None else parse_duration_s(budget)


# ---- what is searched ---------------------------------------------------------------------------


def _start(
    given: dict[str, Any], advice_file: Path | None, folder: Path, device: str, command: str
) -> "tuple[Advice, Device, Source, TrainConfig]":
    """The advice to start from (given, measured, or measured by an earlier start), and what it is for."""
    from advisor.hardware.probe import choose_device, probe
    from trainer.plan import plan_config, survey

    chosen, source = choose_device(probe(), device), survey(str(given["source"]))
    first = folder / "start.json"  # measured once: another measurement could be another search
    if advice_file is not None or first.exists():
        advice = _read_advice(advice_file or first)
        if advice.workload.name != given.get("preset", advice.workload.name):
            raise UsageError(f"the advice is for {advice.workload.name}, not for the preset {given['preset']}")
        config, _ = plan_config(source, chosen.kind, {"preset": advice.workload.name, **given}, advice)
        _require_same_data(advice, source, config)
        return advice, chosen, source, config
    advice = _measured(given, chosen, source, command)
    from advisor.storage import write_atomically

    write_atomically(first, advice.to_json() + "\n")
    return advice, chosen, source, plan_config(source, chosen.kind, given, advice)[0]


def _read_advice(path: Path) -> "Advice":
    from advisor.records import Advice
    from advisor.schema import from_plain
    from advisor.storage import require_json_object
    from trainer.presets import PRESETS

    advice = from_plain(Advice, require_json_object(path), where=str(path))
    if advice.workload.name not in PRESETS:
        raise UsageError(
            f"{path} is about {advice.workload.name}, which this program cannot train: refine trains its own presets"
            f" ({', '.join(PRESETS)}). Try the three learning rates that the report names with your own script"
        )
    return advice


def _require_same_data(advice: "Advice", source: "Source", config: "TrainConfig") -> None:
    num_items = source.training_set(config.held_out_frac).num_items
    if advice.dataset.num_items != num_items:
        raise UsageError(
            f"the advice is for {advice.dataset.num_items} pictures to train on, {source.source} has {num_items};"
            " give the --data that it was made for, or another --out"
        )


def _measured(given: dict[str, Any], device: "Device", source: "Source", command: str) -> "Advice":
    from advisor.recommend.planner import advise
    from advisor.records import Claim
    from advisor.schema import to_plain
    from trainer.kept_pictures import keep_pictures
    from trainer.plan import plan_config, present_setting, workload_parameters
    from trainer.timetable import timetable_of

    config, why = plan_config(source, device.kind, given)
    values, prepared = to_plain(config), keep_pictures(config)
    basis = "user" if "samples" in given else "rule"
    return advise(
        workload=WORKLOAD,
        workload_name=config.preset,
        parameters=workload_parameters(source, values) | prepared.parameters,
        made_up_because=prepared.made_up_because,
        planned=timetable_of(config, source.num_classes, source.num_held_out(config.held_out_frac)),
        dataset=source.training_set(config.held_out_frac),
        device=device,
        present=present_setting(values, given),
        run_samples=Claim(value=config.samples, basis=basis, source=why["samples"]),  # type: ignore[arg-type]
        command=command,
        on_progress=print_progress,
    )


# ---- what it costs ------------------------------------------------------------------------------


def _budget(
    advice: "Advice", device: "Device", config: "TrainConfig", budget_s: float | None, trials: int | None
) -> "SearchBudget":
    from advisor.refine.budget import plan_budget

    is_here = (advice.device.kind, advice.device.name) == (device.kind, device.name)
    rate = advice.recommended.samples_per_s.value if is_here else None
    return plan_budget(config.samples, rate, budget_s=budget_s, num_trials=trials)


def _price(plan: "SearchBudget", url: str) -> str:
    from advisor.refine.database import dashboard_command
    from advisor.units import format_count, format_duration

    most = plan.num_trials + (plan.num_finalists + 1) * plan.num_seeds
    steps = "" if plan.seconds is None else f", at most about {format_duration(plan.seconds)} of training steps here"
    took = f"{steps}; workers' starts and validation come on top"
    return (
        f"at most {most} trainings ({plan.num_trials} in the search, the rest in the contest) of"
        f" {format_count(plan.proxy_samples)} samples, {100 * plan.proxy_frac:.0f} % of the run:"
        f" {plan.runs:.2g} runs{took}\nwatch it with: {dashboard_command(url)} (pip install optuna-dashboard)"
    )


def _require_memory(advice: "Advice", device: "Device", workers: int) -> None:
    """On a card, workers share its memory."""
    peak, budget_bytes = advice.recommended.peak_reserved_bytes.value, advice.memory.budget_bytes
    if device.kind == "cpu" or peak is None or budget_bytes is None or workers * peak <= budget_bytes:
        return
    from advisor.units import format_bytes

    raise UsageError(
        f"--workers {workers}: each takes {format_bytes(peak)} of {format_bytes(budget_bytes)};"
        f" at most {max(1, int(budget_bytes // peak))} fit on {device.name}"
    )


def _task(
    config: "TrainConfig",
    source: "Source",
    device: "Device",
    plan: "SearchBudget",
    url: str,
    workers: int,
    budget_s: float | None,
) -> "Task":
    from advisor.cli.train import torch_device
    from advisor.refine.search import Task
    from advisor.schema import to_plain
    from trainer.proxy import search_identity

    return Task(
        start_lr=config.lr,
        budget=plan,
        objective=OBJECTIVE,
        parameters=to_plain(config),
        identity=search_identity(config, source.num_items, source.num_classes),
        device=torch_device(device),
        storage=url,
        num_workers=workers,
        ends_after_s=budget_s,
    )


# ---- the answer ---------------------------------------------------------------------------------


def _write(folder: Path, advice: "Advice", *, as_json: bool) -> None:
    from advisor.storage import write_atomically
    from reports import markdown, terminal
    from reports.document import build_document

    document = build_document(advice, None, current_settings().lang)
    write_atomically(folder / "advice.json", advice.to_json() + "\n")
    write_atomically(folder / "report.md", markdown.render(document).rstrip("\n") + "\n")
    print_answer(advice.to_json() if as_json else terminal.render(document))
    print_progress(f"wrote {folder / 'advice.json'}; train with it: cfgadvise train --advice {folder / 'advice.json'}")
