"""The machine in one record: every device, what is usable on it now, and what is wrong with it.

The parent process never creates a CUDA context: cards are read through NVML, the rest from files
and child processes.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from advisor.hardware.accelerators import read_accelerators, with_memory_from_torch
from advisor.hardware.cards import FIELDS, Readings, mig_slices, read_card
from advisor.hardware.checks import Facts, find_checks
from advisor.hardware.choice import choose_device
from advisor.hardware.cuda_index import Candidate, Numbering, number_cards
from advisor.hardware.gpus import peaks_of
from advisor.hardware.host import has_distribution, read_host
from advisor.hardware.nvml import Nvml, Reading, open_nvml
from advisor.hardware.torch_build import read_kernels
from advisor.records import Device, Host, Probe
from advisor.units import GIB, MIB

__all__ = ["choose_device", "probe", "usable_bytes"]

_INTEGRATED = re.compile(r"\b(GB10|N1X|Orin|Xavier|Thor|Tegra|Jetson)\b", re.IGNORECASE)


def probe(
    *,
    environ: Mapping[str, str] = os.environ,
    host: Host | None = None,
    kernels: Reading[tuple[str, ...]] | None = None,
) -> Probe:
    """Everything that can be known of this machine without using its cards.

    Args:
        environ: where ``CUDA_VISIBLE_DEVICES`` is looked up.
        host: the computer and its software; found out where it is not given.
        kernels: which architectures torch has kernels for; found out where it is not given.
    """
    host = host or read_host()
    with open_nvml() as nvml:
        host = replace(
            host, driver_version=nvml.driver_version().value, driver_cuda_version=nvml.driver_cuda_version().value
        )
        cards = _read_cards(nvml, environ, host)
        problem = nvml.problem
    found = (*with_memory_from_torch(cards, host), *read_accelerators(host, len(cards)))
    cards = tuple(_with_usable(replace(device, peaks=peaks_of(device))) for device in found)
    if kernels is None:
        wanted = bool(cards) and host.torch_cuda_version is not None
        kernels = read_kernels() if wanted else Reading(reason="not_asked")
    facts = Facts(nvml_problem=problem, kernels=kernels, old_binding=has_distribution("pynvml"))
    devices = (*cards, _cpu_device(host))
    return Probe(host=host, devices=devices, checks=find_checks(host, devices, facts))


def usable_bytes(free_bytes: int, total_bytes: int, *, shared: bool) -> int:
    """Bytes that a training process may plan with, its own CUDA context included.

    Free memory less a margin of 256 MiB or 2 % of the device, whichever is larger, for what cannot
    be foreseen; and less another 512 MiB where a desktop or other programs share the memory
    (``shared``), since these grow while training runs. The context (300 to 600 MiB) is measured
    later, in the process that trains.
    """
    margin_bytes = max(256 * MIB, total_bytes // 50) + (GIB // 2 if shared else 0)
    return max(0, free_bytes - margin_bytes)


Row = tuple[int, Readings, str | None]  # the card's number in NVML, its readings, the UUID of the card it is a slice of


def _read_cards(nvml: Nvml, environ: Mapping[str, str], host: Host) -> tuple[Device, ...]:
    """A device for every card; a card that is divided by MIG gives one for every slice instead."""
    rows: list[Row] = []
    for nvml_index, handle in enumerate(nvml.handles()):
        if handle.value is None:
            rows.append((nvml_index, {field: Reading(reason=handle.reason) for field in FIELDS}, None))
            continue
        card = read_card(nvml, handle.value, name_processes=not host.in_container)
        slices = mig_slices(nvml, handle.value) if card["mig_enabled"].value else []
        parts = [_slice_readings(card, read_card(nvml, part, name_processes=not host.in_container)) for part in slices]
        rows += [(nvml_index, part, card["uuid"].value) for part in parts] or [(nvml_index, card, None)]
    numbering = _number(rows, environ)
    return tuple(_card_device(nvml_index, readings, numbering, host) for nvml_index, readings, _ in rows)


def _slice_readings(card: Readings, part: Readings) -> Readings:
    """A slice's readings; what only the whole card knows (power, temperature) is the card's."""
    own = ("uuid", "total_bytes", "free_bytes", "reserved_bytes", "used_by_others_bytes", "num_cores")
    return {
        field: reading if field in own or reading.value is not None else card[field] for field, reading in part.items()
    } | {"mig_enabled": card["mig_enabled"]}


def _number(rows: list[Row], environ: Mapping[str, str]) -> Numbering:
    candidates: list[Candidate] = []
    for _, readings, parent_uuid in rows:
        name = str(readings["name"].value)
        if parent_uuid and all(candidate.uuid != parent_uuid for candidate in candidates):
            candidates.append(Candidate(uuid=parent_uuid, name=name))
        if readings["uuid"].value is not None and not _is_lost(readings):
            candidates.append(Candidate(uuid=readings["uuid"].value, name=name, parent_uuid=parent_uuid))
    return number_cards(candidates, environ)


def _is_lost(readings: Readings) -> bool:
    return any(reading.reason in ("lost", "reset_required") for reading in readings.values())


def _card_device(nvml_index: int, readings: Readings, numbering: Numbering, host: Host) -> Device:
    values: dict[str, Any] = {field: readings[field].value for field in FIELDS}
    unknown = {field: str(readings[field].reason) for field in FIELDS if readings[field].value is None}
    index = numbering.index_by_uuid.get(values["uuid"] or "")
    if index is None:
        unknown["index"] = _why_unnumbered(readings)
    elif not numbering.certain:
        unknown["index"] = "order_guessed"
    if not host.os.startswith("Windows"):
        unknown.pop("driver_model", None)  # no other system has one
    values["name"] = values["name"] or f"GPU {nvml_index}"
    values["integrated"] = bool(_INTEGRATED.search(values["name"]))
    if values["total_bytes"] is None and values["integrated"]:
        values["total_bytes"], values["free_bytes"] = host.ram_total_bytes, host.ram_available_bytes
        unknown |= {"total_bytes": "shared_with_ram", "free_bytes": "shared_with_ram"}
    return Device(index=index, kind="cuda", nvml_index=nvml_index, usable_bytes=None, unknown=unknown, **values)


def _why_unnumbered(readings: Readings) -> str:
    if readings["uuid"].value is None:
        return str(readings["uuid"].reason)
    if _is_lost(readings):
        return "lost"
    return "one_slice_at_a_time" if readings["uuid"].value.startswith("MIG-") else "hidden"


def _with_usable(device: Device) -> Device:
    if device.free_bytes is None or device.total_bytes is None:
        return replace(device, unknown=device.unknown | {"usable_bytes": device.unknown["free_bytes"]})
    shared = bool(device.display_active or device.integrated or device.driver_model == "WDDM")
    return replace(device, usable_bytes=usable_bytes(device.free_bytes, device.total_bytes, shared=shared))


def _cpu_device(host: Host) -> Device:
    total_bytes, free_bytes = host.ram_total_bytes, host.ram_available_bytes
    return Device(
        index=None,
        kind="cpu",
        name=host.cpu_name or "CPU",
        uuid=None,
        total_bytes=total_bytes,
        free_bytes=free_bytes,
        usable_bytes=usable_bytes(free_bytes, total_bytes, shared=True),
        used_by_others_bytes=total_bytes - free_bytes,
        compute_capability=None,
        num_cores=host.num_cores,
        temperature_c=None,
        power_w=None,
        power_limit_w=None,
        default_power_limit_w=None,
        unknown={} if host.cpu_name else {"name": "not_found"},
    )
