"""One run a folder: a lock that the kernel lets go of when its process dies."""

import os
import socket
import sys
from pathlib import Path

from advisor.errors import StorageError
from advisor.storage.disk import storage_errors


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
