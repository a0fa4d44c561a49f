"""Every operation that changes the disk, and what to say where one fails."""

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from advisor.errors import StorageError

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
