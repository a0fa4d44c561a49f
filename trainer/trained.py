"""A trained model out of a run folder, ready to generate pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from advisor import schema, storage
from advisor.errors import CheckpointError, StorageError, UsageError
from advisor.schema import nearest_name
from trainer.checkpoint import list_checkpoints, load_newest, samples_of
from trainer.config import TrainConfig
from trainer.ema import Ema
from trainer.evaluation_file import read_evaluation
from trainer.folder import RunFolder
from trainer.latents import Codec, load_codec
from trainer.model import build_model, make_optimizer
from trainer.presets import preset_named
from trainer.state import TrainState, read_identity


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A model with averaged weights out of a checkpoint, ready to generate."""

    model: Any
    codec: Codec
    classes: tuple[str, ...]
    config: TrainConfig
    samples_seen: int
    data_sha256: str

    def label_of(self, name: str) -> int:
        """Number of a class.

        Raises:
            UsageError: for a name that is no class of this model, with the nearest one.
        """
        if name not in self.classes:
            known = ", ".join(self.classes[:20])
            raise UsageError(f"no class {name!r} in this model{nearest_name(name, self.classes)}; known: {known}")
        return self.classes.index(name)


def load_trained(folder: RunFolder, which: str, device: torch.device | str) -> TrainedModel:
    """The averaged weights of a run's checkpoint.

    Args:
        folder: the run.
        which: ``best`` (see :func:`best_checkpoint`), ``latest``, or how many samples
            the checkpoint had seen.
        device: where to put the model.

    Raises:
        CheckpointError: if that checkpoint is not there or damaged.
    """
    root = folder.checkpoints
    if which == "best":
        which = best_checkpoint(folder)
    found = load_newest(root) if which == "latest" else _load_numbered(root, which)
    if found is None:
        raise CheckpointError(f"{folder.path} holds no checkpoint; train first: cfgadvise train --out {folder.path}")
    path, files = found
    identity = read_identity(files, str(path))
    config = schema.from_plain(TrainConfig, identity["config"], where=str(path))
    classes = tuple(identity["classes"])
    channels, height, width = identity["shape"]
    shape = (channels, height, width)
    model = build_model(preset_named(config.preset), shape, len(classes), seed=config.seed, device=device)
    average, optimizer = Ema(model, config.ema_half_lives_samples), make_optimizer(model, lr=config.lr)
    state = TrainState(model, average, optimizer, config.precision)
    state.load_files(files, str(path))
    state.ema.copy_to(model, int(identity["ema_width"]))
    return TrainedModel(
        model=model.eval(),
        codec=load_codec(config.vae, device),
        classes=classes,
        config=config,
        samples_seen=state.samples_seen,
        data_sha256=str(identity.get("data_sha256")),
    )


def best_checkpoint(folder: RunFolder) -> str:
    """Samples seen of the checkpoint that the evaluation chose; without one, of the lowest validation loss.

    ``latest`` if none of those that are kept was judged in either way.
    """
    kept = {samples_of(path) for path in list_checkpoints(folder.checkpoints)}
    known = read_evaluation(folder)
    if known is not None and known.choice is not None and known.choice.samples in kept:
        return str(known.choice.samples)
    entries = storage.read_json_lines(folder.metrics)
    losses = {e["samples"]: e["loss"] for e in entries if e["kind"] == "validation" and e["samples"] in kept}
    return str(min(losses, key=losses.__getitem__)) if losses else "latest"


def _load_numbered(root: Path, which: str) -> tuple[Path, dict[str, bytes]]:
    kept = {samples_of(path): path for path in list_checkpoints(root)}
    path = kept.get(int(which)) if which.isdigit() else None
    if path is None:
        there = ", ".join(map(str, sorted(kept))) or "none"
        raise CheckpointError(f"{root}: no checkpoint {which!r}; there are: {there} (samples seen), best, latest")
    try:
        return path, storage.read_folder(path)
    except StorageError as error:
        raise CheckpointError(str(error)) from None
