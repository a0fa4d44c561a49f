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
    start_s = _start_s(number)
    return None if start_s is None else f"{_machine()}:{number}:{start_s:.0f}"


def is_gone(name: str) -> bool:
    """Whether the process has ended; what goes on on another machine cannot be seen from here, so never there."""
    machine, pid, named_s = name.rsplit(":", 2)
    if machine != _machine():
        return False
    start_s = _start_s(int(pid))
    return start_s is None or abs(start_s - int(named_s)) > _CLOCK_STEP_S


def _start_s(pid: int) -> float | None:
    """Unix time at which the process started; ``None`` if it is gone."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


@functools.cache
def _machine() -> str:
    """Host name, and what tells apart machines and containers that share one but not their process numbers."""
    try:
        number = _BOOT.read_text().strip() + str(_NUMBERS.readlink())
    except OSError:  # not Linux
        number = str(uuid.getnode())
    return f"{socket.gethostname()}/{hashlib.sha256(number.encode()).hexdigest()[:8]}"
