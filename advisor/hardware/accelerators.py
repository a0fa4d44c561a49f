"""Devices that NVML does not know and torch does: AMD (ROCm), Intel (XPU), Apple (MPS), Jetson.

Torch is asked in a child process, for it takes seconds to import and may create contexts.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from advisor.hardware.nvml import Reading
from advisor.records import Device, Host

_JETSON_MARKS = (Path("/dev/nvmap"), Path("/dev/nvhost-gpu"))
_ASK_TORCH = """
import json, torch
rows = []
if torch.cuda.is_available():
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        rows.append({
            "kind": "cuda", "index": index, "name": properties.name, "free_bytes": free, "total_bytes": total,
            "compute_capability": None if torch.version.hip else f"{properties.major}.{properties.minor}",
            "integrated": bool(getattr(properties, "is_integrated", False)),
        })
if hasattr(torch, "xpu") and torch.xpu.is_available():
    for index in range(torch.xpu.device_count()):
        properties = torch.xpu.get_device_properties(index)
        free = torch.xpu.mem_get_info(index)[0] if hasattr(torch.xpu, "mem_get_info") else None
        rows.append({
            "kind": "xpu", "index": index, "name": properties.name, "free_bytes": free,
            "total_bytes": properties.total_memory,
        })
if torch.backends.mps.is_available():
    total = torch.mps.recommended_max_memory()
    rows.append({
        "kind": "mps", "index": None, "name": "Apple GPU", "total_bytes": total,
        "free_bytes": total - torch.mps.driver_allocated_memory(), "integrated": True,
    })
print("devices", json.dumps(rows))
"""
_UNREAD = ("temperature_c", "power_w", "power_limit_w", "default_power_limit_w", "used_by_others_bytes")


def read_accelerators(host: Host, num_nvml_cards: int) -> tuple[Device, ...]:
    """The devices that only torch knows; torch is not asked where there cannot be any."""
    if not _may_exist(host, num_nvml_cards):
        return ()
    answer = ask_torch()
    return tuple(_device(row, host) for row in answer.value or ())


def ask_torch(timeout_s: float = 60) -> Reading[list[dict[str, Any]]]:
    """What torch says of its devices: kind, index, name, bytes."""
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, timeout=timeout_s, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return Reading(reason="torch_failed")
    line = next((line for line in answer.splitlines() if line.startswith("devices ")), None)
    return Reading(reason="torch_failed") if line is None else Reading(json.loads(line.removeprefix("devices ")))


def _may_exist(host: Host, num_nvml_cards: int) -> bool:
    if host.torch_rocm_version or host.torch_xpu_version:
        return True
    if host.os.startswith("macOS"):
        return host.torch_version is not None and host.machine == "arm64"
    on_jetson = any(mark.exists() for mark in _JETSON_MARKS)
    return num_nvml_cards == 0 and host.torch_cuda_version is not None and on_jetson


def _device(row: dict[str, Any], host: Host) -> Device:
    """One of torch's devices; one that shares the CPU's memory has no more free than the CPU has."""
    free_bytes = row["free_bytes"]
    if row.get("integrated") and free_bytes is not None:
        free_bytes = min(free_bytes, host.ram_available_bytes)
    return Device(
        index=row["index"],
        kind=row["kind"],
        name=row["name"],
        uuid=None,
        total_bytes=row["total_bytes"],
        free_bytes=free_bytes,
        usable_bytes=None,
        used_by_others_bytes=None,
        compute_capability=row.get("compute_capability"),
        num_cores=None,
        temperature_c=None,
        power_w=None,
        power_limit_w=None,
        default_power_limit_w=None,
        integrated=row.get("integrated"),
        unknown=dict.fromkeys(_UNREAD, "no_nvml") | ({} if free_bytes is not None else {"free_bytes": "not_supported"}),
    )
