"""What ``cfgadvise probe`` found, as a document: the devices, what is wrong, what to do next."""

from advisor import units
from advisor.records import Device, Probe, Severity
from reports.blocks import Block, Bullet, Bullets, Column, Document, Lang, Line, Mark, Paragraph, Section, Table
from reports.wording import Wording

_MARKS: dict[Severity, Mark] = {"blocker": "-", "warning": "!", "info": "i"}


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
        parts.append(f"{m.probe_driver} {host.driver_version}")
    return " | ".join(parts)


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
    blocks += _benchmarks(probe, w)
    unknown = sorted({f"{name}: {why}" for device in probe.devices for name, why in device.unknown.items()})
    if unknown:
        blocks.append(Paragraph(line=(m.probe_unknown.format(fields="; ".join(unknown)),)))
    return Section(id="devices", title=m.probe_devices, blocks=tuple(blocks))


def _device(device: Device, w: Wording) -> tuple[Line, ...]:
    name = device.name if not device.compute_capability else f"{device.name} (cc {device.compute_capability})"
    return (
        (_name(device),),
        (_bytes(device.usable_bytes, w),),
        (_bytes(device.total_bytes, w),),
        (_bytes(device.used_by_others_bytes, w),),
        (_power(device),),
        ("-" if device.temperature_c is None else f"{device.temperature_c:.0f} C",),
        (name,),
    )


def _power(device: Device) -> str:
    if device.power_w is None:
        return "-"
    limit = "" if device.power_limit_w is None else f"/{device.power_limit_w:.0f}"
    return f"{device.power_w:.0f}{limit} W"


def _checks(probe: Probe, w: Wording) -> Section:
    m = w.messages
    if not probe.checks:
        return Section(id="checks", title=m.probe_checks, blocks=(Paragraph(line=(m.probe_no_checks,)),))
    items = []
    for check in probe.checks:
        message, fix = w.check(check)
        where = "" if check.device is None else f" {m.probe_device} {check.device}"
        said = f"{check.id}{where}: {message}"
        items.append(Bullet(mark=_MARKS[check.severity], line=(f"{said} {m.probe_fix}{fix}" if fix else said,)))
    return Section(id="checks", title=m.probe_checks, blocks=(Bullets(items=tuple(items)),))


def _bytes(num_bytes: int | None, w: Wording) -> str:
    return w.messages.unknown if num_bytes is None else units.format_bytes(num_bytes)


def _benchmarks(probe: Probe, w: Wording) -> list[Block]:
    m = w.messages
    rows: list[tuple[Line, ...]] = []
    for device in probe.devices:
        bench = device.benchmark
        if bench is None:
            continue
        rates = (bench.fp32_tflops, bench.tf32_tflops, bench.fp16_tflops, bench.bf16_tflops, bench.copy_gb_s)
        rows.append(((_name(device),), *((f"{rate:.3g}" if rate is not None else "-",) for rate in rates)))
    if not rows:
        return []
    precisions = (f"{name} {m.probe_bench_unit}" for name in ("fp32", "tf32", "fp16", "bf16"))
    titles = (Column(title=m.probe_device, numeric=False), *map(_column, (*precisions, m.probe_copy)))
    return [Paragraph(line=(m.probe_bench,)), Table(columns=titles, rows=tuple(rows))]


def _column(title: str) -> Column:
    return Column(title=title)


def _name(device: Device) -> str:
    return device.kind if device.index is None else f"{device.kind}:{device.index}"
