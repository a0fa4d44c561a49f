"""``cfgadvise evaluate``: judge what the checkpoints of a run generate, and choose the one to use."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from advisor.cli.context import current_settings, print_answer, print_progress
from advisor.errors import CheckpointError, UsageError
from advisor.imports import quick_imports

if TYPE_CHECKING:
    from advisor.records import Note
    from trainer.folder import RunFolder

MIN_SAMPLES = 20
SELECT = ("kid", "classifier")


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run.")],
    device: Annotated[str, typer.Option(metavar="D", help="auto, cpu, cuda:N or a GPU's UUID.")] = "auto",
    checkpoint: Annotated[str, typer.Option(metavar="all|best|latest|N", help="N counts samples seen.")] = "best",
    num_samples: Annotated[
        int, typer.Option(metavar="N", help="Pictures to make without guidance, and again with the run's.")
    ] = 1000,
    select: Annotated[
        str, typer.Option(metavar="kid|classifier", help="Which figure chooses among checkpoints without copies.")
    ] = "kid",
    features: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Local image encoder (DINOv2, ...) to compare and classify in.")
    ] = None,
    sweep: Annotated[
        bool, typer.Option("--sweep/--no-sweep", help="Try guidance scales and steps with the chosen checkpoint.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Judge generated pictures: copies, likeness, classes, use for a classifier; choose the checkpoint."""
    if num_samples < MIN_SAMPLES:
        raise UsageError(f"--num-samples {num_samples}: at least {MIN_SAMPLES}, or no figure says anything")
    if select not in SELECT:
        raise UsageError(f"--select {select}: choose {' or '.join(SELECT)}")
    by = cast("Literal['kid', 'classifier']", select)
    if not (run / "config.toml").exists():
        raise UsageError(f"{run} is not a run folder; train first: cfgadvise train --out {run}")

    with quick_imports():
        from advisor.cli.train import torch_device
        from advisor.hardware.probe import choose_device, probe
        from trainer.amounts import MAX_IN_SWEEP
        from trainer.evaluate import evaluator_of
        from trainer.folder import open_run
        from trainer.judge.spaces import load_encoder
        from trainer.trained import load_trained

    place = torch_device(choose_device(probe(), device))
    with open_run(run) as folder:
        names = checkpoints_to_judge(folder, checkpoint)
        first = load_trained(folder, names[0], place)
        encoder = load_encoder(features) if features else None
        evaluator = evaluator_of(folder, first, encoder=encoder, select=by, on_note=_tell)
        for name in names:
            trained = first if name == names[0] else load_trained(folder, name, place)
            evaluator.evaluate(trained.model, trained.samples_seen, counts=evaluator.plan(num_samples, num_samples))
        known = evaluator.known()
        judged = {int(one) for one in names}
        if sweep and known is not None and known.choice is not None and known.choice.samples in judged:
            chosen = load_trained(folder, str(known.choice.samples), place)
            evaluator.advise_sampling(chosen.model, chosen.samples_seen, min(num_samples, MAX_IN_SWEEP))
    _answer(run, as_json=json)


def checkpoints_to_judge(folder: "RunFolder", which: str) -> list[str]:
    """Samples seen of the checkpoints that are meant, in the order of training.

    Raises:
        CheckpointError: if there is none.
    """
    from trainer.checkpoint import list_checkpoints, samples_of
    from trainer.trained import best_checkpoint

    kept = sorted(samples_of(path) for path in list_checkpoints(folder.checkpoints))
    if not kept:
        raise CheckpointError(f"{folder.path} holds no checkpoint; train first: cfgadvise train --out {folder.path}")
    if which == "all":
        return [str(samples) for samples in kept]
    if which == "best":
        which = best_checkpoint(folder)
    if which == "latest":
        which = str(kept[-1])
    if not which.isdigit() or int(which) not in kept:
        there = ", ".join(map(str, kept))
        raise CheckpointError(f"{folder.checkpoints}: no checkpoint {which!r}; there are: {there} (samples seen)")
    return [str(int(which))]


def _tell(said: "Note") -> None:
    from reports.blocks import line_text
    from reports.wording import Wording

    words = Wording(current_settings().lang)
    print_progress(line_text(words.note(said), words.marks, intervals=False, basis=False))


def _answer(run: Path, *, as_json: bool) -> None:
    """The record, or the sections of the run's report that are about it."""
    from reports import terminal
    from reports.document import evaluation_document
    from reports.run import read_run

    if as_json:
        print_answer((run / "evaluation.json").read_text(encoding="utf-8").rstrip("\n"))
        return
    print_answer(terminal.render(evaluation_document(read_run(run), current_settings().lang)))
