"""What NVML knows of one card, as readings keyed by the fields of :class:`advisor.records.Device`.

Everything here is read once, by ``probe``. Lists of processes hold the driver's global lock for
milliseconds: never ask for them while training.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from advisor.hardware.nvml import Nvml, Reading
from advisor.records import DeviceProcess

Handle = Any
Readings = dict[str, Reading[Any]]

_THROTTLE_BITS = {
    0x04: "power_cap",
    0x08: "hardware_slowdown",
    0x20: "software_thermal",
    0x40: "hardware_thermal",
    0x80: "power_brake",
}  # idle (0x01) and user-set clocks (0x02) are not throttling
_COMPUTE_MODES = {0: "default", 1: "exclusive_thread", 2: "prohibited", 3: "exclusive_process"}
_DRIVER_MODELS = {0: "WDDM", 1: "TCC", 2: "MCDM"}
_UNCORRECTED, _SINCE_REBOOT = 1, 0
_SM_CLOCK, _MEMORY_CLOCK = 1, 2


def read_card(nvml: Nvml, handle: Handle, *, name_processes: bool = True) -> Readings:
    """All readings of one card or MIG slice.

    Inside a container, NVML numbers processes as the host does: names that are looked up here would
    be those of other processes, so ``name_processes`` must be false there.
    """
    readings = {field: nvml.read(function, handle).then(convert) for field, (function, convert) in _SIMPLE.items()}
    readings |= _read_memory(nvml, handle)
    readings |= _read_clocks(nvml, handle)
    readings["temperature_c"] = read_temperature(nvml, handle)
    readings["throttle_reasons"] = read_throttling(nvml, handle)
    readings["uncorrected_ecc_errors"] = nvml.read("nvmlDeviceGetTotalEccErrors", handle, _UNCORRECTED, _SINCE_REBOOT)
    readings["processes"] = _read_processes(nvml, handle, name_processes)
    return readings


def read_card_state(nvml: Nvml, handle: Handle) -> Readings:
    """The readings that change with the load and cost little: for looking again and again."""
    names = ("utilization_frac", "power_w", "pcie_generation")
    readings = {name: nvml.read(_SIMPLE[name][0], handle).then(_SIMPLE[name][1]) for name in names}
    readings["sm_clock_mhz"] = nvml.read("nvmlDeviceGetClockInfo", handle, _SM_CLOCK)
    readings["temperature_c"] = read_temperature(nvml, handle)
    readings["throttle_reasons"] = read_throttling(nvml, handle)
    return readings


def mig_slices(nvml: Nvml, handle: Handle) -> list[Handle]:
    """Handles of the MIG slices that exist on a card; empty where MIG is off or unknown."""
    places = nvml.read("nvmlDeviceGetMaxMigDeviceCount", handle).value or 0
    found = [nvml.read("nvmlDeviceGetMigDeviceHandleByIndex", handle, place).value for place in range(places)]
    return [slice_handle for slice_handle in found if slice_handle is not None]


def _milli(value: int) -> float:
    return value / 1000


def _percent(value: int) -> float:
    return value / 100


def _bus_id(pci: Any) -> str:
    bus_id = pci.busId
    return bus_id.decode("ascii", "replace") if isinstance(bus_id, bytes) else str(bus_id)


def _positive(value: int) -> int | None:
    return value if value > 0 else None


_SIMPLE: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "name": ("nvmlDeviceGetName", str),
    "uuid": ("nvmlDeviceGetUUID", str),
    "pci_bus_id": ("nvmlDeviceGetPciInfo", _bus_id),
    "compute_capability": ("nvmlDeviceGetCudaComputeCapability", lambda pair: f"{pair[0]}.{pair[1]}"),
    "num_cores": ("nvmlDeviceGetNumGpuCores", _positive),
    "memory_bus_bits": ("nvmlDeviceGetMemoryBusWidth", _positive),
    "power_w": ("nvmlDeviceGetPowerUsage", _milli),
    "power_limit_w": ("nvmlDeviceGetEnforcedPowerLimit", _milli),  # the management limit ignores out-of-band caps
    "default_power_limit_w": ("nvmlDeviceGetPowerManagementDefaultLimit", _milli),
    "utilization_frac": ("nvmlDeviceGetUtilizationRates", lambda rates: rates.gpu / 100),
    "memory_utilization_frac": ("nvmlDeviceGetUtilizationRates", lambda rates: rates.memory / 100),
    "encoder_utilization_frac": ("nvmlDeviceGetEncoderUtilization", lambda pair: pair[0] / 100),
    "decoder_utilization_frac": ("nvmlDeviceGetDecoderUtilization", lambda pair: pair[0] / 100),
    "bar1_total_bytes": ("nvmlDeviceGetBAR1MemoryInfo", lambda memory: int(memory.bar1Total)),
    "bar1_used_bytes": ("nvmlDeviceGetBAR1MemoryInfo", lambda memory: int(memory.bar1Used)),
    "fan_frac": ("nvmlDeviceGetFanSpeed", _percent),
    "performance_state": ("nvmlDeviceGetPerformanceState", lambda state: state if state != 32 else None),
    "pcie_generation": ("nvmlDeviceGetCurrPcieLinkGeneration", _positive),
    "max_pcie_generation": ("nvmlDeviceGetMaxPcieLinkGeneration", _positive),
    "pcie_width": ("nvmlDeviceGetCurrPcieLinkWidth", _positive),
    "max_pcie_width": ("nvmlDeviceGetMaxPcieLinkWidth", _positive),
    "display_active": ("nvmlDeviceGetDisplayActive", bool),
    "persistence_mode": ("nvmlDeviceGetPersistenceMode", bool),
    "compute_mode": ("nvmlDeviceGetComputeMode", _COMPUTE_MODES.get),
    "driver_model": ("nvmlDeviceGetCurrentDriverModel", _DRIVER_MODELS.get),
    "ecc_enabled": ("nvmlDeviceGetEccMode", lambda modes: bool(modes[0])),
    "mig_enabled": ("nvmlDeviceGetMigMode", lambda modes: bool(modes[0])),
}

_OTHER_FIELDS = (
    "total_bytes", "free_bytes", "reserved_bytes", "used_by_others_bytes", "sm_clock_mhz", "max_sm_clock_mhz",
    "memory_clock_mhz", "max_memory_clock_mhz", "temperature_c", "throttle_reasons", "uncorrected_ecc_errors",
    "processes",
)  # fmt: skip
FIELDS = (*_SIMPLE, *_OTHER_FIELDS)


def _read_memory(nvml: Nvml, handle: Handle) -> Readings:
    """Total, free, driver-reserved and taken bytes.

    Version 2 of the query tells the driver's own reserve apart. Drivers before 510.39 lack it, and
    drivers disagree on whether ``used`` contains the reserve, so only ``total - free`` is trusted.
    """
    version = nvml.constant("nvmlMemory_v2", 0x02000028)
    second = nvml.read("nvmlDeviceGetMemoryInfo", handle, version)
    memory = second.or_else(lambda: nvml.read("nvmlDeviceGetMemoryInfo", handle))
    memory = memory.then(lambda found: found if found.total > 0 else None)
    reserved = Reading(reason=second.reason) if second.value is None else memory.then(lambda m: int(m.reserved))
    return {
        "total_bytes": memory.then(lambda m: int(m.total)),
        "free_bytes": memory.then(lambda m: int(m.free)),
        "reserved_bytes": reserved,
        "used_by_others_bytes": memory.then(lambda m: max(0, int(m.total - m.free) - (reserved.value or 0))),
    }


def _read_clocks(nvml: Nvml, handle: Handle) -> Readings:
    return {
        "sm_clock_mhz": nvml.read("nvmlDeviceGetClockInfo", handle, _SM_CLOCK),
        "max_sm_clock_mhz": nvml.read("nvmlDeviceGetMaxClockInfo", handle, _SM_CLOCK),
        "memory_clock_mhz": nvml.read("nvmlDeviceGetClockInfo", handle, _MEMORY_CLOCK),
        "max_memory_clock_mhz": nvml.read("nvmlDeviceGetMaxClockInfo", handle, _MEMORY_CLOCK),
    }


def read_temperature(nvml: Nvml, handle: Handle) -> Reading[float]:
    """Degrees Celsius of the chip."""
    newest = nvml.read("nvmlDeviceGetTemperatureV", handle, 0)
    return newest.or_else(lambda: nvml.read("nvmlDeviceGetTemperature", handle, 0)).then(float)


def read_throttling(nvml: Nvml, handle: Handle) -> Reading[tuple[str, ...]]:
    """What slows the card down at this moment; being idle is no such reason."""
    bits = nvml.read("nvmlDeviceGetCurrentClocksEventReasons", handle)
    bits = bits.or_else(lambda: nvml.read("nvmlDeviceGetCurrentClocksThrottleReasons", handle))
    return bits.then(lambda mask: tuple(word for bit, word in _THROTTLE_BITS.items() if mask & bit))


def _read_processes(nvml: Nvml, handle: Handle, name_processes: bool) -> Reading[tuple[DeviceProcess, ...]]:
    """Processes with memory on the card; one that computes and draws is listed once, as computing."""
    compute = _process_list(nvml, handle, "nvmlDeviceGetComputeRunningProcesses")
    graphics = _process_list(nvml, handle, "nvmlDeviceGetGraphicsRunningProcesses")
    if compute.value is None and graphics.value is None:
        return Reading(reason=compute.reason)
    found = {process.pid: _process(nvml, process, "graphics", name_processes) for process in graphics.value or ()}
    found |= {process.pid: _process(nvml, process, "compute", name_processes) for process in compute.value or ()}
    if found:
        for sample in nvml.read("nvmlDeviceGetProcessUtilization", handle, 0).value or ():  # oldest first
            if sample.pid in found:
                shares = {"sm_utilization_frac": sample.smUtil / 100, "memory_utilization_frac": sample.memUtil / 100}
                found[sample.pid] = replace(found[sample.pid], **shares)
    return Reading(tuple(found[pid] for pid in sorted(found)))


def _process_list(nvml: Nvml, handle: Handle, function: str) -> Reading[Any]:
    return nvml.read(function, handle).or_else(lambda: nvml.read(f"{function}_v2", handle))  # v3 came with driver 510


def _process(nvml: Nvml, process: Any, kind: Any, name_it: bool) -> DeviceProcess:
    if not name_it:
        return DeviceProcess(pid=process.pid, kind=kind, name=None, used_bytes=process.usedGpuMemory)
    name = nvml.read("nvmlSystemGetProcessName", process.pid).or_else(lambda: _name_in_proc(process.pid)).value
    own = _seen_by_the_system(process.pid)
    return DeviceProcess(pid=process.pid, kind=kind, name=name, used_bytes=process.usedGpuMemory, **own)


def _name_in_proc(pid: int) -> Reading[str]:
    try:
        return Reading(Path(f"/proc/{pid}/comm").read_text(errors="replace").strip())
    except OSError:
        return Reading(reason="not_found")  # it ended in the meantime, or lives outside this container


def _seen_by_the_system(pid: int) -> dict[str, Any]:
    """Whose the process is, and what it takes beside the card's memory."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            running_s = max(0.001, time.time() - process.create_time())
            times = process.cpu_times()
            return {
                "user": process.username(),
                "running_s": running_s,
                "cpu_frac": (times.user + times.system) / running_s,
                "ram_bytes": process.memory_info().rss,
            }
    except (psutil.Error, KeyError):  # it ended in the meantime, or its owner has no name here
        return {}
