# ruff: noqa: N802 - the names are NVML's
"""A scripted NVML library that the real ``pynvml`` calls: ``pynvml.nvmlLib`` replaced by an object.

The world is a scenario file of ``key=value`` lines, shared with the C fake beside this file:

    driver=580.95.05            a value of the system
    0.mem.total=17179869184     a value of card 0; a value that is absent is "not supported"
    0.mig1.name=...             a value of slice 1 of card 0, else the card's
    0.err.nvmlDeviceGetName=15  this call fails with that NVML code; ``@6``: from the sixth call on a card on
    0.err.*=15                  every call of that card fails
    missing=name,name           functions that this driver's library does not have
    proc.123=/usr/bin/python    the name of a process
    0.field.186=250000          a field of card 0 that is asked for by number

``\\xNN`` in a value is that byte.
"""

import ctypes
import re
from pathlib import Path

SCENARIOS = Path(__file__).with_name("nvml_scenarios")
NOT_SUPPORTED, INVALID, NOT_FOUND, INSUFFICIENT_SIZE, VERSION_MISMATCH = 3, 2, 6, 7, 25
_UNAVAILABLE = 2**64 - 1
_SLICES_PER_CARD = 8
_UNSIGNED_LONG_LONG = 3

_NUMBERS = {
    "nvmlDeviceGetPowerUsage": "power.mw",
    "nvmlDeviceGetEnforcedPowerLimit": "power.limit",
    "nvmlDeviceGetPowerManagementDefaultLimit": "power.default",
    "nvmlDeviceGetCurrPcieLinkGeneration": "pcie.gen",
    "nvmlDeviceGetMaxPcieLinkGeneration": "pcie.maxgen",
    "nvmlDeviceGetCurrPcieLinkWidth": "pcie.width",
    "nvmlDeviceGetMaxPcieLinkWidth": "pcie.maxwidth",
    "nvmlDeviceGetPersistenceMode": "persistence",
    "nvmlDeviceGetDisplayActive": "display.active",
    "nvmlDeviceGetComputeMode": "compute.mode",
    "nvmlDeviceGetPerformanceState": "pstate",
    "nvmlDeviceGetFanSpeed": "fan",
    "nvmlDeviceGetNumGpuCores": "cores",
    "nvmlDeviceGetMemoryBusWidth": "buswidth",
    "nvmlDeviceGetMaxMigDeviceCount": "mig.max",
    "nvmlDeviceGetCurrentClocksEventReasons": "reasons",
    "nvmlDeviceGetCurrentClocksThrottleReasons": "reasons",
    "nvmlDeviceGetTotalEnergyConsumption": "energy.mj",
}
_PAIRS = {
    "nvmlDeviceGetEccMode": "ecc",
    "nvmlDeviceGetMigMode": "mig",
    "nvmlDeviceGetDriverModel_v2": "model",
    "nvmlDeviceGetEncoderUtilization": "util.enc",
    "nvmlDeviceGetDecoderUtilization": "util.dec",
}
_TEXTS = {"nvmlDeviceGetName": "name", "nvmlDeviceGetUUID": "uuid"}
_CLOCKS = {"nvmlDeviceGetClockInfo": "clk", "nvmlDeviceGetMaxClockInfo": "max"}
_CLOCK_KINDS = ("gr", "sm", "mem", "vid")
_PROCESSES = {
    "nvmlDeviceGetComputeRunningProcesses_v3": "procs.c",
    "nvmlDeviceGetComputeRunningProcesses_v2": "procs.c",
    "nvmlDeviceGetGraphicsRunningProcesses_v3": "procs.g",
    "nvmlDeviceGetGraphicsRunningProcesses_v2": "procs.g",
}


