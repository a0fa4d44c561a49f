"""What is wrong on this machine, what it costs, and the line that mends it. Pure functions of facts.

``CATALOGUE`` holds the English sentences by identity; another language needs only the ``id`` and
``values`` of a :class:`advisor.records.Check`. Values of a check about a card always hold ``uuid``,
``nvml_index`` and ``name``.
"""

from collections.abc import Callable, Iterator

from advisor.hardware import wheels
from advisor.hardware.nvml import Reading
from advisor.records import Check, Device, Host, Severity, Value, record
from advisor.units import GIB, format_bytes

_OTHERS_FRAC = 0.02  # less than this of a card is a driver's housekeeping, not somebody's job
_CAPPED_FRAC = 0.97
_SLOW_CLOCK_FRAC = 0.85
_BUSY_FRAC = 0.5
_NARROW_LANES = 8
_NUM_SHOWN = 3
_OLDEST_CUDA = 12  # of any current torch
_OLDEST_LASTING = 7.5  # older cards are in the CUDA 12.6 build only, which ends with torch 2.14
_LOW_SHARED_MEMORY_BYTES = GIB
_LOW_DISK_BYTES = 5 * GIB


@record
class Facts:
    """What checks need beside the host and its devices.

    ``kernels`` are the architectures that torch was built for; ``old_binding`` says that the
    deprecated distribution ``pynvml`` is installed.
    """

    nvml_problem: str | None
    kernels: Reading[tuple[str, ...]]
    old_binding: bool = False


@record
class CheckText:
    """The sentences of one check, with places for its values."""

    severity: Severity
    message: str
    fix: str | None = None


