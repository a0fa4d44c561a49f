"""How fast a card computes one operator: a roofline with a utilisation curve, its coefficients fitted to measurements.

``t = fixed + max(2 G M N K / (eta u P), bytes / (mu BW))`` for G products of an M x K with a K x N matrix, where the
utilisation ``u = 1/(1 + a/w) K/(K + k0) s/(s + n0)`` falls for few waves of 128 x 128 tiles (``w = G M N / (128^2
SMs)``), short sums and thin matrices (``s = min(M, N)``), and by the power ``p`` of ``K/8192`` beyond it.
Roofline: Williams et al., doi 10.1145/1498765.1498785; waves and utilisation: NeuSight, doi 10.1145/3669940.3707265.

``efficiencies.json`` is written by ``benchmarks/fit_efficiencies.py``, which says what was measured.
"""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

from advisor.errors import DeviceError
from advisor.hardware.gpus import Gpu
from advisor.predict.operators import Operator
from advisor.records import record

TABLE = Path(__file__).with_name("efficiencies.json")
TILE = 128
LONG_SUM = 8192
MATRIX_KINDS = ("convolution", "linear", "bmm")
MEMORY_KINDS = ("elementwise", "normalisation", "softmax")
HBM_CAPABILITIES = ("6.0", "7.0", "8.0", "9.0", "10.0")  # the chips that are sold with HBM
LOW_POWER_W = 75

# Rules, not fits: no kernel on tensor cores, no fused attention and no backward kernel was published one by one.
TENSOR_FRAC = 0.55  # of the share of the peak that the same product reaches on CUDA cores
FUSED_ATTENTION_FRAC = 0.5
UNMEASURED_LOG_SD = 0.35
SHORTEST_KERNEL_S = 3e-6  # between the starts of two kernels in a queue that is full
_TENSOR_PRECISIONS = ("tf32", "fp16", "bf16")


@record
class Coefficients:
    """Of one kind of operator on one card. ``log_sd``: of the time of a handful of such operators together."""

    peak_frac: float = 1.0
    wave_waste: float = 0.0
    short_sum: float = 0.0
    thin_matrix: float = 0.0
    irregular_frac: float = 1.0
    long_sum_power: float = 0.0
    bandwidth_frac: float
    fixed_s: float
    call_s: float
    log_sd: float
    num_kernels: int


@record
class CardEfficiency:
    """All kinds on one card, and its best rates. ``measured_on``: the cards that the coefficients are from."""

    name: str
    measured_on: tuple[str, ...]
    is_own: bool
    kinds: dict[str, Coefficients]
    flops_per_s: dict[str, float]
    bytes_per_s: float
    num_sms: int
    host_call_s: float


def kernel_time_s(
    one: Operator | Any, fitted: Coefficients, flops_per_s: float, bytes_per_s: float, num_sms: int
) -> Any:
    """Seconds on the card, without what a call costs the host. Sizes may be arrays of one length."""
    memory_s = one.num_bytes / (fitted.bandwidth_frac * bytes_per_s)
    if np.all(one.products == 0):
        return fitted.fixed_s + memory_s
    waves = one.products * one.m * one.n / (TILE * TILE * num_sms)
    side = np.minimum(one.m, one.n)
    share = fitted.peak_frac / (1 + fitted.wave_waste / waves)
    share = share * one.k / (one.k + fitted.short_sum) * side / (side + fitted.thin_matrix)
    share = share * np.where(np.asarray(one.m) % 32 == 0, 1.0, fitted.irregular_frac)
    share = share * np.maximum(1.0, one.k / LONG_SUM) ** -fitted.long_sum_power
    work_s = 2.0 * one.products * one.m * one.n * one.k / (share * flops_per_s)
    return fitted.fixed_s + np.maximum(work_s, memory_s)


