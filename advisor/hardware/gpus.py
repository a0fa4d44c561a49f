"""What a card can do at best, from a table in which every figure has its source.

Public tables are full of traps (sparse figures, per-pair figures, CUDA-core rates in the place of
tensor-core rates), so ``gpus.csv`` is our own: dense rates with float32 accumulation, each checked
against SMs x operations a clock x clock. Drivers print names in many forms, so names are compared as
sets of tokens; memory and core count tell variants of one name apart.
"""

import csv
import difflib
import functools
import re
from pathlib import Path

from advisor.errors import UsageError
from advisor.records import Device, Peaks, record
from advisor.units import GIB

TABLE = Path(__file__).with_name("gpus.csv")

_NOISE = {
    "nvidia", "amd", "corporation", "geforce", "rtx", "tesla", "grid", "instinct", "gpu", "graphics", "card", "whole",
    "per", "gcd", "generation", "blackwell", "workstation", "server", "edition", "oam", "founders", "dgx",
}  # fmt: skip
_FORMS = {"pcie", "sxm", "sxm2", "sxm3", "sxm4", "sxm5", "nvl", "hbm2e", "hbm3"}
_FORM_BEHIND_MEMORY = {"hbm3": "sxm5", "hbm2e": "pcie"}  # "H100 80GB HBM3" is how the SXM5 board names itself
_BOARDS_WITHOUT_FORM = {"h200": "sxm5", "b200": "sxm6"}  # every other name without one is a PCIe card
_MIG = re.compile(r"\s+MIG\s+(?:\d+c\.)?(\d+)g\.(\d+)gb.*$", re.IGNORECASE)
_VGPU = re.compile(r"-\d+[ABCQ](?:ME)?$")
_MEMORY_FITS = (0.85, 1.06)  # ECC, firmware and rounding take up to an eighth of what the box says
_MIG_COMPUTE_PARTS, _MIG_MEMORY_PARTS = 7, 8

_CORES_PER_SM = {"6.0": 64, "7.0": 64, "7.2": 64, "7.5": 64, "8.0": 64}  # all others 128
_FMA_PER_CLOCK = {7: 512, 8: 512, 9: 2048, 10: 4096, 12: 512}  # tensor cores of one SM, by major capability
_FMA_PER_CLOCK_8_0 = 1024
_FMA_PER_CLOCK_GEFORCE = 256  # half rate with float32 accumulation


@record
class Gpu:
    """One row of the table. Rates are dense, with float32 accumulation; unknown is ``None``."""

    name: str
    vendor: str
    architecture: str
    compute_capability: str | None
    memory_gb: float
    bandwidth_gb_s: float | None
    fp32_tflops: float | None
    tf32_tflops: float | None
    fp16_tflops: float | None
    bf16_tflops: float | None
    tdp_w: float | None
    num_sms: int | None
    source: str


@functools.cache
def read_table() -> tuple[Gpu, ...]:
    """All cards of the table, in its order."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(_gpu(row) for row in csv.DictReader(file))


def find_gpu(name: str, memory_bytes: int | None = None, num_cores: int | None = None) -> Gpu | None:
    """The card of that name, as a driver prints it or a person writes it; ``None`` if it is not in the table.

    Where several variants bear the name, memory and core count decide, else the slowest is taken:
    a figure should not promise too much.
    """
    wanted = _Name(_VGPU.sub("", _MIG.sub("", name.strip())))
    matching = [gpu for gpu in read_table() if wanted.fits(gpu)]
    if memory_bytes is not None:
        low, high = _MEMORY_FITS
        matching = [gpu for gpu in matching if low <= memory_bytes / GIB / gpu.memory_gb <= high]
    if num_cores is not None:
        matching = [gpu for gpu in matching if gpu.num_sms is None or _cores(gpu) == num_cores]
    return min(matching, key=lambda gpu: (gpu.fp16_tflops or 0, gpu.bandwidth_gb_s or 0), default=None)


def named(name: str) -> tuple[Gpu, ...]:
    """All cards that a person may mean by this name.

    Raises:
        UsageError: if there is none; the message shows the nearest names.
    """
    wanted = _Name(name.strip())
    matching = tuple(gpu for gpu in read_table() if wanted.fits(gpu))
    if not matching:
        names = {gpu.name.lower(): gpu.name for gpu in read_table()}
        short = {re.sub(r"nvidia |geforce |tesla |amd |instinct ", "", key): known for key, known in names.items()}
        close = [short[key] for key in difflib.get_close_matches(name.lower(), short, n=3, cutoff=0.3)]
        raise UsageError(f"{name!r} is not in the table of GPUs; near it: {', '.join(close) or 'nothing'}")
    return matching


def peaks_of(device: Device) -> Peaks | None:
    """The best that this device can do: from the table, as a share of a card, or estimated from its clocks."""
    part = _MIG.search(device.name)
    is_part = part is not None or _VGPU.search(device.name) is not None
    memory_bytes = None if is_part or device.integrated else device.total_bytes
    gpu = find_gpu(device.name, memory_bytes, None if is_part else device.num_cores)
    if gpu is None:
        return None if is_part else _estimate(device)
    if part is None:
        return _peaks(gpu, 1, 1, estimated=is_part)
    compute_frac = int(part.group(1)) / _MIG_COMPUTE_PARTS
    memory_frac = min(1.0, round(_MIG_MEMORY_PARTS * int(part.group(2)) / gpu.memory_gb) / _MIG_MEMORY_PARTS)
    return _peaks(gpu, compute_frac, memory_frac, estimated=True)


# ---- names --------------------------------------------------------------------------------------


class _Name:
    """A card's name taken apart: model, board form, memory."""

    def __init__(self, name: str) -> None:
        text = re.sub(r"(rtx|gtx)(\d)", r"\1 \2", name.lower())
        text = re.sub(r"\b(\d{4})(ti|super)", r"\1 \2", text)
        tokens = set(re.findall(r"[a-z0-9]+", re.sub(r"(\d+)\s*gi?b\b", r" \1gb ", text)))
        sizes = {token for token in tokens if re.fullmatch(r"\d+gb", token)}
        forms = tokens & _FORMS
        self.memory_gb = int(next(iter(sizes))[:-2]) if len(sizes) == 1 else None
        self.form = next((_FORM_BEHIND_MEMORY.get(form, form) for form in sorted(forms)), None)
        self.model = frozenset(tokens - sizes - forms - _NOISE)

    def fits(self, gpu: Gpu) -> bool:
        """Whether this may be the card of that row; what the name leaves out fits anything."""
        row = _Name(gpu.name)
        form = row.form or next((_BOARDS_WITHOUT_FORM[m] for m in row.model if m in _BOARDS_WITHOUT_FORM), "pcie")
        same_form = self.form is None or form.startswith(self.form)
        same_memory = self.memory_gb is None or self.memory_gb == round(gpu.memory_gb)
        return self.model == row.model and same_form and same_memory


