"""What ``cfgadvise probe`` found, as a document: the devices, what is wrong, what to do next."""

from collections import Counter
from dataclasses import replace

from advisor import units
from advisor.records import Check, Device, Probe, Severity
from reports.blocks import Block, Bullet, Bullets, Column, Document, Lang, Line, Mark, Paragraph, Section, Table
from reports.commands import is_command
from reports.messages.readings import reason_in_words
from reports.wording import Wording

_MARKS: dict[Severity, Mark] = {"blocker": "-", "warning": "!", "info": "i"}
_PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
_NEXT = "cfgadvise recommend --data DIR"
# These say what a value stands for, not why it is missing; the table or a check shows them.
_NOT_A_GAP = {"order_guessed", "hidden", "one_slice_at_a_time", "shared_with_ram", "from_torch"}


def build_probe_document(probe: Probe, lang: Lang) -> Document:
    """The machine as a report of one page."""
    kinds = {device.kind for device in probe.devices}
    w = Wording(lang, "cuda" if "cuda" in kinds else "cpu")
    return Document(
        lang=lang,
        title=w.messages.probe_title,
        subtitle=_subtitle(probe, w),
        legend=(),
        marks=w.marks,
        sections=(_devices(probe, w), _checks(probe, w)),
    )


def _subtitle(probe: Probe, w: Wording) -> str:
    host, m = probe.host, w.messages
    parts = [
        host.os,
        f"{host.cpu_name or m.unknown}, {host.num_cores} {m.machine_cores}",
        f"{m.probe_ram} {_bytes(host.ram_available_bytes, w)} / {_bytes(host.ram_total_bytes, w)}",
        f"Python {host.python_version}",
        f"torch {host.torch_version or m.unknown}",
    ]
    if host.driver_version:
        speaks = f" (CUDA {host.driver_cuda_version})" if host.driver_cuda_version else ""
        parts.append(f"{m.probe_driver} {host.driver_version}{speaks}")
    return " | ".join(parts)


# ---- devices ------------------------------------------------------------------------------------


def _devices(probe: Probe, w: Wording) -> Section:
    m = w.messages
    columns = (
        Column(title=m.probe_device, numeric=False),
        Column(title=m.machine_usable.format(memory=w.memory)),
        Column(title=m.machine_total.format(memory=w.memory)),
        Column(title=m.probe_others),
        Column(title=m.probe_power),
        Column(title=m.probe_temperature),
        Column(title=m.column_name, numeric=False),
    )
    rows = tuple(_device(device, w) for device in probe.devices)
    blocks: list[Block] = [Table(columns=columns, rows=rows) if rows else Paragraph(line=(m.probe_none,))]
    blocks += _speeds(probe, w)
    gaps = Counter(why for device in probe.devices for why in device.unknown.values() if why not in _NOT_A_GAP)
    if gaps:
        parts = (
            m.probe_unread_part.format(count=count, reason=reason_in_words(why, w.lang))
            for why, count in gaps.most_common()
        )
        blocks.append(Paragraph(line=(m.probe_unread.format(parts=m.list_separator.join(parts)),)))
    return Section(id="devices", title=m.probe_devices, blocks=tuple(blocks))


def _device(device: Device, w: Wording) -> tuple[Line, ...]:
    return (
        (_name(device),),
        (_bytes(device.usable_bytes, w),),
        (_bytes(device.total_bytes, w),),
        (_bytes(device.used_by_others_bytes, w),),
        (_power(device),),
        ("-" if device.temperature_c is None else f"{device.temperature_c:.0f} C",),
        (device.name.removeprefix("NVIDIA "),),
    )


def _power(device: Device) -> str:
    if device.power_w is None:
        return "-"
    limit = "" if device.power_limit_w is None else f"/{device.power_limit_w:.0f}"
    return f"{device.power_w:.0f}{limit} W"


def _bytes(num_bytes: int | None, w: Wording) -> str:
    return w.messages.unknown if num_bytes is None else units.format_bytes(num_bytes)


def _name(device: Device) -> str:
    """``cuda:0``; what training does not see bears the number that nvidia-smi shows."""
    if device.index is None:
        return device.kind if device.nvml_index is None else f"GPU {device.nvml_index}"
    return f"{device.kind}:{device.index}"


# ---- speeds -------------------------------------------------------------------------------------


def _speeds(probe: Probe, w: Wording) -> list[Block]:
    """Measured rates beside the table's; the PCIe link as it was seen, under load where there was one."""
    m = w.messages
    shown = [d for d in probe.devices if d.benchmark or d.peaks or d.pcie_width or d.compute_capability]
    if not shown:
        return []
    with_bench = any(device.benchmark for device in shown)
    with_upload = any(device.benchmark and device.benchmark.host_to_device_gb_s for device in shown)
    titles = ("CC", *_PRECISIONS, m.probe_copy, *([m.probe_upload] if with_upload else []), m.probe_link)
    columns = tuple(Column(title=title) for title in titles)
    rows = [_speed(device, with_bench=with_bench, with_upload=with_upload) for device in shown]
    head = Column(title=m.probe_device, numeric=False)
    if not with_bench:
        return [Table(columns=(head, *columns), rows=tuple(rows)), Paragraph(line=(m.probe_peaks,))]
    num_rates = 1 + len(_PRECISIONS)  # one table with two figures a cell would be wider than 80 columns
    return [
        Table(columns=(head, *columns[:num_rates]), rows=tuple(row[: 1 + num_rates] for row in rows)),
        Table(columns=(head, *columns[num_rates:]), rows=tuple((row[0], *row[1 + num_rates :]) for row in rows)),
        Paragraph(line=(m.probe_bench,)),
    ]


