"""What is wrong on this machine: pure functions from facts to checks.

The sentences are in :mod:`advisor.hardware.check_texts`. The values of a check about a card always
hold its ``uuid``, ``nvml_index`` and ``name``.
"""

from collections.abc import Callable, Iterator

from advisor.hardware import wheels
from advisor.hardware.check_texts import CATALOGUE
from advisor.hardware.nvml import Reading
from advisor.records import Check, Device, Host, Value, record
from advisor.units import GIB, format_bytes

_OTHERS_FRAC = 0.02  # less than this of a card is a driver's housekeeping, not somebody's job
_CAPPED_FRAC = 0.97
_SLOW_CLOCK_FRAC = 0.85
_COOLER_FRAC = 0.8
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


def find_checks(host: Host, devices: tuple[Device, ...], facts: Facts) -> tuple[Check, ...]:
    """Everything that is wrong, blockers first, then warnings, then remarks; within these by device."""
    found = [*_host_checks(host, devices, facts)]
    for device in devices:
        if device.kind == "cuda":
            for rule in _RULES:
                found.extend(rule(device, host, facts))
    return _by_severity(found)


def find_checks_under_load(
    checks: tuple[Check, ...], host: Host, at_rest: Device, at_work: Device
) -> tuple[Check, ...]:
    """The checks with those about one card's speed made anew from its state at work."""
    facts = Facts(nvml_problem=None, kernels=Reading(reason="not_asked"))
    before = [check for rule in _SPEED_RULES for check in rule(at_rest, host, facts)]
    now = [check for rule in _SPEED_RULES for check in rule(at_work, host, facts)]
    return _by_severity([*(check for check in checks if check not in before), *now])


def _by_severity(found: list[Check]) -> tuple[Check, ...]:
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
    guessed = [f"cuda:{device.index}" for device in devices if device.unknown.get("index") == "order_guessed"]
    if guessed:
        yield _check("ORDER", cards=", ".join(guessed))
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
    reason = next((reason for reason in device.unknown.values() if reason in ("lost", "reset_required")), None)
    if reason is not None:
        yield _check("LOST", device, reason=reason)
    elif device.unknown.get("name") == "no_permission":
        yield _check("NO-PERMISSION", device)


def _kernels(device: Device, host: Host, facts: Facts) -> Iterator[Check]:
    """Whether this torch carries code that this card can run."""
    cc, driver_cuda = device.compute_capability, host.driver_cuda_version
    if host.torch_version is None or cc is None or device.nvml_index is None:
        return
    if wheels.install_line(None, [cc], None, host.machine) is None:
        yield _check("ARCH-NONE", device, cc=cc)
        return
    install = wheels.install_line(host.torch_version, [cc], driver_cuda, host.machine)
    if install is None or host.torch_cuda_version is None:
        return  # said once for all cards
    if facts.kernels.value is None:
        yield _check("ARCH-UNKNOWN", device, reason=facts.kernels.reason)
    elif not wheels.runs_on(facts.kernels.value, cc):
        yield _check("ARCH", device, cc=cc, torch=host.torch_version, install=install)
    elif _number(cc) < _OLDEST_LASTING:
        yield _check("ARCH-LAST", device, cc=cc)


def _hidden(device: Device, host: Host, facts: Facts) -> Iterator[Check]:
    if device.unknown.get("index") == "hidden":
        yield _check("HIDDEN", device)


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
        if device.temperature_c is None or device.power_limit_w is None:  # as on laptops
            yield _check("THROTTLE-HOT", device)
        else:
            lower_w = _watts(_COOLER_FRAC * device.power_limit_w)
            yield _check("THROTTLE-HEAT", device, temperature_c=round(device.temperature_c), lower_w=lower_w)
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


_Rule = Callable[[Device, Host, Facts], Iterator[Check]]
_SPEED_RULES: tuple[_Rule, ...] = (_throttling, _power, _link)
_RULES: tuple[_Rule, ...] = (_lost, _kernels, _hidden, _memory, *_SPEED_RULES, _mode, _precision)


def _is_busy(device: Device) -> bool:
    return device.utilization_frac is not None and device.utilization_frac >= _BUSY_FRAC


def _watts(power_w: float | None) -> int | None:
    return None if power_w is None else round(power_w)


def _number(compute_capability: str) -> float:
    major, minor = compute_capability.split(".")
    return int(major) + int(minor) / 10
