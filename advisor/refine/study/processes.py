"""Who is at work: a name that a process has alone, so that one that is gone is known by it."""

import os
import socket

import psutil


def process_name(pid: int | None = None) -> str | None:
    """Host, number and start of a process, which together no other has; ``None`` if it is gone."""
    number = os.getpid() if pid is None else pid
    try:
        process = psutil.Process(number)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return f"{socket.gethostname()}:{number}:{process.create_time():.0f}"
    except psutil.Error:
        return None
