"""The CPU and the RAM that this process may use: inside a container, less than the machine has."""

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

from advisor.records import record

ROOT = Path("/")
_UNLIMITED_BYTES = 2**60  # control groups of version 1 write a huge number where there is no limit
_INSTRUCTION_SETS = (
    "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "asimd", "sve", "bf16", "i8mm",
)  # fmt: skip


@record
class Processor:
    """What training on the CPU has to work with."""

    name: str | None
    num_cores: int
    ram_total_bytes: int
    ram_available_bytes: int
    instruction_sets: tuple[str, ...]
    in_container: bool


def read_processor(root: Path = ROOT) -> Processor:
    """The CPU and RAM as this process may use them; ``root`` is where ``proc`` and ``sys`` are found."""
    total_bytes, available_bytes = _ram_bytes(root)
    return Processor(
        name=_cpu_name(root),
        num_cores=_num_cores(root),
        ram_total_bytes=total_bytes,
        ram_available_bytes=available_bytes,
        instruction_sets=_instruction_sets(root),
        in_container=_in_container(root),
    )


def _num_cores(root: Path) -> int:
    """Cores that the scheduler, the affinity mask and the container's quota leave to this process."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *_core_quotas(root)]))


def _core_quotas(root: Path) -> Iterator[int]:
    """Whole cores under every limit that applies, rounded down but at least 1."""
    for folder in _control_groups(root, "cpu"):
        quota_us, period_us = _numbers(folder / "cpu.max", 2)  # version 2: "max 100000" or "150000 100000"
        if quota_us is None:
            quota_us, period_us = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota_us is not None and quota_us > 0 and period_us:
            yield max(1, quota_us // period_us)


def _ram_bytes(root: Path) -> tuple[int, int]:
    """Total and available RAM: the machine's, or the tightest control group's if that is less."""
    memory = psutil.virtual_memory()
    total_bytes, available_bytes = memory.total, memory.available
    for folder in _control_groups(root, "memory"):
        limit_bytes = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        used_bytes = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
        if limit_bytes is None or limit_bytes > _UNLIMITED_BYTES:
            continue
        total_bytes = min(total_bytes, limit_bytes)
        held_bytes = max(0, (used_bytes or 0) - _reclaimable_bytes(folder))
        available_bytes = min(available_bytes, max(0, limit_bytes - held_bytes))
    return total_bytes, available_bytes


def _reclaimable_bytes(folder: Path) -> int:
    """File cache that the kernel gives back before it kills anything."""
    text = _text(folder / "memory.stat") or ""
    found = re.search(r"^(?:total_)?inactive_file (\d+)$", text, re.MULTILINE)
    return int(found.group(1)) if found else 0


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """This process's control group and all above it: a limit on any of them binds.

    Inside a container the path may be the host's while the mount shows only the container's own
    part, so folders that do not exist are passed over and the mount's top is always looked at.
    """
    top = root / "sys/fs/cgroup"
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        mount = top / controllers if controllers else top
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder == top.parent:
                break
            if folder.is_dir():
                yield folder
            if folder == mount:
                break


def _cpu_name(root: Path) -> str | None:
    found = re.search(r"^model name\s*:\s*(.+)$", _text(root / "proc/cpuinfo") or "", re.MULTILINE)
    if found:
        return found.group(1).strip()
    if platform.system() == "Darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string")
    if platform.system() == "Linux":  # ARM kernels give numbers in cpuinfo; lscpu knows their names
        found = re.search(r"^Model name:\s*(.+)$", _output("lscpu") or "", re.MULTILINE)
        return found.group(1).strip() if found else None
    return platform.processor() or None


def _instruction_sets(root: Path) -> tuple[str, ...]:
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _text(root / "proc/cpuinfo") or "", re.MULTILINE)
    present = set(found.group(1).split()) if found else set()
    return tuple(name for name in _INSTRUCTION_SETS if name in present)


def _in_container(root: Path) -> bool:
    marks = (root / ".dockerenv", root / "run/.containerenv")
    words = r"docker|kubepods|containerd|libpod|lxc"
    return any(mark.exists() for mark in marks) or bool(re.search(words, _text(root / "proc/1/cgroup") or ""))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None


def _numbers(path: Path, count: int) -> list[int | None]:
    words = (_text(path) or "").split()[:count]
    return [int(word) if word.lstrip("-").isdigit() else None for word in words] + [None] * (count - len(words))


def _number(path: Path) -> int | None:
    return _numbers(path, 1)[0]


def _output(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
