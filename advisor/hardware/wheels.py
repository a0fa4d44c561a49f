"""Which builds of torch run on which card and driver, and the line that installs one.

The rules of binary compatibility are NVIDIA's (CUDA C++ Programming Guide, "Compute Capability
Compatibility"); the kernels in each build are those of the torch 2.13 release, as its own sources
list them. A 13.x build carries nothing below 7.5, so Pascal and Volta cards need the 12.6 one.
"""

import re
from collections.abc import Sequence

_INTEGRATED_ONLY = {53, 62, 72, 87, 101}  # kernels for Jetson chips run on no other card, nor others' on them
_KERNELS_BY_BUILD = {
    "13.0": {"x86_64": (75, 80, 86, 90, 100, 120), "aarch64": (80, 90, 100, 110, 120)},
    "12.9": {"x86_64": (75, 80, 86, 90, 100, 120), "aarch64": (80, 90, 100, 120)},
    "12.6": {"x86_64": (50, 60, 70, 75, 80, 86, 90), "aarch64": (80, 90)},
}  # newest first
_KNOWN_RELEASE = "2.13"


def runs_on(kernels: tuple[str, ...], compute_capability: str) -> bool:
    """Whether code built for these architectures (``sm_75``, ``compute_90`` ...) runs on such a card."""
    card = _code(compute_capability)
    for architecture in kernels:
        kind, digits, suffix = re.fullmatch(r"(sm|compute)_(\d+)([a-z]*)", architecture).groups()  # type: ignore[union-attr]
        code = int(digits)
        if suffix == "a" and code != card:  # architecture-specific code runs there and nowhere else
            continue
        if kind == "compute" and code <= card:  # PTX, which the driver translates for any newer card
            return True
        if _binary_runs(code, card):
            return True
    return False


def oldest_supported(kernels: tuple[str, ...]) -> str:
    """The lowest compute capability that the build names, such as ``7.5``."""
    lowest = min(int(re.sub(r"\D", "", architecture)) for architecture in kernels)
    return f"{lowest // 10}.{lowest % 10}"


def install_line(
    torch_version: str | None, compute_capabilities: Sequence[str], driver_cuda_version: str | None, machine: str
) -> str | None:
    """The pip command for a torch that runs on these cards under this driver; ``None`` if no build does.

    Where no build runs on all of them, it is the one for the first.
    """
    build = _build_for(compute_capabilities, driver_cuda_version, machine)
    build = build or _build_for(compute_capabilities[:1], driver_cuda_version, machine)
    if build is None:
        return None
    known = (torch_version or "").startswith(_KNOWN_RELEASE + ".")
    wanted = f'"torch=={_KNOWN_RELEASE}.*"' if known else "torch"
    tag = "cu" + build.replace(".", "")
    return f"pip install --force-reinstall {wanted} --index-url https://download.pytorch.org/whl/{tag}"


def _build_for(compute_capabilities: Sequence[str], driver_cuda_version: str | None, machine: str) -> str | None:
    host = "aarch64" if machine.lower() in ("aarch64", "arm64") else "x86_64"
    cards = [_code(compute_capability) for compute_capability in compute_capabilities]
    for build, by_host in _KERNELS_BY_BUILD.items():
        too_new = driver_cuda_version is not None and major(build) > major(driver_cuda_version)
        covers = all(any(_binary_runs(code, card) for code in by_host[host]) for card in cards)
        if covers and not too_new:
            return build
    return None


def major(version: str) -> int:
    """The part before the first dot, as a number."""
    return int(version.split(".")[0])


def _binary_runs(code: int, card: int) -> bool:
    if code in _INTEGRATED_ONLY or card in _INTEGRATED_ONLY:
        return code == card
    return code // 10 == card // 10 and code <= card


def _code(compute_capability: str) -> int:
    return int(compute_capability.replace(".", ""))