CATALOGUE: dict[str, CheckText] = {
    "TORCH": CheckText(
        severity="blocker",
        message="PyTorch is not installed: nothing can be measured or trained.",
        fix="{install}",
    ),
    "NVML-LIBRARY": CheckText(
        severity="warning",
        message="PyTorch is built for CUDA {torch_cuda}, but no NVIDIA driver was found: training runs on the CPU.",
        fix="Install the NVIDIA driver and reboot; in a container, start it with --gpus all",
    ),
    "NVML-DRIVER": CheckText(
        severity="blocker",
        message="The NVIDIA driver is installed but not loaded: no GPU can be used.",
        fix="sudo modprobe nvidia    # if that fails, reboot",
    ),
    "NVML-MISMATCH": CheckText(
        severity="blocker",
        message="The NVIDIA driver was updated but the old one is still loaded: no GPU can be used until a reboot.",
        fix="sudo reboot",
    ),
    "NVML-FAILED": CheckText(
        severity="warning",
        message="NVIDIA's management library does not answer ({reason}): memory and power of the GPUs are unknown.",
        fix="nvidia-smi    # shows the driver's own message",
    ),
    "BINDING": CheckText(
        severity="blocker",
        message="The deprecated package 'pynvml' hides 'nvidia-ml-py': the GPUs cannot be read.",
        fix="pip uninstall -y pynvml && pip install --force-reinstall nvidia-ml-py",
    ),
    "BINDING-OLD": CheckText(
        severity="info",
        message="The deprecated package 'pynvml' is installed beside 'nvidia-ml-py'; PyTorch warns about it.",
        fix="pip uninstall -y pynvml && pip install --force-reinstall nvidia-ml-py",
    ),
    "CPU-WHEEL": CheckText(
        severity="blocker",
        message="This PyTorch ({torch}) is built without CUDA: the GPU stays idle and training runs on the CPU.",
        fix="{install}",
    ),
    "DRIVER": CheckText(
        severity="blocker",
        message="The driver speaks CUDA {driver_cuda}, this PyTorch needs {torch_cuda}: the GPU cannot be used.",
        fix="{install}",
    ),
    "DRIVER-OLD": CheckText(
        severity="blocker",
        message="The driver speaks only CUDA {driver_cuda}, too old for any current PyTorch: the GPU cannot be used.",
        fix="Install a driver of branch 580 or newer for GPUs from 7.5 on, else of branch 535, and reboot",
    ),
    "ARCH": CheckText(
        severity="blocker",
        message="This PyTorch ({torch}) has no kernels for compute capability {cc}: the first operation fails.",
        fix="{install}",
    ),
    "ARCH-NONE": CheckText(
        severity="blocker",
        message="No current PyTorch has kernels for compute capability {cc}: this GPU cannot train.",
        fix="cfgadvise recommend --device cpu",
    ),
    "ARCH-LAST": CheckText(
        severity="info",
        message="Compute capability {cc} works with this PyTorch; 2.14 for CUDA 12.6 is the last release for it.",
        fix='pip install "torch<2.15" --index-url https://download.pytorch.org/whl/cu126',
    ),
    "ARCH-UNKNOWN": CheckText(
        severity="warning",
        message="PyTorch could not be asked for its kernels ({reason}): whether it runs on this GPU is unknown.",
        fix='python -c "import torch; print(torch.cuda.get_arch_list())"',
    ),
    "LOST": CheckText(
        severity="blocker",
        message="{name} has fallen off the bus ({reason}): it answers nothing until the machine restarts.",
        fix="sudo reboot    # if it comes back: check its power cable, temperature and `dmesg | grep Xid`",
    ),
    "NO-PERMISSION": CheckText(
        severity="blocker",
        message="{name} may not be used by this account (no permission).",
        fix="sudo usermod -aG video,render $USER    # then log in again; in a container, pass the device in",
    ),
    "MEMORY-UNKNOWN": CheckText(
        severity="warning",
        message="The free memory cannot be read ({reason}): the largest batch has to be found by careful trial.",
        fix="cfgadvise recommend --memory-budget 8GiB    # what you know to be free",
    ),
    "DISPLAY": CheckText(
        severity="warning",
        message="A desktop is drawn on this GPU: it holds memory, and takes more while you use it.",
        fix="sudo systemctl isolate multi-user.target    # ends the desktop; `graphical.target` brings it back",
    ),
    "DISPLAY-WINDOWS": CheckText(
        severity="warning",
        message="Windows draws its desktop on this GPU: it holds memory, and takes more while you use it.",
        fix="Connect the screen to the processor's own graphics, or close browsers and games while training",
    ),
    "OTHERS": CheckText(
        severity="warning",
        message="Other processes hold {used} ({percent} %) of this GPU's memory: {processes}.",
        fix="ps -fp {pids}    # shows whose they are; end them, or choose another GPU with --device",
    ),
    "OTHERS-UNNAMED": CheckText(
        severity="warning",
        message="Other processes hold {used} ({percent} %) of this GPU's memory.",
        fix="nvidia-smi    # names them; end them, or choose another GPU with --device",
    ),
    "OTHERS-OUTSIDE": CheckText(
        severity="warning",
        message="Processes that this container cannot name hold {used} ({percent} %) of this GPU's memory.",
        fix="nvidia-smi    # on the host, names them; or choose another GPU with --device",
    ),
    "THROTTLE-POWER": CheckText(
        severity="warning",
        message="The GPU is slowed down by its power limit: {limit_w} W of {default_w} W by default ({percent} %).",
        fix="sudo nvidia-smi -i {nvml_index} -pl {default_w}",
    ),
    "POWER-FULL": CheckText(
        severity="info",
        message="The GPU works at its default power limit of {limit_w} W, as a well-used one does under load.",
    ),
    "THROTTLE-HEAT": CheckText(
        severity="warning",
        message="The GPU is slowed down because it is too hot ({temperature_c} degrees C): steps take longer.",
        fix="Clean the fans and free the air path; or lower the heat: sudo nvidia-smi -i {nvml_index} -pl {lower_w}",
    ),
    "THROTTLE-HARDWARE": CheckText(
        severity="warning",
        message="The board itself slows the GPU down (power brake or hardware slowdown): steps take longer.",
        fix="Check the GPU's power cables and the power supply; nvidia-smi -i {nvml_index} -q -d PERFORMANCE",
    ),
    "POWERCAP": CheckText(
        severity="warning",
        message="The power limit is {limit_w} W of {default_w} W by default ({percent} %): slower under load.",
        fix="sudo nvidia-smi -i {nvml_index} -pl {default_w}",
    ),
    "CLOCK": CheckText(
        severity="warning",
        message="Under load the GPU runs at {clock_mhz} MHz of {max_mhz} MHz.",
        fix="sudo nvidia-smi -i {nvml_index} -rgc    # removes a clock limit, if one was set",
    ),
    "PCIE": CheckText(
        severity="warning",
        message="The PCIe link is x{width} of x{max_width}: copies to the GPU run at {percent} % of their speed. "
        "Harmless once latents are cached on the GPU.",
        fix="Move the card to a full-length slot, or reseat it and its riser cable",
    ),
    "PCIE-GEN": CheckText(
        severity="info",
        message="Under load the PCIe link is generation {generation} of {max_generation}: copies are slower. "
        "Harmless once latents are cached on the GPU.",
        fix="Set the slot's PCIe speed to 'auto' in the firmware set-up; a riser cable may limit it",
    ),
    "MIG": CheckText(
        severity="info",
        message="This is a MIG slice of {total}: its memory is its own, its energy cannot be measured.",
        fix="CUDA_VISIBLE_DEVICES={uuid}    # in front of the command, chooses this slice",
    ),
    "MIG-EMPTY": CheckText(
        severity="blocker",
        message="MIG is switched on but no slice exists: CUDA finds nothing to run on.",
        fix="sudo nvidia-smi -i {nvml_index} -mig 0    # the whole card again; `nvidia-smi mig -cgi` makes slices",
    ),
    "ECC": CheckText(
        severity="warning",
        message="{count} memory errors could not be corrected since the last reboot: results may be wrong.",
        fix="sudo reboot    # if they return: nvidia-smi -i {nvml_index} -q -d ECC,ROW_REMAPPER, and replace the card",
    ),
    "SYSMEM": CheckText(
        severity="warning",
        message="On Windows and WSL the driver lends system memory instead of failing: too large a batch does not "
        "stop, it becomes many times slower.",
        fix="NVIDIA Control Panel > Manage 3D settings > CUDA - Sysmem Fallback Policy > Prefer No Sysmem Fallback",
    ),
    "BF16": CheckText(
        severity="info",
        message="No fast bfloat16 (compute capability {cc}): use float16 with loss scaling.",
        fix="cfgadvise recommend --precision fp16",
    ),
    "BF16-FP32": CheckText(
        severity="info",
        message="No tensor cores (compute capability {cc}): neither bfloat16 nor float16 makes training much faster.",
        fix="cfgadvise recommend --precision fp32",
    ),
    "COMPUTE-PROHIBITED": CheckText(
        severity="blocker",
        message="The GPU's compute mode is 'prohibited': no program may compute on it.",
        fix="sudo nvidia-smi -i {nvml_index} -c DEFAULT",
    ),
    "COMPUTE-EXCLUSIVE": CheckText(
        severity="blocker",
        message="The GPU's compute mode is 'exclusive_process': the process that runs on it keeps all others out.",
        fix="sudo nvidia-smi -i {nvml_index} -c DEFAULT",
    ),
    "HIDDEN": CheckText(
        severity="info",
        message="CUDA_VISIBLE_DEVICES hides {name} from training.",
        fix="CUDA_VISIBLE_DEVICES={uuid}    # in front of the command, chooses it",
    ),
    "ORDER": CheckText(
        severity="info",
        message="CUDA orders cards by speed, nvidia-smi by slot; which one is cuda:{index} here is a guess.",
        fix="export CUDA_DEVICE_ORDER=PCI_BUS_ID    # makes both orders the same",
    ),
    "SHM": CheckText(
        severity="warning",
        message="/dev/shm has {free}: data loaders with several workers fail with a bus error.",  # noqa: S108
        fix="docker run --shm-size=8g ...    # or --ipc=host",
    ),
    "DISK": CheckText(
        severity="warning",
        message="Only {free} are free on the disk of this folder: checkpoints may not fit.",
        fix="Free some space, or write elsewhere: cfgadvise train --out /path/with/space",
    ),
    "CORES": CheckText(
        severity="info",
        message="Only one CPU core may be used: loading data and launching kernels share it.",
        fix="In a container, raise its limit: docker run --cpus 4 ...",
    ),
}


