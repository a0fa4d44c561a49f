"""A folder of files, committed as one by a rename, and valid only with its manifest of sizes and checksums."""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from advisor.errors import StorageError
from advisor.storage.disk import DISK, DiskOperations, storage_errors

MANIFEST = "MANIFEST.json"


def write_folder(folder: Path, files: Mapping[str, bytes], disk: DiskOperations = DISK) -> None:
    """Write files and their manifest as one folder that appears complete or not at all.

    A valid folder of that name is kept, for its content is the same by construction (its name is its
    progress); an invalid one is set aside first.

    Raises:
        StorageError: if the disk is full or not writable; nothing half-written remains in the way.
    """
    if not folder_problem(folder):
        return
    parent = folder.parent
    temporary = parent / f".tmp-{folder.name}-{os.getpid()}"
    with storage_errors(folder):
        disk.make_folder(parent)
        try:
            if temporary.exists():
                disk.remove_folder(temporary)
            disk.make_folder(temporary)
            for name, content in files.items():
                disk.write(temporary / name, content)
            disk.write(temporary / MANIFEST, _manifest(files))
            disk.sync_folder(temporary)
            if folder.exists():
                _set_aside(folder, disk)
            disk.rename(temporary, folder)
        except OSError:
            with contextlib.suppress(OSError):
                disk.remove_folder(temporary)
            raise
        disk.sync_folder(parent)


def read_folder(folder: Path) -> dict[str, bytes]:
    """All files of a committed folder, checked against the manifest.

    Raises:
        StorageError: saying what is missing, cut off or damaged.
    """
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())
        if not isinstance(listed, dict) or not all(name == Path(name).name for name in listed):
            raise ValueError(f"{MANIFEST} is not a list of files")
        contents = {name: (folder / name).read_bytes() for name in listed}
    except (OSError, ValueError, RecursionError) as error:
        raise StorageError(f"{folder}: incomplete ({error})") from None
    for name, content in contents.items():
        if [len(content), _sha256(content)] != listed[name]:
            raise StorageError(f"{folder / name}: damaged (size or SHA-256 differs from {MANIFEST})")
    return contents


def folder_problem(folder: Path) -> str | None:
    """What is wrong with a committed folder, or ``None`` if it is complete and undamaged."""
    try:
        read_folder(folder)
    except StorageError as error:
        return str(error)
    return None


def remove_folder(folder: Path, disk: DiskOperations = DISK) -> None:
    """Delete a committed folder so that a crash half-way cannot leave a part that looks whole."""
    with storage_errors(folder, "delete"):
        disk.remove_folder(_set_aside(folder, disk))


def remove_leftovers(folder: Path, disk: DiskOperations = DISK) -> int:
    """Delete what earlier crashes left behind; returns how many leftovers there were."""
    leftovers = [*folder.glob(".tmp-*"), *folder.glob(".del-*")]
    with storage_errors(folder, "clean up"):
        for leftover in leftovers:
            if leftover.is_dir():
                disk.remove_folder(leftover)
            else:
                disk.remove_file(leftover)
    return len(leftovers)


def _set_aside(folder: Path, disk: DiskOperations) -> Path:
    doomed = folder.with_name(f".del-{folder.name}-{os.getpid()}")
    if doomed.exists():  # left by a crash: in a container, every start has the same process number
        disk.remove_folder(doomed)
    disk.rename(folder, doomed)
    return doomed


def _manifest(files: Mapping[str, bytes]) -> bytes:
    listed = {name: [len(content), _sha256(content)] for name, content in files.items()}
    return json.dumps(listed, indent=1, sort_keys=True).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
