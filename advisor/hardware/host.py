"""The computer and its software as one :class:`advisor.records.Host`, without the driver's part."""

import importlib.metadata
import platform
import shutil
import sys
from pathlib import Path

import psutil

from advisor.hardware.processor import read_processor
from advisor.hardware.torch_build import read_torch_build
from advisor.records import Host

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at, never written


def read_host() -> Host:
    """What files and the operating system say; the driver's versions are left to NVML."""
    processor, torch_build = read_processor(), read_torch_build()
    swap = psutil.swap_memory()
    return Host(
        os=_os_name(),
        machine=platform.machine(),
        cpu_name=processor.name,
        num_cores=processor.num_cores,
        ram_total_bytes=processor.ram_total_bytes,
        ram_available_bytes=processor.ram_available_bytes,
        python_version=platform.python_version(),
        torch_version=torch_build.version,
        torch_cuda_version=torch_build.cuda_version,
        torch_rocm_version=torch_build.rocm_version,
        torch_xpu_version=torch_build.xpu_version,
        driver_version=None,
        driver_cuda_version=None,
        in_container=processor.in_container,
        instruction_sets=processor.instruction_sets,
        shared_memory_bytes=_free_bytes(_SHARED_MEMORY),
        disk_free_bytes=_free_bytes(Path.cwd()),
        load_average=round(psutil.getloadavg()[0], 2),
        swap_total_bytes=swap.total,
        swap_used_bytes=swap.used,
    )


def has_distribution(name: str) -> bool:
    """Whether a Python distribution of that name is installed."""
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _os_name() -> str:
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    release = platform.release()
    wsl = " (WSL2)" if "microsoft" in release.lower() else ""
    return f"{platform.system()} {release}{wsl}"


def _free_bytes(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
