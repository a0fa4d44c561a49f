"""The machine in one record: every device, what is usable on it now, and what is wrong with it.

The parent process never creates a CUDA context: cards are read through NVML, the rest from files
and child processes.
"""

import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from advisor.errors import DeviceError
from advisor.hardware.cards import Readings, mig_slices, read_card
from advisor.hardware.checks import Facts, find_checks
from advisor.hardware.cuda_index import Candidate, Numbering, number_cards
from advisor.hardware.nvml import Nvml, Reading, open_nvml
from advisor.hardware.processor import Processor, read_processor
from advisor.hardware.torch_build import TorchBuild, read_kernels, read_torch_build
from advisor.records import Check, Device, Host, Probe
from advisor.units import GIB, MIB, format_bytes

_BLOCKING_CHECKS = ("ARCH", "DRIVER", "CPU-WHEEL", "LOST", "MIG-EMPTY", "COMPUTE-MODE")
_INTEGRATED = re.compile(r"\b(GB10|N1X|Orin|Xavier|Thor|Tegra|Jetson)\b", re.IGNORECASE)
_CARD_FIELDS = (
    "name", "uuid", "total_bytes", "free_bytes", "used_by_others_bytes", "compute_capability", "num_cores",
    "temperature_c", "power_w", "power_limit_w", "default_power_limit_w", "pci_bus_id", "reserved_bytes",
    "utilization_frac", "memory_utilization_frac", "fan_frac", "performance_state", "sm_clock_mhz",
    "max_sm_clock_mhz", "memory_clock_mhz", "max_memory_clock_mhz", "pcie_generation", "max_pcie_generation",
    "pcie_width", "max_pcie_width", "throttle_reasons", "display_active", "persistence_mode", "compute_mode",
    "driver_model", "ecc_enabled", "uncorrected_ecc_errors", "mig_enabled", "processes",
)  # fmt: skip


def probe(
    *,
    environ: Mapping[str, str] = os.environ,
    torch_build: TorchBuild | None = None,
    kernels: Reading[tuple[str, ...]] | None = None,
    processor: Processor | None = None,
) -> Probe:
    """Everything that can be known of this machine without using its cards.

    Args:
        environ: where ``CUDA_VISIBLE_DEVICES`` is looked up.
        torch_build: what torch is installed; found out where it is not given.
        kernels: which architectures torch has kernels for; found out where it is not given.
        processor: CPU and RAM; found out where they are not given.
    """
    torch_build = torch_build or read_torch_build()
    processor = processor or read_processor()
    with open_nvml() as nvml:
        cards = _read_cards(nvml, environ, processor)
        host = _host(nvml, processor, torch_build)
        problem = nvml.problem
    if kernels is None:
        wanted = bool(cards) and torch_build.cuda_version is not None
        kernels = read_kernels() if wanted else Reading(reason="not_asked")
    facts = Facts(nvml_problem=problem, kernels=kernels.value, machine=platform.machine())
    devices = (*cards, _cpu_device(processor))
    return Probe(host=host, devices=devices, checks=find_checks(host, devices, facts))


def choose_device(probe: Probe, request: str) -> Device:
    """The device that was asked for: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or a (shortened) UUID.

    ``auto`` is the card with the most usable memory on which this torch can run, else the CPU.

    Raises:
        DeviceError: if it is not there or cannot be used; the message says why and what there is.
    """
    if request == "cpu":
        return probe.devices[-1]
    usable = [device for device in probe.devices if device.kind != "cpu" and not _problem(probe, device)]
    best = max(usable, key=lambda device: device.usable_bytes or 0, default=None)
    if request == "auto":
        return best or probe.devices[-1]
    if request in ("cuda", "gpu") and best is not None:
        return best
    matching = [device for device in probe.devices if _answers_to(device, request)]
    if len(matching) != 1:
        raise DeviceError(f"--device {request}: {_not_there(probe, request, len(matching))}")
    problem = _problem(probe, matching[0])
    if problem:
        raise DeviceError(f"--device {request}: {problem}")
    return matching[0]