def read_scenario(name: str) -> dict[str, bytes]:
    """The values of a scenario file, with escapes resolved."""
    lines = (SCENARIOS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {key: _unescaped(value) for key, value in pairs}


def _unescaped(value: str) -> bytes:
    return re.sub(rb"\\x([0-9a-fA-F]{2})", lambda found: bytes([int(found.group(1), 16)]), value.encode())


class FakeNvml:
    """The functions of a library as attributes; one that the scenario calls missing is not there."""

    def __init__(self, values: dict[str, bytes]) -> None:
        self._values = values
        self._calls: dict[int, int] = {}
        self._missing = set(values.get("missing", b"").decode().split(","))

    def change(self, **values: object) -> None:
        """Change the world of card 0 while a client runs; ``_`` in a name stands for ``.``, ``None`` takes away."""
        for name, value in values.items():
            key = f"0.{name.replace('_', '.')}"
            self._values.pop(key, None)
            if value is not None:
                self._values[key] = str(value).encode()

    def __getattr__(self, name: str):
        if name in self._missing:
            raise AttributeError(name)
        if name in _NUMBERS:
            return self._about_device(name, lambda key, out: _put(out, self._number(key, _NUMBERS[name])))
        if name in _PAIRS:
            return self._about_device(
                name, lambda key, a, b: _put(a, n := self._number(key, _PAIRS[name])) or _put(b, n)
            )
        if name in _TEXTS:
            return self._about_device(name, lambda key, text, _: _put_text(text, self._get(key, _TEXTS[name])))
        if name in _CLOCKS:
            return self._about_device(
                name, lambda key, kind, out: _put(out, self._number(key, f"{_CLOCKS[name]}.{_CLOCK_KINDS[kind.value]}"))
            )
        if name in _PROCESSES:
            return self._about_device(name, lambda key, count, out: self._processes(key, _PROCESSES[name], count, out))
        about_device = getattr(type(self), f"_device_{name}", None)
        if about_device is not None:
            return self._about_device(name, about_device.__get__(self))
        return super().__getattribute__(f"_system_{name}")

    # ---- the system -----------------------------------------------------------------------------

    def _system_nvmlInitWithFlags(self, _flags):
        return int(self._values.get("err.init", b"0"))

    def _system_nvmlShutdown(self):
        return 0

    def _system_nvmlSystemGetDriverVersion(self, text, _length):
        return _put_text(text, self._values.get("driver"))

    def _system_nvmlSystemGetCudaDriverVersion_v2(self, out):
        return _put(out, int(self._values["cuda"]) if "cuda" in self._values else None)

    _system_nvmlSystemGetCudaDriverVersion = _system_nvmlSystemGetCudaDriverVersion_v2

    def _system_nvmlSystemGetProcessName(self, pid, text, _length):
        name = self._values.get(f"proc.{pid.value}")
        return NOT_FOUND if name is None else _put_text(text, name)

    def _system_nvmlDeviceGetCount_v2(self, out):
        return _put(out, int(self._values.get("count", b"0")))

    def _system_nvmlDeviceGetHandleByIndex_v2(self, index, handle):
        if index.value >= int(self._values.get("count", b"0")):
            return INVALID
        key = 1 + index.value * (_SLICES_PER_CARD + 1)
        return self._error(key, "nvmlDeviceGetHandleByIndex") or _put_handle(handle, key)

    def _system_nvmlDeviceGetHandleByUUID(self, uuid, handle):
        for name, value in self._values.items():
            place = re.fullmatch(r"(\d+)\.(?:mig(\d+)\.)?uuid", name)
            if place and value == uuid.value:
                key = 1 + int(place.group(1)) * (_SLICES_PER_CARD + 1)
                return _put_handle(handle, key if place.group(2) is None else key + 1 + int(place.group(2)))
        return NOT_FOUND

    # ---- a card ---------------------------------------------------------------------------------

    def _device_nvmlDeviceGetMemoryInfo(self, key, out):
        total = self._number(key, "mem.total")
        if total is None:
            return NOT_SUPPORTED
        memory = out._obj
        used, reserved = self._number(key, "mem.used") or 0, self._number(key, "mem.reserved") or 0
        memory.total, memory.free, memory.used = total, total - used - reserved, used + reserved
        if hasattr(memory, "reserved"):
            memory.reserved = reserved
        return 0

    _device_nvmlDeviceGetMemoryInfo_v2 = _device_nvmlDeviceGetMemoryInfo

    def _device_nvmlDeviceGetBAR1MemoryInfo(self, key, out):
        total = self._number(key, "bar1.total")
        if total is None:
            return NOT_SUPPORTED
        used = self._number(key, "bar1.used") or 0
        out._obj.bar1Total, out._obj.bar1Free, out._obj.bar1Used = total, total - used, used
        return 0

    def _device_nvmlDeviceGetPciInfo_v3(self, key, out):
        out._obj.busId = self._get(key, "bus") or b"00000000:01:00.0"
        return 0

    def _device_nvmlDeviceGetUtilizationRates(self, key, out):
        busy = self._number(key, "util.gpu")
        if busy is None:
            return NOT_SUPPORTED
        out._obj.gpu, out._obj.memory = busy, self._number(key, "util.mem") or 0
        return 0

    def _device_nvmlDeviceGetTemperatureV(self, key, out):
        degrees = self._number(key, "temp")
        if degrees is None:
            return NOT_SUPPORTED
        out._obj.temperature = degrees
        return 0

    def _device_nvmlDeviceGetTemperature(self, key, _sensor, out):
        return _put(out, self._number(key, "temp"))

    def _device_nvmlDeviceGetFieldValues(self, key, count, out):
        for entry in out._obj[: count.value]:
            value = self._number(key, f"field.{entry.fieldId}")
            entry.nvmlReturn = NOT_SUPPORTED if value is None else 0
            entry.valueType, entry.value.ullVal = _UNSIGNED_LONG_LONG, value or 0
        return 0

    def _device_nvmlDeviceGetTotalEccErrors(self, key, _kind, _since, out):
        return _put(out, self._number(key, "ecc.errors"))

    def _device_nvmlDeviceGetCudaComputeCapability(self, key, major, minor):
        text = self._get(key, "cc")
        if text is None:
            return NOT_SUPPORTED
        return _put(major, int(text.split(b".")[0])) or _put(minor, int(text.split(b".")[1]))

    def _device_nvmlDeviceGetMigDeviceHandleByIndex(self, key, index, handle):
        if index.value >= (self._number(key, "mig.count") or 0):
            return NOT_FOUND
        return _put_handle(handle, key + 1 + index.value)

    def _device_nvmlDeviceGetProcessUtilization(self, key, out, count, _since):
        entries = [entry.split(":") for entry in (self._get(key, "procs.util") or b"").decode().split(",") if entry]
        if not entries:
            return NOT_SUPPORTED
        if out is None:
            count._obj.value = len(entries)
            return INSUFFICIENT_SIZE
        for place, (pid, sm, memory) in enumerate(entries):
            out[place].pid, out[place].smUtil, out[place].memUtil = int(pid), int(sm), int(memory)
        return 0

    def _processes(self, key, name, count, out):
        text = self._get(key, name)
        if text is None:
            return NOT_SUPPORTED
        entries = [entry.split(":") for entry in text.decode().split(",") if entry]
        if count._obj.value < len(entries):
            count._obj.value = len(entries)
            return INSUFFICIENT_SIZE
        for place, (pid, used) in enumerate(entries):
            out[place].pid = int(pid)
            out[place].usedGpuMemory = _UNAVAILABLE if used == "?" else int(used)
        count._obj.value = len(entries)
        return 0

    # ---- the script -----------------------------------------------------------------------------

    def _about_device(self, name, answer):
        def call(handle, *arguments):
            key = ctypes.cast(handle, ctypes.c_void_p).value
            return self._error(key, name) or answer(key, *arguments)

        return call

    def _error(self, key: int, name: str) -> int:
        card = (key - 1) // (_SLICES_PER_CARD + 1)
        self._calls[card] = self._calls.get(card, 0) + 1
        scripted = self._get(key, f"err.{name}") or self._get(key, "err.*")
        if scripted is None:
            return 0
        code, _, from_call = scripted.decode().partition("@")
        return int(code) if self._calls[card] >= int(from_call or 0) else 0

    def _get(self, key: int, name: str) -> bytes | None:
        card, part = divmod(key - 1, _SLICES_PER_CARD + 1)
        own = self._values.get(f"{card}.mig{part - 1}.{name}") if part else None
        return own if own is not None else self._values.get(f"{card}.{name}")

    def _number(self, key: int, name: str) -> int | None:
        text = self._get(key, name)
        return None if text is None else int(text, 0)


def _put(out, number: int | None) -> int:
    if number is None:
        return NOT_SUPPORTED
    out._obj.value = number
    return 0


def _put_text(buffer, text: bytes | None) -> int:
    if text is None:
        return NOT_SUPPORTED
    buffer.value = text
    return 0


def _put_handle(handle, key: int) -> int:
    ctypes.cast(ctypes.addressof(handle._obj), ctypes.POINTER(ctypes.c_void_p))[0] = key
    return 0
