"""One file, written as a whole or not at all, and one that has to be a JSON object."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from advisor.errors import UsageError
from advisor.storage.disk import DISK, DiskOperations, storage_errors


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
