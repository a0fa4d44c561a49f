"""The machine as ``cfgadvise probe`` finds it: the host, its devices, and what is wrong with them."""

import dataclasses
from typing import Literal

from advisor.records.claims import Value
from advisor.records.device import Device
from advisor.records.frozen import record

Severity = Literal["blocker", "warning", "info"]


@record
class Host:
    """The computer and the software on it that decides what a training step can do.

    ``load_average`` is the number of runnable processes over the last minute: other people's work
    makes every time that is measured longer.
    """

    os: str
    cpu_name: str | None
    num_cores: int
    ram_total_bytes: int
    ram_available_bytes: int
    python_version: str
    torch_version: str | None
    torch_cuda_version: str | None
    driver_version: str | None
    driver_cuda_version: str | None
    in_container: bool
    machine: str = ""
    torch_rocm_version: str | None = None
    torch_xpu_version: str | None = None
    instruction_sets: tuple[str, ...] = ()
    shared_memory_bytes: int | None = None
    disk_free_bytes: int | None = None
    load_average: float | None = None
    swap_total_bytes: int | None = None
    swap_used_bytes: int | None = None


@record
class Check:
    """Something on this machine that costs the user, and the line that mends it."""

    id: str
    severity: Severity
    device: int | None
    message: str
    fix: str | None
    values: dict[str, Value] = dataclasses.field(default_factory=dict)


@record
class Probe:
    """Everything that ``cfgadvise probe`` says."""

    schema: Literal["cfgadvise.probe/1"] = "cfgadvise.probe/1"
    host: Host
    devices: tuple[Device, ...]
    checks: tuple[Check, ...]
