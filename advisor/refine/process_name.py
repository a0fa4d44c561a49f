"""A name for a process that no other has, on any of the machines that share a study."""

import functools
import hashlib
import os
import socket
import uuid
from pathlib import Path

import psutil

_CLOCK_STEP_S = 60  # starts are told by the system's clock, which may be set; so soon no number is another process's
_BOOT, _NUMBERS = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


def process_name(pid: int | None = None) -> str | None:
    """Machine, number and start of a process, this one if none is given; ``None`` if it is gone."""
    number = os.getpid() if pid is None else pid
    try:
        process = psutil.Process(number)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return f"{_machine()}:{number}:{process.create_time():.0f}"
    except psutil.Error:
        return None


def is_gone(name: str) -> bool:
    """Whether the process has ended; what goes on on another machine cannot be seen from here, so never there."""
    machine, pid, start_s = name.rsplit(":", 2)
    if machine != _machine():
        return False
    found = process_name(int(pid))
    return found is None or abs(int(found.rpartition(":")[2]) - int(start_s)) > _CLOCK_STEP_S


@functools.cache
def _machine() -> str:
    """Host name, and what tells apart machines and containers that share one but not their process numbers."""
    try:
        number = _BOOT.read_text().strip() + str(_NUMBERS.readlink())
    except OSError:  # not Linux
        number = str(uuid.getnode())
    return f"{socket.gethostname()}/{hashlib.sha256(number.encode()).hexdigest()[:8]}"
