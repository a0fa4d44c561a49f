"""Devices that NVML does not know and torch does: AMD (ROCm), Intel (XPU), Apple (MPS), Jetson.

Torch is asked in a child process, for it takes seconds to import and may create contexts. It is asked
too for the memory of a card that NVML will not tell.
"""

import json
import subprocess
import sys
from dataclasses import replace
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
            "uuid": str(getattr(properties, "uuid", "")),
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


def with_memory_from_torch(cards: tuple[Device, ...], host: Host) -> tuple[Device, ...]:
    """The cards with torch's figures where NVML tells no memory; ``unknown`` says that they are torch's.

    What torch calls free is less than what is free by the context of the process that asks.
    """
    if host.torch_cuda_version is None or not any(map(_hides_its_memory, cards)):
        return cards
    rows = ask_torch().value or []
    return tuple(_with_row(card, _row_of(card, rows)) if _hides_its_memory(card) else card for card in cards)


def _hides_its_memory(card: Device) -> bool:
    gone = ("lost", "reset_required", "no_permission")
    return card.index is not None and card.total_bytes is None and card.unknown.get("total_bytes") not in gone


def _row_of(card: Device, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What torch says of this card, found by its UUID, or by its number where torch tells none."""
    by_uuid = {f"GPU-{row['uuid']}": row for row in rows if row.get("uuid")}
    if by_uuid:
        return by_uuid.get(card.uuid or "")
    return next((row for row in rows if (row["kind"], row["index"]) == (card.kind, card.index)), None)


def _with_row(card: Device, row: dict[str, Any] | None) -> Device:
    if row is None:
        return card
    unknown = card.unknown | {"total_bytes": "from_torch", "free_bytes": "from_torch"}
    return replace(card, total_bytes=row["total_bytes"], free_bytes=row["free_bytes"], unknown=unknown)


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
