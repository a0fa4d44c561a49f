"""The device that a user means by ``--device``, and why it may not be used."""

from dataclasses import replace

from advisor.errors import DeviceError
from advisor.records import Check, Device, Probe
from advisor.units import format_bytes


def choose_device(probe: Probe, request: str) -> Device:
    """The device that was asked for: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or a (shortened) UUID.

    ``auto`` is the card with the most usable memory on which this torch can run, else the CPU.

    Raises:
        DeviceError: if it is not there or cannot be used; the message says why and what there is.
    """
    usable = [device for device in probe.devices if device.kind != "cpu" and not problem_with(probe, device)]
    best = max(usable, key=lambda device: device.usable_bytes or 0, default=None)
    if request == "auto":
        return best or find_device(probe, "cpu")
    if request == "cuda" and best is not None:
        return best
    device = find_device(probe, request)
    problem = problem_with(probe, device)
    if problem:
        raise DeviceError(f"--device {request}: {problem}")
    return device


def find_device(probe: Probe, request: str) -> Device:
    """The device of that name, whether it can be used or not.

    Raises:
        DeviceError: if there is none, or the name fits several.
    """
    matching = [device for device in probe.devices if _answers_to(device, request.lower())]
    if len(matching) == 1:
        return matching[0]
    if matching and request != "cuda":
        raise DeviceError(f"--device {request}: this begins several UUIDs; give more of it")
    if matching:
        raise DeviceError(f"--device cuda: {problem_with(probe, matching[0])}")
    raise DeviceError(f"--device {request}: {_what_there_is(probe)}")


def only_device(probe: Probe, request: str) -> Probe:
    """The probe without other devices and what is said of them.

    Raises:
        DeviceError: if there is no such device.
    """
    device = find_device(probe, request)
    checks = tuple(check for check in probe.checks if check_is_about(check, device))
    return replace(probe, devices=(device,), checks=checks)


def problem_with(probe: Probe, device: Device) -> str | None:
    """Why training cannot run on this device now, or ``None``."""
    if device.kind == "cpu":
        return None
    for check in probe.checks:
        if check.severity == "blocker" and check_is_about(check, device):
            return f"{device.name}: {check.message} {check.fix or ''}".strip()
    if device.kind == "cuda" and device.index is None:
        return f"{device.name}: CUDA does not show it to this process; start with CUDA_VISIBLE_DEVICES={device.uuid}"
    return None


def check_is_about(check: Check, device: Device) -> bool:
    """Whether a check speaks of this card; one without a card speaks of all."""
    if "nvml_index" not in check.values:
        return True
    return (check.values["nvml_index"], check.values["uuid"]) == (device.nvml_index, device.uuid)


def _answers_to(device: Device, name: str) -> bool:
    if name == device.kind:
        return True
    if device.index is not None and name in (f"{device.kind}:{device.index}", str(device.index)):
        return True
    return len(name) > 4 and device.uuid is not None and device.uuid.lower().startswith(name)


def _what_there_is(probe: Probe) -> str:
    cards = [device for device in probe.devices if device.kind != "cpu"]
    if cards:
        return f"there is no such device; there are cpu, {', '.join(map(_shown, cards))}"
    blocker = next((check for check in probe.checks if check.severity == "blocker"), None)
    reason = f" ({blocker.message} {blocker.fix or ''})" if blocker else ""
    return f"no GPU was found on this machine; use --device cpu{reason}"


def _shown(device: Device) -> str:
    name = "hidden" if device.index is None else f"{device.kind}:{device.index}"
    usable = "memory unknown" if device.usable_bytes is None else f"{format_bytes(device.usable_bytes)} usable"
    return f"{name} ({device.name}, {usable})"
