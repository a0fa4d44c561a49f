"""A disk that fails at one chosen operation: the power is cut, or the disk is full from then on."""

import errno
from pathlib import Path

from advisor.storage import Disk


class PowerCut(BaseException):
    """Not an ``Exception``: no handler of ours may swallow it, as none can run without power."""


class CrashDisk(Disk):
    """Cuts the power at the ``at``-th operation; ``torn`` leaves that operation half done.

    After the cut nothing changes any more: a process without power cleans nothing up.
    """

    def __init__(self, at: int, *, torn: bool) -> None:
        self.at, self.torn, self.count = at, torn, 0

    def _reached(self) -> bool:
        self.count += 1
        if self.count > self.at:
            raise PowerCut
        return self.count == self.at

    def make_folder(self, path: Path) -> None:
        if self._reached():
            if self.torn:
                super().make_folder(path)
            raise PowerCut
        super().make_folder(path)

    def write(self, path: Path, content: bytes) -> None:
        if self._reached():
            if self.torn:
                path.write_bytes(content[: len(content) // 2])
            raise PowerCut
        super().write(path, content)

    def append(self, path: Path, content: bytes) -> None:
        if self._reached():
            if self.torn:
                with path.open("ab") as file:
                    file.write(content[: len(content) // 2])
            raise PowerCut
        super().append(path, content)

    def rename(self, old: Path, new: Path) -> None:
        if self._reached():
            if self.torn:  # a rename is atomic: done, but nothing after it is
                super().rename(old, new)
            raise PowerCut
        super().rename(old, new)

    def remove_file(self, path: Path) -> None:
        if self._reached():
            raise PowerCut
        super().remove_file(path)

    def remove_folder(self, path: Path) -> None:
        if self._reached():
            if self.torn:
                min(entry for entry in path.rglob("*") if entry.is_file()).unlink()
            raise PowerCut
        super().remove_folder(path)

    def sync_folder(self, path: Path) -> None:
        if self._reached():
            raise PowerCut
        super().sync_folder(path)


class FullDisk(Disk):
    """Has no room left from the ``at``-th growing operation on; ``error_number`` says in which words."""

    def __init__(self, at: int, error_number: int = errno.ENOSPC) -> None:
        self.at, self.error_number, self.count = at, error_number, 0

    def _grow(self, path: Path) -> None:
        self.count += 1
        if self.count >= self.at:
            raise OSError(self.error_number, "as on a full disk", str(path))

    def make_folder(self, path: Path) -> None:
        if not path.is_dir():
            self._grow(path)
        super().make_folder(path)

    def write(self, path: Path, content: bytes) -> None:
        try:
            self._grow(path)
        except OSError:
            path.write_bytes(content[: len(content) // 3])
            raise
        super().write(path, content)

    def append(self, path: Path, content: bytes) -> None:
        self._grow(path)
        super().append(path, content)

    def rename(self, old: Path, new: Path) -> None:
        self._grow(new)
        super().rename(old, new)
