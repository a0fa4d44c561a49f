"""What a run writes down before it is done: its configuration with reasons, its advice, its data."""

import json
from collections.abc import Mapping

from advisor import storage
from advisor.records import Advice
from trainer.config_file import to_toml, updated_toml
from trainer.data import Pictures, Split
from trainer.folder import stored_config
from trainer.prepared import Prepared

DATASET_SCHEMA = "cfgadvise.dataset/1"


def write_plan(run: Prepared, why: Mapping[str, str], advice: Advice | None) -> None:
    """Write down what will be done, before it is done; ``config.toml`` last, for it marks the start.

    Raises:
        StorageError: if the disk is full or not writable.
    """
    folder = run.folder
    if not folder.has_started:
        storage.require_free_bytes(folder.path, 3 * _checkpoint_bytes(run))
        if advice is not None:
            storage.write_atomically(folder.advice, advice.to_json() + "\n")
    if not run.is_resumed:
        storage.write_atomically(folder.dataset, _dataset_json(run.pictures, run.split))
    if not folder.has_started:
        storage.write_atomically(folder.config, to_toml(run.config, why))
    elif stored_config(folder) != run.config:
        text = folder.config.read_text(encoding="utf-8")
        storage.write_atomically(folder.config, updated_toml(text, run.config))


def _checkpoint_bytes(run: Prepared) -> int:
    """Weights, two averages and two optimizer moments."""
    num_bytes = sum(p.numel() * p.element_size() for p in run.state.model.parameters())
    return num_bytes * (3 + len(run.config.ema_half_lives_samples))


def _dataset_json(pictures: Pictures, split: Split) -> str:
    document = {
        "schema": DATASET_SCHEMA,
        "source": pictures.source,
        "sha256": pictures.sha256,
        "classes": list(pictures.classes),
        "num_train": len(split.train),
        "num_held_out": len(split.held_out),
        "held_out": [pictures.names[k] for k in split.held_out],
        "files": dict(zip(pictures.names, pictures.digests, strict=True)),
    }
    return json.dumps(document, indent=1, ensure_ascii=False)
