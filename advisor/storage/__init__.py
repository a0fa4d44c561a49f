"""Writes that a crash cannot spoil: atomic, fsynced, checksummed; locks; logs whose tail heals.

A run folder is only ever changed through this package. A folder of files is committed by one rename,
and is valid only with its ``MANIFEST.json`` (name, size and SHA-256 of every file), which is written
last; so a cut-off or bit-flipped checkpoint is never taken for a good one. No pickle anywhere.
"""

from advisor.storage.disk import DISK, Disk, DiskOperations, storage_errors
from advisor.storage.files import require_json_object, write_atomically
from advisor.storage.folders import MANIFEST, folder_problem, read_folder, remove_folder, remove_leftovers, write_folder
from advisor.storage.json_lines import JsonLines, read_json_lines
from advisor.storage.places import require_free_bytes, require_writable
from advisor.storage.run_lock import RunLock

__all__ = [
    "DISK",
    "MANIFEST",
    "Disk",
    "DiskOperations",
    "JsonLines",
    "RunLock",
    "folder_problem",
    "read_folder",
    "read_json_lines",
    "remove_folder",
    "remove_leftovers",
    "require_free_bytes",
    "require_json_object",
    "require_writable",
    "storage_errors",
    "write_atomically",
    "write_folder",
]
