"""``cfgadvise train``: plan, show the plan, train, report. The same command again goes on."""

import contextlib
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from advisor.cli.context import current_settings, print_answer, print_progress
from advisor.errors import UsageError
from advisor.imports import quick_imports

if TYPE_CHECKING:
    from advisor.recommend.options import Changes
    from advisor.records import Advice, Device
    from trainer.config import TrainConfig
    from trainer.folder import RunFolder
    from trainer.stop import StopRequest

WORKLOAD = "trainer.workload:make"


def train(
    auto: Annotated[bool, typer.Option("--auto", help="Measure this machine, then train with what it says.")] = False,
    device: Annotated[str, typer.Option(metavar="D", help="auto, cpu, cuda:N or a GPU's UUID.")] = "auto",
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="One subfolder of pictures a class; else the bundled digits.")
    ] = None,
    advice: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Train with an earlier advice.json; nothing is measured.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML configuration, such as an earlier run's config.toml.")
    ] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One value of the configuration; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN", help="Run folder; else runs/<name of the data>.")] = None,
    samples: Annotated[int | None, typer.Option(metavar="S", help="How many pictures the run sees.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Insist on a new run: the folder must be empty.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the configuration; write and train nothing.")
    ] = False,
    on_oom: Annotated[str, typer.Option(metavar="shrink|stop", help="If memory runs out in mid-run.")] = "shrink",
    stop_early: Annotated[
        bool, typer.Option("--stop-early", help="Stop at a plateau, or when pictures are copied; else only warn.")
    ] = False,
    track: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Send metrics to tensorboard, trackio, wandb or mlflow, too."),
    ] = None,
) -> None:
    """Train a class-conditional diffusion model on pictures, and report what came of it."""
    from trainer.folder import RunFolder, open_run
    from trainer.stop import StopRequest

    if on_oom not in ("shrink", "stop"):
        raise UsageError(f"--on-oom {on_oom}: choose shrink or stop")
    if track is not None:
        from trainer.tracking import require_tracker

        require_tracker(track)
    given = _given_values(config, data, samples, assign or [])
    path = out or Path("runs") / _run_name(given)
    if fresh and path.exists() and any(path.iterdir()):
        raise UsageError(f"--fresh: {path} is not empty; choose another --out")
    with StopRequest() as stop:
        chosen = _device(device)
        plan = _Plan(RunFolder(path), chosen, given, advice, measure=auto)
        if dry_run:
            plan.decide()
            print_answer(plan.toml())
            return
        with open_run(path):
            plan.decide()
            _execute(plan, stop, shrink_on_oom=on_oom == "shrink", stop_early=stop_early, track=track)


def _given_values(
    config: Path | None, data: Path | None, samples: int | None, assignments: list[str]
) -> dict[str, Any]:
    """What the user has decided: options go before ``--set``, and that before the file."""
    from trainer.config_file import parse_overrides, read_values

    values = read_values(config) if config else {}
    values |= parse_overrides(assignments)
    if data is not None:
        values["source"] = str(data)
    if samples is not None:
        values["samples"] = samples
    return values


def _run_name(given: dict[str, Any]) -> str:
    from trainer.config import BUNDLED_DIGITS

    return Path(str(given.get("source", BUNDLED_DIGITS))).resolve().name


def _device(request: str) -> "Device":
    from advisor.hardware.probe import choose_device, probe

    return choose_device(probe(), request)