def _speed(device: Device, *, with_bench: bool, with_upload: bool) -> tuple[Line, ...]:
    bench, peaks = device.benchmark, device.peaks
    names = (*(f"{precision}_tflops" for precision in _PRECISIONS), "copy_gb_s")
    cells = []
    for name in names:
        best = getattr(peaks, name.replace("copy", "bandwidth"), None)
        at_best = "-" if best is None else f"{'~' if peaks and peaks.estimated else ''}{_figure(best)}"
        measured = _figure(getattr(bench, name, None))
        cells.append(at_best if not with_bench else "-" if measured == at_best == "-" else f"{measured}/{at_best}")
    if with_upload:
        cells.append(_figure(bench.host_to_device_gb_s if bench else None))
    return tuple((cell,) for cell in (_name(device), device.compute_capability or "-", *cells, _link(device)))


def _figure(rate: float | None) -> str:
    """Three digits; all digits before the point."""
    return "-" if rate is None else f"{rate:.3g}" if rate < 999.5 else f"{rate:.0f}"


def _link(device: Device) -> str:
    load = device.benchmark.load if device.benchmark else None
    generation = (load.pcie_generation if load else None) or device.pcie_generation
    if generation is None or device.pcie_width is None:
        return "-"
    most = device.max_pcie_width
    return f"gen{generation} x{device.pcie_width}" + (f"/x{most}" if most and most != device.pcie_width else "")


# ---- checks -------------------------------------------------------------------------------------


def _checks(probe: Probe, w: Wording) -> Section:
    m = w.messages
    items = [_check(check, probe, w) for check in probe.checks]
    fine = [m.probe_topics[topic] for topic in _fine_topics(probe)]
    if fine:
        items.append(Bullet(mark="+", line=(m.probe_fine.format(topics=m.list_separator.join(fine)),)))
    blocks: list[Block] = [] if probe.checks else [Paragraph(line=(m.probe_no_checks,))]
    if items:
        blocks.append(Bullets(items=tuple(items)))
    if not any(check.severity == "blocker" for check in probe.checks):
        blocks.append(Paragraph(line=(m.probe_next.format(command=_NEXT),)))
    return Section(id="checks", title=m.probe_checks, blocks=tuple(blocks))


def _check(check: Check, probe: Probe, w: Wording) -> Bullet:
    message, fix = w.check(_in_words(check, w.lang))
    said = f"{check.id}{_where(check, probe)}: {message}"
    if fix is None:
        return Bullet(mark=_MARKS[check.severity], line=(said,))
    if is_command(check.fix or ""):
        return Bullet(mark=_MARKS[check.severity], line=(said,), command=fix)
    return Bullet(mark=_MARKS[check.severity], line=(f"{said}{w.messages.probe_fix}{fix}",))


def _in_words(check: Check, lang: Lang) -> Check:
    reason = check.values.get("reason")
    if not isinstance(reason, str):
        return check
    words = reason_in_words(reason, lang)
    said = check.message.replace(f"({reason})", f"({words})")
    return replace(check, values={**check.values, "reason": words}, message=said)


def _where(check: Check, probe: Probe) -> str:
    """The card that a check speaks of, as the table of devices names it."""
    uuid, nvml_index = check.values.get("uuid"), check.values.get("nvml_index")
    about = [device for device in probe.devices if (device.uuid, device.nvml_index) == (uuid, nvml_index)]
    if nvml_index is not None and about:
        return f" {_name(about[0])}"
    return "" if check.device is None else f" {check.device}"


def _fine_topics(probe: Probe) -> list[str]:
    """What was looked at, on every card, without finding anything wrong."""
    found = {check.id for check in probe.checks}
    host, cards = probe.host, [device for device in probe.devices if device.kind == "cuda"]

    def read(field: str) -> bool:
        return bool(cards) and all(getattr(card, field) is not None for card in cards)

    topics = {
        "kernels": (
            {"TORCH", "ARCH", "ARCH-NONE", "ARCH-UNKNOWN"}, host.torch_cuda_version and read("compute_capability"),
        ),
        "driver": ({"DRIVER", "DRIVER-OLD"}, host.driver_cuda_version and host.torch_cuda_version),
        "throttling": (
            {"THROTTLE-HEAT", "THROTTLE-HOT", "THROTTLE-POWER", "THROTTLE-HARDWARE"}, read("throttle_reasons"),
        ),
        "power": ({"POWERCAP", "THROTTLE-POWER"}, read("power_limit_w") and read("default_power_limit_w")),
        "link": ({"PCIE", "PCIE-GEN"}, read("pcie_width")),
        "ecc": ({"ECC"}, read("uncorrected_ecc_errors")),
        "others": (
            {"OTHERS", "OTHERS-UNNAMED", "OTHERS-OUTSIDE", "DISPLAY", "DISPLAY-WINDOWS"}, read("used_by_others_bytes"),
        ),
        "shm": ({"SHM"}, host.in_container and host.shared_memory_bytes is not None),
        "disk": ({"DISK"}, host.disk_free_bytes is not None),
    }  # fmt: skip
    return [topic for topic, (wrong, was_read) in topics.items() if was_read and not found & wrong]
