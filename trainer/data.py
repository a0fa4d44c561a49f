"""Pictures in class folders, decoded once into one array; and the split that training never sees.

Every picture is decoded completely before anything is trained or written, so that a bad file is
found now, with its name, and not at three in the morning.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from advisor.errors import DataError
from advisor.records import Note, record
from trainer.config import BUNDLED_DIGITS
from trainer.decoding import UNREADABLE, decode, problem_of, stack
from trainer.notes import note

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
_MAX_LISTED = 10


@record
class PictureFiles:
    """What lies in a data folder, before anything is decoded."""

    root: str
    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Paths below the root, printable on any stream."""
        return tuple(_printable(path.relative_to(self.root).as_posix()) for path in self.paths)


@record
class Pictures:
    """A whole data set in memory: ``pixels`` is uint8 ``[N, C, H, W]``, ``labels`` is ``[N]``."""

    source: str
    classes: tuple[str, ...]
    names: tuple[str, ...]
    digests: tuple[str, ...]
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    notes: tuple[Note, ...] = ()

    @property
    def sha256(self) -> str:
        """Identity of the data: names and contents, in order."""
        lines = "\n".join(f"{name} {digest}" for name, digest in zip(self.names, self.digests, strict=True))
        return hashlib.sha256(lines.encode()).hexdigest()


@record
class Split:
    """Numbers of the pictures that are trained on, and of those that are held out."""

    train: NDArray[np.int64]
    held_out: NDArray[np.int64]


# ---- finding ------------------------------------------------------------------------------------


def find_pictures(folder: Path) -> PictureFiles:
    """The pictures of a folder with one subfolder a class; class numbers follow the sorted names.

    Hidden files and files that are no pictures are left out.

    Raises:
        DataError: if the folder is missing, has no class folder, holds pictures beside its class
            folders, or a class folder has no picture.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {what}; give a folder with one subfolder of pictures a class")
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    loose = [entry.name for entry in entries if entry.is_file() and entry.suffix.lower() in SUFFIXES]
    if loose:
        raise DataError(
            f"{folder}: {_listing(loose)} lie beside the class folders; move them into one subfolder a class"
        )
    class_folders = [entry for entry in entries if entry.is_dir()]
    if not class_folders:
        raise DataError(f"{folder} has no subfolder; put the pictures into one subfolder a class")
    found = [_pictures_below(class_folder) for class_folder in class_folders]
    empty = [f.name for f, paths in zip(class_folders, found, strict=True) if not paths]
    if empty:
        raise DataError(f"{folder}: no picture ({_suffix_list()}) in class folder {_listing(empty)}")
    return PictureFiles(
        root=str(folder),
        classes=tuple(_printable(f.name) for f in class_folders),
        paths=tuple(path for paths in found for path in paths),
        labels=tuple(label for label, paths in enumerate(found) for _ in paths),
    )


def _pictures_below(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in files if not path.name.startswith("."))


def picture_size(files: PictureFiles) -> int:
    """Shorter side of the median picture, in pixels, read from headers only."""
    sides = []
    for path in files.paths[:: max(1, len(files.paths) // 50)]:
        try:
            with Image.open(path) as image:
                sides.append(min(image.size))
        except (OSError, ValueError, Image.DecompressionBombError):
            continue  # a bad file is named, with all others, when everything is decoded
    return int(np.median(sides)) if sides else 0


# ---- decoding -----------------------------------------------------------------------------------


def load_pictures(source: str, image_size: int) -> Pictures:
    """All pictures, square and of one size.

    Args:
        source: a folder with one subfolder a class, or ``digits`` for those that scikit-learn ships.
        image_size: height and width of the result; pictures are scaled and centre-cropped.

    Raises:
        DataError: naming every file that cannot be decoded.
    """
    if source == BUNDLED_DIGITS:
        return _bundled_digits(image_size)
    files = find_pictures(Path(source))
    decoded, digests, bad, animated = [], [], [], []
    for path, name in zip(files.paths, files.names, strict=True):
        try:
            content = path.read_bytes()
            image, num_frames = decode(path)
        except UNREADABLE as error:
            bad.append(f"{name} ({problem_of(error)})")
            continue
        if num_frames > 1:
            animated.append(name)
        decoded.append(np.asarray(ImageOps.fit(image, (image_size, image_size), Image.Resampling.LANCZOS)))
        digests.append(hashlib.sha256(content).hexdigest())
    if bad:
        raise DataError(
            f"{source}: {len(bad)} of {len(files.paths)} files cannot be read: {_listing(bad)}; mend or remove"
        )
    return Pictures(
        source=source,
        classes=files.classes,
        names=files.names,
        digests=tuple(digests),
        pixels=stack(decoded),
        labels=np.array(files.labels, dtype=np.int64),
        notes=_data_notes(files, animated),
    )


def _bundled_digits(image_size: int) -> Pictures:
    """The 1,797 handwritten digits of scikit-learn (8x8, 17 grey levels), scaled up on demand."""
    from sklearn.datasets import load_digits  # half a second, and only this data set needs it

    digits: Any = load_digits()
    native = (digits.images * (255 / 16)).round().astype(np.uint8)
    size = (image_size, image_size)
    scaled = [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)) for image in native]
    return Pictures(
        source=BUNDLED_DIGITS,
        classes=tuple(str(digit) for digit in range(10)),
        names=tuple(f"digit-{k:04d}" for k in range(len(native))),
        digests=tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in native),
        pixels=np.stack(scaled)[:, None],
        labels=digits.target.astype(np.int64),
    )


def _data_notes(files: PictureFiles, animated: list[str]) -> tuple[Note, ...]:
    notes = []
    if animated:
        notes.append(note("data_animated", count=len(animated), names=_listing(animated)))
    if len(files.paths) == 1:
        notes.append(note("data_one_picture"))
    return tuple(notes)


# ---- splitting ----------------------------------------------------------------------------------


def num_held_out(class_size: int, held_out_frac: float) -> int:
    """How many pictures of a class are held out: at least one, but never its only one."""
    wanted = max(1, round(held_out_frac * class_size)) if held_out_frac > 0 else 0
    return min(wanted, class_size - 1)


def split_pictures(labels: NDArray[np.int64], held_out_frac: float, seed: int) -> Split:
    """A seeded, stratified split: at least one picture of every class that has two or more is held out."""
    random = np.random.Generator(np.random.PCG64(seed))
    held_out: list[NDArray[np.int64]] = []
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        held_out.append(members[: num_held_out(len(members), held_out_frac)])
    chosen = np.sort(np.concatenate(held_out))
    return Split(train=np.setdiff1d(np.arange(len(labels)), chosen), held_out=chosen)


# ---- words --------------------------------------------------------------------------------------


def _listing(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MAX_LISTED])
    return shown if len(names) <= _MAX_LISTED else f"{shown} and {len(names) - _MAX_LISTED} more"


def _suffix_list() -> str:
    return ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))


def _printable(name: str) -> str:
    """A file name that any UTF-8 file can hold, also if its bytes are not UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