# ---- figures ------------------------------------------------------------------------------------


def _gpu(row: dict[str, str]) -> Gpu:
    return Gpu(
        name=row["name"],
        vendor=row["vendor"],
        architecture=row["arch"],
        compute_capability=row["compute_capability"] or None,
        memory_gb=float(row["memory_gb"]),
        bandwidth_gb_s=_figure(row["bandwidth_gb_s"]),
        fp32_tflops=_figure(row["fp32_tflops"]),
        tf32_tflops=_figure(row["tf32_dense_tflops"]),
        fp16_tflops=_figure(row["fp16_dense_tflops"]),
        bf16_tflops=_figure(row["bf16_dense_tflops"]),
        tdp_w=_figure(row["tdp_w"]),
        num_sms=int(row["sm_count"]) if row["sm_count"] else None,
        source=row["source"],
    )


def _figure(text: str) -> float | None:
    return float(text) if text else None


def _cores(gpu: Gpu) -> int:
    return (gpu.num_sms or 0) * _CORES_PER_SM.get(gpu.compute_capability or "", 128)


def _peaks(gpu: Gpu, compute_frac: float, memory_frac: float, *, estimated: bool) -> Peaks:
    share = "" if compute_frac == 1 else f"{compute_frac:.2f} of the compute, {memory_frac:.2f} of the memory of: "
    return Peaks(
        name=gpu.name,
        estimated=estimated,
        fp32_tflops=_scaled(gpu.fp32_tflops, compute_frac),
        tf32_tflops=_scaled(gpu.tf32_tflops, compute_frac),
        fp16_tflops=_scaled(gpu.fp16_tflops, compute_frac),
        bf16_tflops=_scaled(gpu.bf16_tflops, compute_frac),
        bandwidth_gb_s=_scaled(gpu.bandwidth_gb_s, memory_frac),
        source=share + gpu.source,
    )


def _scaled(figure: float | None, frac: float) -> float | None:
    return None if figure is None else round(figure * frac, 1)


def _estimate(device: Device) -> Peaks | None:
    """Rates from cores and clocks; an upper bound, for the highest clock is not held under load."""
    cc, num_cores, clock_mhz = device.compute_capability, device.num_cores, device.max_sm_clock_mhz
    if cc is None or num_cores is None or clock_mhz is None:
        return None
    fp32_tflops = num_cores * 2 * clock_mhz / 1e6
    num_sms = num_cores // _CORES_PER_SM.get(cc, 128)
    tensor_tflops = num_sms * _fma_per_clock(cc, device.name) * 2 * clock_mhz / 1e6
    has_bf16 = int(cc.split(".")[0]) >= 8
    return Peaks(
        name=device.name,
        estimated=True,
        fp32_tflops=round(fp32_tflops, 1),
        tf32_tflops=round(tensor_tflops / 2, 1) if has_bf16 else None,
        fp16_tflops=round(tensor_tflops, 1) if tensor_tflops else None,
        bf16_tflops=round(tensor_tflops, 1) if has_bf16 else None,
        bandwidth_gb_s=_bandwidth(device),
        source=f"estimated: {num_cores} cores, compute capability {cc}, at the highest clock of {clock_mhz} MHz",
    )


def _fma_per_clock(compute_capability: str, name: str) -> int:
    major = int(compute_capability.split(".")[0])
    if compute_capability == "8.0":
        return _FMA_PER_CLOCK_8_0
    if "geforce" in name.lower() and major >= 7:
        return _FMA_PER_CLOCK_GEFORCE
    return _FMA_PER_CLOCK.get(major, 0)


def _bandwidth(device: Device) -> float | None:
    """Bytes a second over the memory bus: NVML's clock counts half of the transfers."""
    if device.memory_bus_bits is None or device.max_memory_clock_mhz is None:
        return None
    return round(device.memory_bus_bits / 8 * 2 * device.max_memory_clock_mhz / 1000, 1)