def usable_bytes(free_bytes: int, total_bytes: int, *, shared: bool) -> int:
    """Bytes that a training process may plan with, its own CUDA context included.

    Free memory less a margin of 256 MiB or 2 % of the device, whichever is larger, for what cannot
    be foreseen; and less another 512 MiB where a desktop or other programs share the memory
    (``shared``), since these grow while training runs. The context (300 to 600 MiB) is measured
    later, in the process that trains.
    """
    margin_bytes = max(256 * MIB, total_bytes // 50) + (GIB // 2 if shared else 0)
    return max(0, free_bytes - margin_bytes)


# ---- devices ------------------------------------------------------------------------------------


def _read_cards(nvml: Nvml, environ: Mapping[str, str], processor: Processor) -> tuple[Device, ...]:
    """A device for every card; a card that is divided by MIG gives one for every slice instead."""
    rows: list[tuple[int, Readings, str | None]] = []
    for nvml_index, handle in enumerate(nvml.handles()):
        if handle.value is None:
            rows.append((nvml_index, {field: Reading(reason=handle.reason) for field in _CARD_FIELDS}, None))
            continue
        card = read_card(nvml, handle.value)
        slices = mig_slices(nvml, handle.value) if card["mig_enabled"].value else []
        for slice_handle in slices:
            rows.append((nvml_index, _slice_readings(card, read_card(nvml, slice_handle)), card["uuid"].value))
        if not slices:
            rows.append((nvml_index, card, None))
    numbering = _numbering(rows, environ)
    return tuple(_card_device(nvml_index, readings, numbering, processor) for nvml_index, readings, _ in rows)


def _slice_readings(card: Readings, part: Readings) -> Readings:
    """A slice's readings; what only the whole card knows (power, temperature) is the card's."""
    whole_only = ("uuid", "total_bytes", "free_bytes", "reserved_bytes", "used_by_others_bytes", "num_cores")
    return {
        field: reading if field in whole_only or reading.value is not None else card[field]
        for field, reading in part.items()
    } | {"mig_enabled": card["mig_enabled"]}


def _numbering(rows: list[tuple[int, Readings, str | None]], environ: Mapping[str, str]) -> Numbering:
    candidates: list[Candidate] = []
    for _, readings, parent_uuid in rows:
        if parent_uuid and all(candidate.uuid != parent_uuid for candidate in candidates):
            candidates.append(Candidate(uuid=parent_uuid, name=str(readings["name"].value)))
        if readings["uuid"].value is not None:
            name = str(readings["name"].value)
            candidates.append(Candidate(uuid=readings["uuid"].value, name=name, parent_uuid=parent_uuid))
    return number_cards(candidates, environ)


def _card_device(nvml_index: int, readings: Readings, numbering: Numbering, processor: Processor) -> Device:
    values: dict[str, Any] = {field: readings[field].value for field in _CARD_FIELDS}
    unknown = {field: str(readings[field].reason) for field in _CARD_FIELDS if readings[field].value is None}
    index = numbering.index_by_uuid.get(values["uuid"] or "")
    if index is None:
        unknown["index"] = readings["uuid"].reason or "hidden"
    elif not numbering.certain:
        unknown["index"] = "order_guessed"
    values["name"] = values["name"] or f"GPU {nvml_index}"
    values["integrated"] = bool(_INTEGRATED.search(values["name"]))
    if values["total_bytes"] is None and values["integrated"]:
        values["total_bytes"], values["free_bytes"] = processor.ram_total_bytes, processor.ram_available_bytes
        unknown |= {"total_bytes": "shared_with_ram", "free_bytes": "shared_with_ram"}
    usable = None
    if values["free_bytes"] is not None and values["total_bytes"] is not None:
        shared = bool(values["display_active"]) or values["driver_model"] == "WDDM" or values["integrated"]
        usable = usable_bytes(values["free_bytes"], values["total_bytes"], shared=shared)
    else:
        unknown["usable_bytes"] = unknown["free_bytes"]
    return Device(index=index, kind="cuda", nvml_index=nvml_index, usable_bytes=usable, unknown=unknown, **values)


def _cpu_device(processor: Processor) -> Device:
    total, free = processor.ram_total_bytes, processor.ram_available_bytes
    return Device(
        index=None,
        kind="cpu",
        name=processor.name or "CPU",
        uuid=None,
        total_bytes=total,
        free_bytes=free,
        usable_bytes=usable_bytes(free, total, shared=True),
        used_by_others_bytes=total - free,
        compute_capability=None,
        num_cores=processor.num_cores,
        temperature_c=None,
        power_w=None,
        power_limit_w=None,
        default_power_limit_w=None,
        unknown={} if processor.name else {"name": "not_found"},
    )


def _host(nvml: Nvml, processor: Processor, torch_build: TorchBuild) -> Host:
    return Host(
        os=_os_name(),
        cpu_name=processor.name,
        num_cores=processor.num_cores,
        ram_total_bytes=processor.ram_total_bytes,
        ram_available_bytes=processor.ram_available_bytes,
        python_version=platform.python_version(),
        torch_version=torch_build.version,
        torch_cuda_version=torch_build.cuda_version,
        driver_version=nvml.driver_version().value,
        driver_cuda_version=nvml.driver_cuda_version().value,
        in_container=processor.in_container,
        instruction_sets=processor.instruction_sets,
        shared_memory_bytes=_free_bytes(Path("/dev/shm")),  # noqa: S108 - looked at, not written
        disk_free_bytes=_free_bytes(Path.cwd()),
    )


def _os_name() -> str:
    release = platform.release()
    wsl = " (WSL2)" if "microsoft" in release.lower() else ""
    return f"{platform.system()} {release}{wsl}" if sys.platform != "darwin" else f"macOS {platform.mac_ver()[0]}"


def _free_bytes(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


# ---- the choice ---------------------------------------------------------------------------------


def _answers_to(device: Device, request: str) -> bool:
    named = request.lower()
    if device.index is not None and named in (f"{device.kind}:{device.index}", str(device.index)):
        return True
    return len(named) > 4 and device.uuid is not None and device.uuid.lower().startswith(named)


def _problem(probe: Probe, device: Device) -> str | None:
    """Why this device cannot train now, or ``None``."""
    for check in probe.checks:
        if check.id in _BLOCKING_CHECKS and check.severity == "blocker" and _is_about(check, device):
            return f"{check.message} {check.fix or ''}".strip()
    if device.index is None:
        return "CUDA_VISIBLE_DEVICES hides this card from training; set it to the card's UUID"
    return None


def _is_about(check: Check, device: Device) -> bool:
    return check.values.get("uuid") == device.uuid if "uuid" in check.values else check.device in (None, device.index)


def _not_there(probe: Probe, request: str, num_matching: int) -> str:
    if num_matching > 1:
        return "this is the beginning of several UUIDs; give more of it"
    cards = [device for device in probe.devices if device.kind != "cpu"]
    if not cards:
        blocker = next((check for check in probe.checks if check.severity == "blocker"), None)
        reason = f" {blocker.message} {blocker.fix or ''}".rstrip() if blocker else ""
        return f"no GPU was found on this machine; use --device cpu.{reason}"
    shown = ", ".join(
        f"{'hidden' if card.index is None else f'{card.kind}:{card.index}'} ({card.name}, "
        f"{format_bytes(card.usable_bytes) if card.usable_bytes is not None else 'unknown memory'} usable)"
        for card in cards
    )
    return f"there is no such device; there are cpu and {shown}"