def find_checks(host: Host, devices: tuple[Device, ...], facts: Facts) -> tuple[Check, ...]:
    """Everything that is wrong, blockers first, then warnings, then remarks; within these by device."""
    found = [*_host_checks(host, devices, facts)]
    for device in devices:
        if device.kind == "cuda":
            for rule in _RULES:
                found.extend(rule(device, host, facts))
    order = ("blocker", "warning", "info")
    return tuple(sorted(found, key=lambda check: order.index(check.severity)))


def _check(check_id: str, device: Device | None = None, **values: Value) -> Check:
    text = CATALOGUE[check_id]
    if device is not None:
        values = {"name": device.name, "uuid": device.uuid, "nvml_index": device.nvml_index, **values}
    return Check(
        id=check_id,
        severity=text.severity,
        device=device.index if device else None,
        message=text.message.format(**values),
        fix=text.fix.format(**values) if text.fix else None,
        values=values,
    )


# ---- the host -----------------------------------------------------------------------------------

_NVML_PROBLEMS = {
    "driver_not_loaded": "NVML-DRIVER",
    "driver_mismatch": "NVML-MISMATCH",
    "wrong_binding": "BINDING",
}


def _host_checks(host: Host, devices: tuple[Device, ...], facts: Facts) -> Iterator[Check]:
    yield from _software_checks(host, [device for device in devices if device.kind == "cuda"])
    if not any(device.kind == "cuda" for device in devices):
        yield from _nvml_checks(host, facts)
    if facts.old_binding and facts.nvml_problem != "wrong_binding":
        yield _check("BINDING-OLD")
    shared = host.shared_memory_bytes
    if host.in_container and shared is not None and shared < _LOW_SHARED_MEMORY_BYTES:
        yield _check("SHM", free=format_bytes(shared))
    if host.disk_free_bytes is not None and host.disk_free_bytes < _LOW_DISK_BYTES:
        yield _check("DISK", free=format_bytes(host.disk_free_bytes))
    if host.num_cores == 1:
        yield _check("CORES")


