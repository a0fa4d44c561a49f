"""What a run works with: its data encoded, its network built, its newest checkpoint loaded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from advisor import schema, storage
from advisor.errors import DataError, UsageError
from advisor.records import Note
from trainer.checkpoint import load_newest
from trainer.config import TrainConfig, changed_fields
from trainer.data import Pictures, Split
from trainer.ema import Ema
from trainer.folder import RunFolder
from trainer.health.learning import WeightSample
from trainer.health.monitor import weight_sample
from trainer.latents import Codec, encoded, load_codec
from trainer.loop import TrainingData
from trainer.model import build_model, make_optimizer
from trainer.oom import Pieces
from trainer.presets import preset_named
from trainer.state import TrainState, read_identity
from trainer.validation import ValidationSet, fixed_tuples


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run that is ready to go.

    ``x_NCHW`` are all pictures as the network sees them, on the CPU; what is trained and validated on
    lies on the device. ``first_weights`` were taken before a checkpoint was loaded.
    """

    folder: RunFolder
    config: TrainConfig
    pictures: Pictures
    split: Split
    codec: Codec
    x_NCHW: Tensor
    training_data: TrainingData
    held_out: ValidationSet | None
    state: TrainState
    first_weights: WeightSample
    is_resumed: bool

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint belongs to, and what is needed to use it without the data."""
        return {
            "config": schema.to_plain(self.config),
            "data_sha256": self.pictures.sha256,
            "classes": list(self.pictures.classes),
            "shape": list(self.x_NCHW.shape[1:]),
        }


def prepare(
    folder: RunFolder,
    config: TrainConfig,
    pictures: Pictures,
    split: Split,
    device: torch.device,
    pieces: Pieces,
    on_note: Callable[[Note], None],
) -> Prepared:
    """Build everything; writes nothing but the latent cache.

    Raises:
        DataError: if the data are not those that the run in this folder was started with.
        UsageError: if the configuration would make it another run.
        CheckpointError: if there are checkpoints and none is good.
    """
    codec = load_codec(config.vae, device, pieces)
    x_NCHW, label_N = encoded(pictures, codec, config.image_size, on_note), torch.from_numpy(pictures.labels)
    train_N, held_N = torch.from_numpy(split.train), torch.from_numpy(split.held_out)
    state = _new_state(config, (x_NCHW.shape[1], x_NCHW.shape[2], x_NCHW.shape[3]), len(pictures.classes), device)
    first_weights = weight_sample(state)
    return Prepared(
        folder=folder,
        config=config,
        pictures=pictures,
        split=split,
        codec=codec,
        x_NCHW=x_NCHW,
        training_data=TrainingData(x_NCHW=x_NCHW[train_N].to(device), label_N=label_N[train_N].to(device)),
        held_out=fixed_tuples(x_NCHW[held_N].to(device), label_N[held_N].to(device), config.seed),
        state=state,
        first_weights=first_weights,
        is_resumed=_restore(state, folder, config, pictures),
    )


def _new_state(config: TrainConfig, shape: tuple[int, int, int], num_classes: int, device: torch.device) -> TrainState:
    model = build_model(
        preset_named(config.preset),
        shape,
        num_classes,
        seed=config.seed,
        device=device,
        gradient_checkpointing=config.gradient_checkpointing,
    )
    optimizer = make_optimizer(
        model, lr=config.lr, beta1=config.beta1, beta2=config.beta2, weight_decay=config.weight_decay
    )
    return TrainState(model, Ema(model, config.ema_half_lives_samples), optimizer, config.precision)


def _restore(state: TrainState, folder: RunFolder, config: TrainConfig, pictures: Pictures) -> bool:
    """Whether there was a checkpoint to go on from."""
    found = load_newest(folder.checkpoints)
    if found is None:
        return False
    path, files = found
    identity = read_identity(files, str(path))
    _require_same_data(identity, folder, config, pictures)
    _require_same_config(identity, folder, config, str(path))
    state.load_files(files, str(path))
    return True


def _require_same_data(identity: Mapping[str, Any], folder: RunFolder, config: TrainConfig, pictures: Pictures) -> None:
    if identity.get("data_sha256") != pictures.sha256:
        raise DataError(
            f"{config.source}: the pictures are not those that {folder.path} was started with "
            f"({_data_changes(folder, pictures)}); restore them, or choose another --out"
        )


def _data_changes(folder: RunFolder, pictures: Pictures) -> str:
    try:
        before = storage.require_json_object(folder.dataset).get("files", {})
    except UsageError:
        return "their names or contents differ"
    now = dict(zip(pictures.names, pictures.digests, strict=True))
    added, removed = now.keys() - before.keys(), before.keys() - now.keys()
    altered = sum(before[name] != now[name] for name in now.keys() & before.keys())
    return f"{len(added)} added, {len(removed)} removed, {altered} changed"


def _require_same_config(identity: Mapping[str, Any], folder: RunFolder, config: TrainConfig, where: str) -> None:
    changed = changed_fields(schema.from_plain(TrainConfig, identity.get("config"), where=where), config)
    if changed:
        raise UsageError(
            f"{folder.path} holds a run with another configuration: {'; '.join(changed)}. "
            "Use the old values to go on with it, or choose another --out"
        )