class _Plan:
    """The way from what the user said to a checked configuration with its data and reasons."""

    def __init__(
        self, folder: "RunFolder", device: "Device", given: dict[str, Any], advice_file: Path | None, *, measure: bool
    ) -> None:
        """Check everything that can be checked before anything is measured or written."""
        from trainer.data import load_pictures, split_pictures

        self.folder, self.device = folder, device
        self.advice: Advice | None = None
        self.why: dict[str, str] = {}
        self._given, self._advice_file, self._measure = given, advice_file, measure
        self.config = self._stored_config() if folder.has_started else self._first_config()
        self.pictures = load_pictures(self.config.source, self.config.image_size)
        self.split = split_pictures(self.pictures.labels, self.config.held_out_frac, self.config.seed)

    def _stored_config(self) -> "TrainConfig":
        """What the folder's run was started with, and what was given now: the run refuses a conflict."""
        from advisor.schema import to_plain
        from trainer.config import config_from
        from trainer.folder import stored_config

        return config_from(to_plain(stored_config(self.folder)) | self._given, where=str(self.folder.config))

    def _first_config(self) -> "TrainConfig":
        from trainer.config import BUNDLED_DIGITS
        from trainer.plan import plan_config, survey

        self._source = survey(str(self._given.get("source", BUNDLED_DIGITS)))
        config, self.why = plan_config(self._source, self.device.kind, self._given)
        return config

    def decide(self) -> None:
        """Measure, or read an earlier advice, and take over what it recommends."""
        from trainer.plan import plan_config

        if self.folder.has_started:
            return
        if self._advice_file is not None:
            self.advice = _read_advice(self._advice_file)
        elif self._measure:
            self.advice = self._advise()
        if self.advice is not None:
            self.config, self.why = plan_config(self._source, self.device.kind, self._given, self.advice)

    def _advise(self) -> "Advice":
        from advisor.recommend.planner import advise
        from advisor.records import Claim
        from advisor.schema import to_plain
        from trainer.config import MEMORY_SAVERS
        from trainer.kept_pictures import keep_pictures
        from trainer.plan import present_setting, workload_parameters
        from trainer.timetable import timetable_of

        values = to_plain(self.config)
        prepared = keep_pictures(self.config, (self.pictures, self.split))
        return advise(
            workload=WORKLOAD,
            workload_name=self.config.preset,
            parameters=workload_parameters(self._source, values) | prepared.parameters,
            made_up_because=prepared.made_up_because,
            planned=timetable_of(self.config, len(self.pictures.classes), len(self.split.held_out)),
            savers=cast("Changes", MEMORY_SAVERS),
            dataset=self._source.training_set(self.config.held_out_frac),
            device=self.device,
            present=present_setting(values, self._given),
            run_samples=Claim(
                value=self.config.samples,
                basis="user" if "samples" in self._given else "rule",
                source=self.why["samples"],
            ),
            command=shlex.join(["cfgadvise", *sys.argv[1:]]),
            on_progress=print_progress,
        )

    def toml(self) -> str:
        """The configuration with its reasons."""
        from trainer.config_file import to_toml

        return to_toml(self.config, self.why)


def _read_advice(path: Path) -> "Advice":
    from advisor.records import Advice
    from advisor.schema import from_plain
    from advisor.storage import require_json_object

    return from_plain(Advice, require_json_object(path), where=str(path))


def _execute(plan: _Plan, stop: "StopRequest", *, shrink_on_oom: bool, stop_early: bool, track: str | None) -> None:
    with quick_imports():
        from reports.live import Screen
        from trainer.occasions import Observers
        from trainer.run import Run

    if plan.advice is not None:
        _show_plan(plan.advice)
    settings = current_settings()
    with (
        Path(os.devnull).open("w", encoding="utf-8")
        if settings.quiet
        else contextlib.nullcontext(sys.stderr) as stream,
        Screen(settings.lang, stream, device_kind=plan.device.kind) as screen,
    ):
        run = Run(
            plan.folder,
            plan.config,
            plan.pictures,
            plan.split,
            torch_device(plan.device),
            Observers(on_progress=screen.update, on_note=screen.note),
            device_name=plan.device.name,
            shrink_on_oom=shrink_on_oom,
            stop_early=stop_early,
            track=track,
        )
        run.write_plan(plan.why, plan.advice)
        run.execute(stop)
    _report(plan.folder)


def torch_device(device: "Device") -> str:
    """The device in torch's words."""
    return "cpu" if device.kind == "cpu" else f"{device.kind}:{device.index or 0}"


def _show_plan(advice: "Advice") -> None:
    """The verdict alone: the whole report comes when there is something to compare it with."""
    import dataclasses

    from reports import terminal
    from reports.document import build_document

    document = build_document(advice, None, current_settings().lang)
    print_progress(terminal.printed([terminal.render(dataclasses.replace(document, sections=document.sections[:1]))]))


def _report(folder: "RunFolder") -> None:
    """Print the report, and leave it in the run folder as Markdown and as a page in both languages."""
    from advisor.storage import write_atomically
    from reports import markdown, terminal
    from reports.document import build_document
    from reports.html import whole_page
    from reports.run import read_run

    view, lang = read_run(folder.path), current_settings().lang
    document = build_document(view.advice, view, lang)
    write_atomically(folder.path / "report.md", markdown.render(document))
    write_atomically(folder.path / "report.html", whole_page(view.advice, view, lang))
    print_answer(terminal.render(document))
