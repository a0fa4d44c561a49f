"""``cfgadvise recommend``: measures a training step at a few settings and says which one to take."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from advisor.cli.answers import FORMATS, emitter, report_files, write_report
from advisor.cli.apply import complete_from_file, read_own_settings, show_change
from advisor.cli.cards import (
    answer_cards,
    compare_cards,
    price_of_each,
    require_comparable,
    session_seconds,
    with_terms,
)
from advisor.cli.context import print_answer, print_progress, require_choice
from advisor.cli.subject import (
    DEFAULT_PRESET,
    count_dataset,
    data_arguments,
    own_arguments,
    planned_occasions,
    preset_arguments,
    run_samples,
)
from advisor.errors import UsageError

if TYPE_CHECKING:
    from advisor.recommend.options import Goal
    from advisor.records import Advice

_GOALS = ("balanced", "time", "memory")
_PRECISIONS = ("fp32", "bf16", "fp16")


def recommend(
    dataset_size: Annotated[int | None, typer.Option(metavar="N", help="How many items there are to train on.")] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Count them: one subfolder of pictures a class.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="D", help="auto, cpu, cuda:N or a GPU's UUID.")] = "auto",
    gpu: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Predict for this card, which need not be here; several are compared."),
    ] = None,
    workload: Annotated[
        str | None, typer.Option(metavar="FILE.py:FUNC", help="Your own training step; else a preset of the trainer.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Network of the trainer; {DEFAULT_PRESET} if nothing is named.")
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
    precision: Annotated[str, typer.Option(metavar="fp32|bf16|fp16", help="Precision of a preset's step.")] = "fp32",
    goal: Annotated[
        str, typer.Option(metavar="balanced|time|memory", help="A change for 5 %, for any gain, or for less memory.")
    ] = "balanced",
    price_per_hour: Annotated[
        list[float] | None,
        typer.Option(
            metavar="X", help="What an hour costs; also say what the run does. One for each --gpu, or for all."
        ),
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="9h", help="Length of a session that is then cut off; plan the run in them.")
    ] = None,
    noise_scale: Annotated[
        bool | None,
        typer.Option(
            "--noise-scale/--no-noise-scale",
            help="Measure the gradient noise scale; if not said, where it takes less than half a minute.",
        ),
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Measure anew what was measured here within the last week.")
    ] = False,
    emit: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="Only lines to paste instead of the report: " + ", ".join(FORMATS) + "."),
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
    require_choice("--goal", goal, _GOALS)
    require_choice("--precision", precision, _PRECISIONS)
    writer = emitter(emit, as_json=as_json)
    answers = {"--emit": emit is not None, "--json": as_json}
    own = read_own_settings(apply, apply_names, write=write, other_answers=answers)
    given = complete_from_file(own, {"micro_batch": batch_size, "accumulation": accumulation, "lr": lr})
    given["accumulation"] = 1 if given["accumulation"] is None else given["accumulation"]
    _require_setting(given["micro_batch"], given["accumulation"], given["lr"], max_batch)
    files = report_files(report or [], out)
    cards, prices, session_s = gpu or [], price_of_each(price_per_hour, len(gpu or [])), session_seconds(session)
    if len(cards) > 1:
        require_comparable({"--emit": emit is not None, "--apply": own is not None, "--out": out is not None})
    if cards and device != "auto":
        raise UsageError("--gpu and --device exclude each other: --gpu is for a card that is not here")
    if workload is not None and preset is not None:
        raise UsageError("--workload and --preset exclude each other: which step is to be measured?")
    if workload is not None:
        arguments = own_arguments(workload, given, count_dataset(dataset_size, data))
    elif data is not None and dataset_size is None:
        known = {**given, "preset": preset, "precision": precision}
        arguments = data_arguments(data, device, cards[0] if cards else None, known, decode_all=noise_scale is True)
    else:
        dataset = count_dataset(dataset_size, data)
        arguments = preset_arguments(preset or DEFAULT_PRESET, precision, given, dataset)
    arguments["memory_budget_bytes"] = _parse_budget(memory_budget)
    arguments |= {"noise_scale": noise_scale, "use_cache": not no_cache}
    arguments["run_samples"] = run_samples(samples, steps, epochs, arguments)
    arguments["planned"] = planned_occasions(arguments)

    def advise_on(card: str | None, k: int) -> "Advice":
        advice = _advise({"device": device, "gpu": card} | arguments, max_batch, cast("Goal", goal))
        return with_terms(advice, prices[k], session_s)

    if len(cards) > 1:
        answer_cards(compare_cards(cards, advise_on), files, as_json=as_json)
        return
    advice = advise_on(cards[0] if cards else None, 0)
    for path in files:
        write_report(path, advice)
    if own is not None:
        show_change(own, advice, write=write)
    else:
        print_answer(advice.to_json() if as_json else writer(advice))


def _require_setting(batch_size: int | None, accumulation: int, lr: float | None, max_batch: int | None) -> None:
    for option, value in (("--batch-size", batch_size), ("--accumulation", accumulation), ("--max-batch", max_batch)):
        if value is not None and value < 1:
            raise UsageError(f"{option} must be at least 1, found {value}")
    if lr is not None and not 0 < lr < float("inf"):
        raise UsageError(f"--lr must be a positive number such as 1e-4, found {lr}")


def _parse_budget(text: str | None) -> int | None:
    from advisor.units import parse_bytes

    return None if text is None else parse_bytes(text)


def _advise(arguments: dict[str, Any], max_batch: int | None, goal: "Goal") -> "Advice":
    from advisor.recommend.planner import advise

    return advise(
        **arguments,
        max_batch=max_batch,
        goal=goal,
        command=shlex.join(["cfgadvise", *sys.argv[1:]]),
        on_progress=print_progress,
    )