def operator_time_s(one: Operator, card: CardEfficiency) -> float:
    """Seconds that one call occupies the card."""
    kind, fitted = one.kind, card.kinds.get(one.kind)
    on_tensor_cores = one.precision in _TENSOR_PRECISIONS and card.flops_per_s[one.precision] > card.flops_per_s["fp32"]
    factor = 1.0
    if kind == "attention":
        fitted, factor = card.kinds["bmm"], FUSED_ATTENTION_FRAC
    elif kind == "convolution" and (on_tensor_cores or not one.is_plain):
        fitted = card.kinds["linear"]  # no Winograd there
    if on_tensor_cores and one.products:
        factor *= TENSOR_FRAC
    assert fitted is not None  # noqa: S101 - every other kind is in the table
    seconds = kernel_time_s(one, fitted, factor * card.flops_per_s[one.precision], card.bytes_per_s, card.num_sms)
    return max(float(seconds), SHORTEST_KERNEL_S * one.launches)


def log_sd_of(one: Operator, card: CardEfficiency) -> float:
    """Standard deviation of the logarithm of the time of such operators."""
    known = card.kinds.get(one.kind)
    measured = known is not None and (one.precision == "fp32" or not one.products)
    if known is None or not measured:
        return UNMEASURED_LOG_SD
    as_measured = one.is_plain and not one.is_backward
    return known.log_sd if as_measured else max(known.log_sd, UNMEASURED_LOG_SD)


# ---- cards --------------------------------------------------------------------------------------


def efficiency_of(gpu: Gpu) -> CardEfficiency:
    """What is known of this card: its own kernels, else those of cards like it.

    Raises:
        DeviceError: if the table of cards does not give its rates.
    """
    if gpu.fp32_tflops is None or gpu.bandwidth_gb_s is None or gpu.num_sms is None:
        raise DeviceError(f"the time of a step on a {gpu.name} cannot be predicted: its rates are not known")
    table = _table()
    group = table["groups"][group_of(gpu)]
    own = table["cards"].get(gpu.name)
    kinds = {name: Coefficients(**values) for name, values in group["kinds"].items()}
    kinds |= {name: Coefficients(**values) for name, values in (own["kinds"] if own else {}).items()}
    return CardEfficiency(
        name=gpu.name,
        measured_on=(gpu.name,) if own else tuple(group["cards"]),
        is_own=own is not None,
        kinds=kinds,
        flops_per_s=flops_per_s(gpu),
        bytes_per_s=1e9 * gpu.bandwidth_gb_s,
        num_sms=gpu.num_sms,
        host_call_s=(own or group)["host_call_s"],
    )


def group_of(gpu: Gpu) -> str:
    """Cards that use their peak alike: with HBM, held back by a small power limit, or any."""
    if gpu.compute_capability in HBM_CAPABILITIES:
        return "hbm"
    return "low_power" if gpu.tdp_w is not None and gpu.tdp_w <= LOW_POWER_W else "any"


def flops_per_s(gpu: Gpu) -> dict[str, float]:
    """Peak of every precision as PyTorch's kernels use it.

    Before tensor cores, products in half precision are summed in float32 at its rate (a P100's half2 rate is not
    for them), and bfloat16 is emulated before compute capability 8.
    """
    fp32 = gpu.fp32_tflops or 0.0
    capability = float(gpu.compute_capability or 0)
    rates = {
        "fp32": fp32,
        "tf32": gpu.tf32_tflops or fp32,
        "fp16": (gpu.fp16_tflops or fp32) if capability >= 7.0 else fp32,
        "bf16": (gpu.bf16_tflops or fp32) if capability >= 8.0 else fp32,
        "fp64": fp32 / (2 if gpu.compute_capability in HBM_CAPABILITIES else 32),
    }
    return {name: 1e12 * tflops for name, tflops in rates.items()}


@functools.cache
def _table() -> dict[str, Any]:
    return dict(json.loads(TABLE.read_text(encoding="utf-8")))
