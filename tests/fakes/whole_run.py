"""A whole small run in this process, as ``cfgadvise train`` does it, to be disturbed in the middle."""

import json
from pathlib import Path
from typing import Any

import torch
from picture_folder import make_pictures

from advisor.records import Note
from trainer.data import load_pictures, split_pictures
from trainer.folder import open_run
from trainer.occasions import Observers
from trainer.plan import plan_config, survey
from trainer.run import Run
from trainer.stop import StopRequest

CHANGES = {
    "image_size": 8, "micro_batch": 8, "samples": 320, "num_milestones": 2, "checkpoint_every_samples": 80,
    "validate_every_samples": 80, "sampling_steps": 4, "held_out_frac": 0.3,
}  # fmt: skip


def whole_run(folder: Path, changes: dict[str, Any] | None = None, **options: Any) -> list[Note]:
    """Start or resume the run in this folder; returns what the user was told."""
    pictures_folder = folder.parent / "pictures"
    if not pictures_folder.exists():
        make_pictures(pictures_folder, per_class=10)
    said: list[Note] = []
    config, why = plan_config(survey(str(pictures_folder)), "cpu", {**CHANGES, **(changes or {})})
    pictures = load_pictures(config.source, config.image_size)
    split = split_pictures(pictures.labels, config.held_out_frac, config.seed)
    observers = Observers(on_progress=lambda _: None, on_note=said.append)
    with StopRequest() as stop, open_run(folder) as place:
        run = Run(place, config, pictures, split, "cpu", observers, device_name="cpu", **options)
        run.write_plan(why, None)
        run.execute(stop)
    return said


def logged(folder: Path, name: str, kind: str) -> list[dict[str, Any]]:
    """Lines of a kind in ``metrics.jsonl`` or ``events.jsonl``."""
    lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry for entry in map(json.loads, lines) if entry["kind"] == kind]


def last_weights(folder: Path) -> bytes:
    """Model, averages and optimizer of the newest checkpoint, as they lie on the disk."""
    return (max((folder / "checkpoints").iterdir()) / "state.safetensors").read_bytes()


def out_of_memory() -> torch.OutOfMemoryError:
    """As CUDA's allocator says it."""
    return torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity of 16 GiB"
    )
