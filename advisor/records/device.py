"""A place where a step can run: what it is, what it could do when it was tried, and who else uses it."""

import dataclasses
from typing import Literal

from advisor.records.frozen import record


@record
class DeviceProcess:
    """A process that holds device memory. In a container its number may belong to the host.

    ``cpu_frac`` is of one core, over the time that it has run. Its command line is nobody's business.
    """

    pid: int
    kind: Literal["compute", "graphics"]
    name: str | None
    used_bytes: int | None
    user: str | None = None
    running_s: float | None = None
    cpu_frac: float | None = None
    ram_bytes: int | None = None
    sm_utilization_frac: float | None = None
    memory_utilization_frac: float | None = None


@record
class Peaks:
    """What a card can do at best: dense rates with float32 accumulation, from a table or estimated."""

    name: str
    estimated: bool
    fp32_tflops: float | None = None
    tf32_tflops: float | None = None
    fp16_tflops: float | None = None
    bf16_tflops: float | None = None
    bandwidth_gb_s: float | None = None
    source: str


@record
class Load:
    """A card's own state while it was benchmarked: the median over time, of the link the most."""

    utilization_frac: float | None = None
    sm_clock_mhz: int | None = None
    pcie_generation: int | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
    num_readings: int


@record
class Benchmark:
    """What a device did when it was tried for some seconds, by precision; ``None`` where it could not.

    ``load`` is ``None`` where the device cannot be watched.
    """

    fp32_tflops: float | None = None
    tf32_tflops: float | None = None
    fp16_tflops: float | None = None
    bf16_tflops: float | None = None
    copy_gb_s: float | None = None
    host_to_device_gb_s: float | None = None
    elapsed_s: float
    load: Load | None = None


@record
class Device:
    """One place where a step can run. A field that could not be read is named in ``unknown``.

    ``index`` is what a training script writes after ``cuda:``; ``nvml_index`` is what nvidia-smi shows.
    """

    index: int | None
    kind: Literal["cuda", "cpu", "mps", "xpu"]
    name: str
    uuid: str | None
    total_bytes: int | None
    free_bytes: int | None
    usable_bytes: int | None
    used_by_others_bytes: int | None
    compute_capability: str | None
    num_cores: int | None
    temperature_c: float | None
    power_w: float | None
    power_limit_w: float | None
    default_power_limit_w: float | None
    nvml_index: int | None = None
    pci_bus_id: str | None = None
    reserved_bytes: int | None = None
    utilization_frac: float | None = None
    memory_utilization_frac: float | None = None
    encoder_utilization_frac: float | None = None
    decoder_utilization_frac: float | None = None
    bar1_total_bytes: int | None = None
    bar1_used_bytes: int | None = None
    fan_frac: float | None = None
    performance_state: int | None = None
    sm_clock_mhz: int | None = None
    max_sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    max_memory_clock_mhz: int | None = None
    pcie_generation: int | None = None
    max_pcie_generation: int | None = None
    pcie_width: int | None = None
    max_pcie_width: int | None = None
    throttle_reasons: tuple[str, ...] | None = None
    display_active: bool | None = None
    persistence_mode: bool | None = None
    compute_mode: str | None = None
    driver_model: str | None = None
    ecc_enabled: bool | None = None
    uncorrected_ecc_errors: int | None = None
    mig_enabled: bool | None = None
    integrated: bool | None = None
    memory_bus_bits: int | None = None
    peaks: Peaks | None = None
    benchmark: Benchmark | None = None
    processes: tuple[DeviceProcess, ...] | None = None
    unknown: dict[str, str] = dataclasses.field(default_factory=dict)