def _nvml_checks(host: Host, facts: Facts) -> Iterator[Check]:
    problem = facts.nvml_problem
    if problem in _NVML_PROBLEMS:
        yield _check(_NVML_PROBLEMS[problem])
    elif problem in ("no_library", "no_binding"):
        if host.torch_cuda_version is not None:
            yield _check("NVML-LIBRARY", torch_cuda=host.torch_cuda_version)
    elif problem is not None:
        yield _check("NVML-FAILED", reason=problem)


def _software_checks(host: Host, cards: list[Device]) -> Iterator[Check]:
    """The driver and this torch must fit the cards; the first that does not is said."""
    torch, torch_cuda, driver_cuda = host.torch_version, host.torch_cuda_version, host.driver_cuda_version
    capabilities = [card.compute_capability for card in cards if card.compute_capability]
    install = wheels.install_line(torch, capabilities, driver_cuda, host.machine)
    if torch is None:
        yield _check("TORCH", install=install if capabilities and install else "pip install torch")
    elif not capabilities:
        return
    elif driver_cuda is not None and wheels.major(driver_cuda) < _OLDEST_CUDA:
        yield _check("DRIVER-OLD", driver_cuda=driver_cuda)
    elif install is None:
        return  # each card says so itself
    elif torch_cuda is None:
        if host.torch_rocm_version is None and host.torch_xpu_version is None:
            yield _check("CPU-WHEEL", torch=torch, install=install)
    elif driver_cuda is not None and wheels.major(driver_cuda) < wheels.major(torch_cuda):
        yield _check("DRIVER", driver_cuda=driver_cuda, torch_cuda=torch_cuda, install=install)


