"""Which torch is installed, for which CUDA, with kernels for which cards: without importing it here.

Importing torch takes a second or more and must not happen in the parent. The version is read from
a file, and so is the list of kernels: one string in torch's library. Where it is not found there, a
child process asks torch.
"""

import importlib.metadata
import importlib.util
import mmap
import os
import re
import subprocess
import sys
from pathlib import Path

from advisor.hardware.nvml import Reading
from advisor.records import record

_ARCHITECTURES = re.compile(rb"\x00((?:sm|compute)_\d+[a-z]?(?: (?:sm|compute)_\d+[a-z]?)*)\x00")
_PRINT_KERNELS = "import torch; print('kernels', torch._C._cuda_getArchFlags())"


@record
class TorchBuild:
    """The installed torch: its version and what it was built for. All ``None`` where there is none."""

    version: str | None = None
    cuda_version: str | None = None
    rocm_version: str | None = None
    xpu_version: str | None = None


def read_torch_build() -> TorchBuild:
    """The installed torch as its own ``version.py`` states it, else as its package's version does."""
    spec = importlib.util.find_spec("torch")  # finds a top-level package without running it
    if spec is None or spec.origin is None:
        return TorchBuild()
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        text = ""
    stated = {name: _assigned(text, name) for name in ("__version__", "cuda", "hip", "xpu")}
    if stated["__version__"] is None:
        return _build_of(_distribution_version())
    return TorchBuild(
        version=stated["__version__"],
        cuda_version=stated["cuda"],
        rocm_version=stated["hip"],
        xpu_version=stated["xpu"],
    )


def read_kernels(timeout_s: float = 60) -> Reading[tuple[str, ...]]:
    """Architectures that this torch carries kernels for, such as ``("sm_75", "compute_90")``."""
    found = _kernels_in_library()
    return found if found.value is not None else _kernels_from_torch(timeout_s)


def _kernels_in_library() -> Reading[tuple[str, ...]]:
    """The list that the build left in torch's own library, if there is exactly one."""
    spec = importlib.util.find_spec("torch")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    for name in ("lib/libtorch_python.so", "lib/torch_python.dll"):
        try:
            with (folder / name).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as library:
                found = set(_ARCHITECTURES.findall(library))
        except (OSError, ValueError):  # not there, or empty
            continue
        if len(found) == 1:
            return Reading(tuple(found.pop().decode().split()))
    return Reading(reason="not_found")


def _kernels_from_torch(timeout_s: float) -> Reading[tuple[str, ...]]:
    """What torch itself says; the child sees no card, so that it cannot create a context on one."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", _PRINT_KERNELS]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, env=environment, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return Reading(reason="torch_failed")
    found = re.search(r"^kernels (.+)$", answer, re.MULTILINE)
    architectures = tuple(re.findall(r"(?:sm|compute)_\w+", found.group(1))) if found else ()
    return Reading(architectures) if architectures else Reading(reason="not_a_cuda_build")


def _assigned(text: str, name: str) -> str | None:
    found = re.search(rf"^{name}(?::[^=]+)?\s*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
    return found.group(1) if found else None


def _distribution_version() -> str | None:
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None


def _build_of(version: str | None) -> TorchBuild:
    """What a version such as ``2.13.0+cu126`` says by itself."""
    local = re.search(r"\+(cu|rocm)(\d+)(?:\.(\d+))?", version or "")
    if local is None:
        return TorchBuild(version=version)
    kind, digits, minor = local.groups()
    if kind == "rocm":
        return TorchBuild(version=version, rocm_version=f"{digits}.{minor or 0}")
    return TorchBuild(version=version, cuda_version=f"{digits[:-1]}.{digits[-1]}")
