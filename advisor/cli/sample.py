"""``cfgadvise sample``: pictures from a trained run."""

from pathlib import Path
from typing import Annotated

import typer

from advisor.cli.context import print_answer
from advisor.errors import UsageError
from advisor.imports import quick_imports


def sample(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run.")],
    device: Annotated[str, typer.Option(metavar="D", help="auto, cpu, cuda:N or a GPU's UUID.")] = "auto",
    class_names: Annotated[
        list[str] | None, typer.Option("--class", metavar="NAME", help="Class to draw; repeatable; else every class.")
    ] = None,
    count: Annotated[int, typer.Option("-n", metavar="N", help="Pictures of each class.")] = 1,
    guidance: Annotated[
        float | None, typer.Option(metavar="W", help="1 is the model itself; else the run's own.")
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="K", help="Denoising steps; else the run's own.")] = None,
    checkpoint: Annotated[str, typer.Option(metavar="best|latest|N", help="N counts samples seen.")] = "best",
    seed: Annotated[int, typer.Option(metavar="S", help="The same seed draws the same pictures.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the PNGs go; else RUN/generated.")] = None,
) -> None:
    """Draw pictures by class name; prints the path of each."""
    if count < 1:
        raise UsageError(f"-n {count}: at least one picture of each class")
    if steps is not None and steps < 1:
        raise UsageError(f"--steps {steps}: at least one step")
    if not run.is_dir():
        raise UsageError(f"{run} is not a run folder; train first: cfgadvise train --out {run}")

    with quick_imports():
        import torch

        from advisor import storage
        from advisor.cli.train import torch_device
        from advisor.hardware.probe import choose_device, probe
        from trainer.folder import RunFolder
        from trainer.sampling import generate, picture_image, png_bytes
        from trainer.trained import load_trained

    trained = load_trained(RunFolder(run), checkpoint, torch_device(choose_device(probe(), device)))
    names = class_names or list(trained.classes)
    labels = torch.tensor([trained.label_of(name) for name in names]).repeat_interleave(count)
    x_BCHW = generate(
        trained.model,
        labels,
        seed=seed,
        num_steps=steps or trained.config.sampling_steps,
        guidance=trained.config.guidance if guidance is None else guidance,
    )
    folder = out or run / "generated"
    for k, pixels in enumerate(trained.codec.decode(x_BCHW)):
        path = folder / f"{names[k // count]}-{seed}-{k % count}.png"
        storage.write_atomically(path, png_bytes(picture_image(pixels)))
        print_answer(str(path))