# ---- one card -----------------------------------------------------------------------------------


def _lost(device: Device, host: Host, facts: Facts) -> Iterator[Check]:
    reason = device.unknown.get("name") or device.unknown.get("total_bytes")
    if reason in ("lost", "reset_required") or device.unknown.get("uuid") == "lost":
        yield _check("LOST", device, reason=reason)
    elif device.unknown.get("name") == "no_permission":
        yield _check("NO-PERMISSION", device)


def _kernels(device: Device, host: Host, facts: Facts) -> Iterator[Check]:
    """Whether this torch carries code that this card can run."""
    cc, driver_cuda = device.compute_capability, host.driver_cuda_version
    if host.torch_version is None or cc is None or (driver_cuda and wheels.major(driver_cuda) < _OLDEST_CUDA):
        return
    install = wheels.install_line(host.torch_version, [cc], driver_cuda, host.machine)
    if install is None:
        yield _check("ARCH-NONE", device, cc=cc)
    elif host.torch_cuda_version is None:
        return  # said once for all cards
    elif facts.kernels.value is None:
        yield _check("ARCH-UNKNOWN", device, reason=facts.kernels.reason)
    elif not wheels.runs_on(facts.kernels.value, cc):
        yield _check("ARCH", device, cc=cc, torch=host.torch_version, install=install)
    elif _number(cc) < _OLDEST_LASTING:
        yield _check("ARCH-LAST", device, cc=cc)


def _hidden(device: Device, host: Host, facts: Facts) -> Iterator[Check]:
    if device.unknown.get("index") == "hidden":
        yield _check("HIDDEN", device)
    elif device.unknown.get("index") == "order_guessed":
        yield _check("ORDER", device, index=device.index)


def _memory(device: Device, host: Host, facts: Facts) -> Iterator[Check]:
    reason = device.unknown.get("usable_bytes")
    if reason is not None and reason not in ("lost", "reset_required", "no_permission"):
        yield _check("MEMORY-UNKNOWN", device, reason=reason)
    if device.display_active or any(process.kind == "graphics" for process in device.processes or ()):
        yield _check("DISPLAY-WINDOWS" if _is_windows(device, host) else "DISPLAY", device)
    used, total = device.used_by_others_bytes, device.total_bytes
    if used is not None and total and used > _OTHERS_FRAC * total:
        yield _others(device, host, {"used": format_bytes(used), "percent": round(100 * used / total)})
    if _is_windows(device, host):
        yield _check("SYSMEM", device)


def _others(device: Device, host: Host, share: dict[str, Value]) -> Check:
    """Who holds the memory, as far as it can be known."""
    named = [process for process in device.processes or () if process.name]
    if not named:
        return _check("OTHERS-OUTSIDE" if host.in_container else "OTHERS-UNNAMED", device, **share)
    shown = ", ".join(f"{process.name} ({process.pid})" for process in named[:_NUM_SHOWN])
    more = f", +{len(named) - _NUM_SHOWN}" if len(named) > _NUM_SHOWN else ""
    pids = ",".join(str(process.pid) for process in named)
    return _check("OTHERS", device, processes=shown + more, pids=pids, **share)


def _is_windows(device: Device, host: Host) -> bool:
    return device.driver_model == "WDDM" or "WSL2" in host.os or host.os.startswith("Windows")


