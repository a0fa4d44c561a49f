"""Writes that a crash cannot spoil: atomic, fsynced, checksummed; locks; logs whose tail heals.

A run folder is only ever changed through this file. A folder of files is committed by one rename,
and is valid only with its ``MANIFEST.json`` (name, size and SHA-256 of every file), which is written
last; so a cut-off or bit-flipped checkpoint is never taken for a good one. No pickle anywhere.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from advisor.errors import StorageError, UsageError
from advisor.schema import json_text
from advisor.units import format_bytes

MANIFEST = "MANIFEST.json"
_RUNNING_OUT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES}  # some network folders, and folders that one may only enter


class DiskOperations(Protocol):
    """Every operation that changes the disk, so that tests can cut the power at any of them."""

    def make_folder(self, path: Path) -> None: ...
    def write(self, path: Path, content: bytes) -> None: ...
    def append(self, path: Path, content: bytes) -> None: ...
    def rename(self, old: Path, new: Path) -> None: ...
    def remove_file(self, path: Path) -> None: ...
    def remove_folder(self, path: Path) -> None: ...
    def sync_folder(self, path: Path) -> None: ...


class Disk:
    """The real disk. Files are readable by colleagues (0644) and synced before they are renamed."""

    def make_folder(self, path: Path) -> None:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for folder in missing:  # or a power cut could take the whole new run folder with it
            self.sync_folder(folder.parent)

    def write(self, path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def append(self, path: Path, content: bytes) -> None:
        with path.open("ab", buffering=0) as file:
            whole_bytes = file.seek(0, os.SEEK_END)
            try:
                while content:  # a nearly full disk takes a part without complaint
                    content = content[file.write(content) or 0 :]
            except OSError:
                file.truncate(whole_bytes)  # or the next line would be glued to half of this one
                raise

    def rename(self, old: Path, new: Path) -> None:
        for attempt in range(5):  # a virus scanner may hold a file for a moment on Windows
            try:
                old.replace(new)
                return
            except PermissionError:
                if os.name != "nt" or attempt == 4:
                    raise
                time.sleep(0.1 * 2**attempt)

    def remove_file(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def remove_folder(self, path: Path) -> None:
        shutil.rmtree(path)

    def sync_folder(self, path: Path) -> None:
        if os.name == "nt":  # Windows cannot sync a folder, and its rename is journalled
            return
        try:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno not in _CANNOT_SYNC:
                raise


DISK = Disk()


@contextlib.contextmanager
def storage_errors(path: Path, doing: str = "write") -> Iterator[None]:
    """Turn an ``OSError`` under this context into a :class:`StorageError` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _RUNNING_OUT:
            raise StorageError(f"disk full at {path}: free some space, then run the same command again") from error
        reason = error.strerror or str(error)
        raise StorageError(f"cannot {doing} {path}: {reason}; choose another folder or mend its permissions") from error


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


def write_atomically(path: Path, content: bytes | str, disk: DiskOperations = DISK) -> None:
    """Replace a file as a whole: a reader sees the old content or the new, never a part.

    Raises:
        StorageError: if the disk is full or the place is not writable; the old file stays.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    with storage_errors(path):
        disk.make_folder(path.parent)
        try:
            disk.write(temporary, data)
            disk.rename(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                disk.remove_file(temporary)
            raise
        disk.sync_folder(path.parent)


# ---- a folder of files, committed as one --------------------------------------------------------


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


# ---- logs: one JSON object a line ---------------------------------------------------------------


class JsonLines:
    """An append-only log with one JSON object a line. A torn last line is cut off when it is opened."""

    def __init__(self, path: Path, disk: DiskOperations = DISK) -> None:
        """Open for appending.

        Raises:
            StorageError: if the folder is not writable.
        """
        self._path, self._disk = path, disk
        with storage_errors(path):
            disk.make_folder(path.parent)
            content = path.read_bytes() if path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]
            if whole != content:
                write_atomically(path, whole, disk)

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write one line in one operation.

        Raises:
            StorageError: if the disk is full.
        """
        with storage_errors(self._path):
            self._disk.append(self._path, f"{json_text(dict(entry))}\n".encode())

    def rewrite(self, entries: list[dict[str, Any]]) -> None:
        """Replace the whole log, as when a restart takes back what was logged after its checkpoint."""
        write_atomically(self._path, "".join(f"{json_text(entry)}\n" for entry in entries), self._disk)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The complete entries of a log; a torn last line is left out, a missing file is an empty log.

    Raises:
        StorageError: if a line before the last is not JSON, or the file cannot be read.
    """
    with storage_errors(path, "read"):
        content = path.read_bytes() if path.exists() else b""
    entries = []
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            raise StorageError(f"{path}: line {number} is damaged; move the file away to go on without it")
        entries.append(entry)
    return entries


# ---- one run a folder ---------------------------------------------------------------------------


class RunLock:
    """An exclusive lock on a run folder, released by the kernel if this process dies.

    Raises:
        StorageError: on entering, if another process holds it; the message names that process.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "run.lock"
        self._descriptor: int | None = None

    def __enter__(self) -> "RunLock":
        with storage_errors(self._path, "lock"):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                _lock(descriptor)
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            except (BlockingIOError, PermissionError):  # flock says the first, Windows the second
                os.close(descriptor)
                raise StorageError(
                    f"{self._path.parent} is in use by {self._holder()}; wait for it, stop it, or choose another --out"
                ) from None
            except OSError:  # no lock service on this file system, or not even room for one line
                os.close(descriptor)
                raise
        self._descriptor = descriptor
        return self

    def _holder(self) -> str:
        try:
            return self._path.read_text(errors="replace").strip() or "another process"
        except OSError:
            return "another process"

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # far past the text, which stays readable
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def require_json_object(path: Path) -> dict[str, Any]:
    """A JSON object read from a file.

    Raises:
        UsageError: if the file is missing or does not hold one.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(plain, dict):
        raise UsageError(f"{path}: expected a JSON object")
    return plain
