"""Logs with one JSON object a line, whose torn tail heals."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from advisor.errors import StorageError
from advisor.schema import json_text
from advisor.storage.disk import DISK, DiskOperations, storage_errors
from advisor.storage.files import write_atomically


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