def _throttling(device: Device, host: Host, facts: Facts) -> Iterator[Check]:
    reasons = set(device.throttle_reasons or ())
    if reasons & {"software_thermal", "hardware_thermal"}:
        lower_w = _watts(0.8 * device.power_limit_w if device.power_limit_w else None)
        temperature = None if device.temperature_c is None else round(device.temperature_c)
        yield _check("THROTTLE-HEAT", device, temperature_c=temperature, lower_w=lower_w)
    if "power_brake" in reasons or ("hardware_slowdown" in reasons and "hardware_thermal" not in reasons):
        yield _check("THROTTLE-HARDWARE", device)


def _power(device: Device, host: Host, facts: Facts) -> Iterator[Check]:
    limit_w, default_w, reasons = device.power_limit_w, device.default_power_limit_w, device.throttle_reasons or ()
    if limit_w and default_w and limit_w < _CAPPED_FRAC * default_w:
        check_id = "THROTTLE-POWER" if "power_cap" in reasons else "POWERCAP"
        percent = round(100 * limit_w / default_w)
        yield _check(check_id, device, limit_w=_watts(limit_w), default_w=_watts(default_w), percent=percent)
    elif limit_w and "power_cap" in reasons:
        yield _check("POWER-FULL", device, limit_w=_watts(limit_w))
    clock_mhz, max_mhz = device.sm_clock_mhz, device.max_sm_clock_mhz
    if _is_busy(device) and not reasons and clock_mhz and max_mhz and clock_mhz < _SLOW_CLOCK_FRAC * max_mhz:
        yield _check("CLOCK", device, clock_mhz=clock_mhz, max_mhz=max_mhz)


def _link(device: Device, host: Host, facts: Facts) -> Iterator[Check]:
    """Width at any time; the generation only under load, for links slow down to rest by design."""
    width, max_width = device.pcie_width, device.max_pcie_width
    if width and max_width and width < min(max_width, _NARROW_LANES):
        yield _check("PCIE", device, width=width, max_width=max_width, percent=round(100 * width / max_width))
    now, most = device.pcie_generation, device.max_pcie_generation
    if _is_busy(device) and now and most and now < most:
        yield _check("PCIE-GEN", device, generation=now, max_generation=most)


def _mode(device: Device, host: Host, facts: Facts) -> Iterator[Check]:
    is_slice = (device.uuid or "").startswith("MIG-")
    if is_slice and device.total_bytes:
        yield _check("MIG", device, total=format_bytes(device.total_bytes))
    elif device.mig_enabled:
        yield _check("MIG-EMPTY", device)
    if device.uncorrected_ecc_errors:
        yield _check("ECC", device, count=device.uncorrected_ecc_errors)
    if device.compute_mode == "prohibited":
        yield _check("COMPUTE-PROHIBITED", device)
    elif device.compute_mode == "exclusive_process" and any(p.kind == "compute" for p in device.processes or ()):
        yield _check("COMPUTE-EXCLUSIVE", device)


def _precision(device: Device, host: Host, facts: Facts) -> Iterator[Check]:
    cc = device.compute_capability
    if cc is not None and _number(cc) < 7.0:
        yield _check("BF16-FP32", device, cc=cc)
    elif cc is not None and _number(cc) < 8.0:
        yield _check("BF16", device, cc=cc)


_RULES: tuple[Callable[[Device, Host, Facts], Iterator[Check]], ...] = (
    _lost, _kernels, _hidden, _memory, _throttling, _power, _link, _mode, _precision,
)  # fmt: skip


def _is_busy(device: Device) -> bool:
    return device.utilization_frac is not None and device.utilization_frac >= _BUSY_FRAC


def _watts(power_w: float | None) -> int | None:
    return None if power_w is None else round(power_w)


def _number(compute_capability: str) -> float:
    major, minor = compute_capability.split(".")
    return int(major) + int(minor) / 10
