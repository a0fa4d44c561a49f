"""What a measurement trains on: the training pictures of a folder as the network sees them, kept as one file.

Every child of a measurement builds the step anew. Decoding thousands of pictures each time would take longer than what
is measured, so they are decoded once; the file's name says of which pictures it is, and so do the parameters of the
step: what was measured with other pictures is another question.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs
import safetensors.numpy
from numpy.typing import NDArray
from PIL import Image

from advisor import storage
from advisor.errors import StorageError
from advisor.records import Note, Value, record
from trainer.config import BUNDLED_DIGITS, NO_VAE, TrainConfig
from trainer.data import Pictures, Split, find_pictures, load_pictures, split_pictures
from trainer.notes import note

if TYPE_CHECKING:
    from trainer.latents import VaeCodec

AFFORDABLE_S = 10.0  # for decoding, without being asked for; an advice is to take less than a minute
MAX_AGE_S = 7 * 24 * 3600.0  # as long as a measurement counts
_FILE = "pictures.safetensors"
_NUM_TRIED = 8


@record
class KeptPictures:
    """Parameters by which ``trainer.workload:make`` finds the pictures; or none, and why it trains on made-up ones."""

    parameters: dict[str, Value] = dataclasses.field(default_factory=dict)
    made_up_because: Note | None = None


def keep_pictures(
    config: TrainConfig, loaded: tuple[Pictures, Split] | None = None, *, affordable_s: float = AFFORDABLE_S
) -> KeptPictures:
    """Keep the training pictures of a configuration where the children of a measurement find them.

    Args:
        config: which pictures, how large, how many of them held out.
        loaded: the same, if they are in memory already.
        affordable_s: how long decoding them may take.

    Raises:
        DataError: naming every file that cannot be decoded.
        UsageError: if there is a VAE and it cannot be loaded.
    """
    codec = _codec(config.vae)
    folder = _root() / _key(config, codec.fingerprint() if codec else NO_VAE)
    if not storage.folder_problem(folder):
        return KeptPictures(parameters={"data": folder.name})
    if loaded is None and (needed := _decoding_time(config.source)).seconds > affordable_s:
        return _made_up("data_slow_to_decode", count=needed.count, needed_s=needed.seconds)
    pictures, split = loaded or _load(config)
    x_NCHW = _latents(pictures, codec, config.image_size) if codec else pictures.pixels
    if x_NCHW is None:
        return _made_up("data_not_encoded", vae=config.vae)
    try:
        _keep(folder, x_NCHW[split.train], pictures.labels[split.train])
    except StorageError as error:
        return _made_up("data_not_kept", problem=str(error))
    return KeptPictures(parameters={"data": folder.name})


def kept(name: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Pictures in uint8, or latents in float32, ``[N, C, H, W]``, and their classes ``[N]``.

    Raises:
        StorageError: if they are not there any more, or damaged.
    """
    tensors = safetensors.numpy.load(storage.read_folder(_root() / name)[_FILE])
    return tensors["x"], tensors["label"]


def _made_up(note_id: str, **values: Value) -> KeptPictures:
    return KeptPictures(made_up_because=note(note_id, **values))


def _load(config: TrainConfig) -> tuple[Pictures, Split]:
    pictures = load_pictures(config.source, config.image_size)
    return pictures, split_pictures(pictures.labels, config.held_out_frac, config.seed)


# ---- a VAE: these import torch, which pixels do not need ----------------------------------------


def _codec(vae: str) -> "VaeCodec | None":
    if vae == NO_VAE:
        return None
    from trainer.latents import VaeCodec, load_codec

    codec = load_codec(vae, "cpu")
    return codec if isinstance(codec, VaeCodec) else None


def _latents(pictures: Pictures, codec: "VaeCodec", image_size: int) -> NDArray[Any] | None:
    """Latents that an earlier run has encoded; to encode them now would take longer than to measure."""
    from trainer.latents import cached

    latents = cached(pictures, codec, image_size)
    return None if latents is None else latents.numpy()


# ---- identity -----------------------------------------------------------------------------------


def _root() -> Path:
    return Path(os.environ.get("CFGADVISE_CACHE") or platformdirs.user_cache_dir("cfgadvise")) / "pictures"


def _key(config: TrainConfig, vae: str) -> str:
    """A name for everything that decides the content; the files by their sizes and times, without reading them."""
    identity = [_files(config.source), vae, config.image_size, config.held_out_frac, config.seed]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]


def _files(source: str) -> list[tuple[str, int, int]] | str:
    if source == BUNDLED_DIGITS:
        return source
    files = find_pictures(Path(source))
    stats = [path.stat() for path in files.paths]
    return [(name, one.st_size, one.st_mtime_ns) for name, one in zip(files.names, stats, strict=True)]


# ---- keeping ------------------------------------------------------------------------------------


def _keep(folder: Path, x_NCHW: NDArray[Any], label_N: NDArray[np.int64]) -> None:
    """Write them, and delete those that no measurement counts of any more.

    Raises:
        StorageError: if they cannot be written.
    """
    tensors = {"x": np.ascontiguousarray(x_NCHW), "label": np.ascontiguousarray(label_N)}
    storage.write_folder(folder, {_FILE: safetensors.numpy.save(tensors)})
    storage.remove_leftovers(folder.parent)
    for other in folder.parent.iterdir():
        with contextlib.suppress(OSError, StorageError):  # another process may be deleting it, too
            if other != folder and time.time() - other.stat().st_mtime > MAX_AGE_S:
                storage.remove_folder(other)


@record
class _Decoding:
    count: int
    seconds: float


def _decoding_time(source: str) -> _Decoding:
    """How long decoding takes, from a few pictures spread over all of them; bad files are found when all are read."""
    if source == BUNDLED_DIGITS:
        return _Decoding(count=0, seconds=0.0)
    paths = find_pictures(Path(source)).paths
    tried = paths[:: max(1, len(paths) // _NUM_TRIED)]
    started_s = time.perf_counter()
    for path in tried:
        with (
            contextlib.suppress(OSError, ValueError, SyntaxError, Image.DecompressionBombError),
            Image.open(path) as one,
        ):
            one.load()
    return _Decoding(count=len(paths), seconds=(time.perf_counter() - started_s) * len(paths) / len(tried))
