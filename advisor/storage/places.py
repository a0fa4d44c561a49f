"""A place is proved before any work: it can be written to, and has room."""

import contextlib
import os
import shutil
from pathlib import Path

from advisor.errors import StorageError
from advisor.storage.disk import DISK, DiskOperations, storage_errors
from advisor.units import format_bytes


def require_writable(folder: Path, disk: DiskOperations = DISK) -> None:
    """Make the folder and prove that files can be written, renamed and deleted in it.

    Done before any work, so that a night of training does not end at the first checkpoint. Parents
    that had to be made are removed again if the proof fails.

    Raises:
        StorageError: if any of this is impossible.
    """
    made: list[Path] = []
    trial = folder / f".tmp-write-{os.getpid()}"
    renamed = trial.with_suffix(".renamed")
    try:
        with storage_errors(folder):
            made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
            disk.make_folder(folder)
            disk.write(trial, b"a full disk still takes an empty file")
            disk.rename(trial, renamed)
            disk.remove_file(renamed)
    except StorageError:
        for leftover in (trial, renamed):
            with contextlib.suppress(OSError):
                leftover.unlink()
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def require_free_bytes(folder: Path, num_bytes: int) -> None:
    """Check that the file system holds at least so many free bytes.

    Raises:
        StorageError: if it does not.
    """
    with storage_errors(folder, "read"):
        free_bytes = shutil.disk_usage(folder).free
    if free_bytes < num_bytes:
        raise StorageError(
            f"{folder}: {format_bytes(free_bytes)} free, {format_bytes(num_bytes)} needed for checkpoints; "
            "free some space or choose another --out"
        )
