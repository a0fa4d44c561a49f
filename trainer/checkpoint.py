"""Checkpoints: written as a whole, found again by their progress, never trusted unread."""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

from advisor import storage
from advisor.errors import CheckpointError, StorageError

log = logging.getLogger(__name__)


def checkpoint_folder(root: Path, samples_seen: int) -> Path:
    """``ckpt-<samples, 12 digits>``: names sort by progress."""
    return root / f"ckpt-{samples_seen:012d}"


def samples_of(folder: Path) -> int:
    """Samples that a checkpoint folder's name says it had seen."""
    return int(folder.name.removeprefix("ckpt-"))


def list_checkpoints(root: Path) -> list[Path]:
    """All checkpoint folders, the one with most progress first."""
    return sorted((path for path in root.glob("ckpt-[0-9]*") if path.is_dir()), reverse=True)


def save_checkpoint(
    root: Path,
    samples_seen: int,
    files: Mapping[str, bytes],
    keep: int,
    disk: storage.DiskOperations = storage.DISK,
    *,
    also_keep: Collection[int] = (),
) -> Path:
    """Write a checkpoint, then delete all but the newest ``keep``; never the other way round.

    Those that had seen one of ``also_keep`` samples stay, however old they are.

    Raises:
        StorageError: if it cannot be written; older checkpoints are untouched then.
    """
    folder = checkpoint_folder(root, samples_seen)
    storage.write_folder(folder, files, disk)
    for old in list_checkpoints(root)[max(keep, 2) :]:
        if samples_of(old) not in also_keep:
            storage.remove_folder(old, disk)
    return folder


def load_newest(root: Path) -> tuple[Path, dict[str, bytes]] | None:
    """The newest checkpoint that is complete and undamaged; ``None`` if none was ever written.

    Raises:
        CheckpointError: if there are checkpoints and none of them is good.
    """
    folders = list_checkpoints(root)
    for folder in folders:
        try:
            return folder, storage.read_folder(folder)
        except StorageError as error:
            log.warning("skipping a bad checkpoint: %s", error)
    if folders:
        raise CheckpointError(
            f"{root}: none of {len(folders)} checkpoints is complete and undamaged; "
            "restore one from a copy, or start anew in another --out"
        )
    return None
