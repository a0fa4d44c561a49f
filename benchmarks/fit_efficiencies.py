"""Fits how much of its peak a card reaches, by kind of operator, to published times of single kernels.

    python -m benchmarks.fit_efficiencies [--data FILE.csv.gz] [--json]

Writes ``advisor/predict/efficiencies.json``. Every card has its own coefficients; cards that were not measured get
those of a group, whose error is that of each member predicted from the others (leave one card out). Float32, forward
only: that is what was published. No training step and no whole network is looked at.
"""

import argparse
import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from advisor.hardware.gpus import find_gpu
from advisor.predict.efficiency import TABLE, Coefficients, group_of, kernel_time_s

HERE = Path(__file__).resolve().parent
CARDS = {
    "P100-PCIe-16GB": "Tesla P100-PCIE-16GB",
    "P4": "Tesla P4",
    "T4": "Tesla T4",
    "V100-PCIe-32GB": "Tesla V100-PCIE-32GB",
    "A100-PCIe-40GB": "NVIDIA A100-PCIE-40GB",
    "A100-PCIe-80GB": "NVIDIA A100 80GB PCIe",
    "H100-SXM-80GB": "NVIDIA H100 80GB HBM3",
    "L4": "NVIDIA L4",
}
# What a small operator takes beyond an empty interval, microseconds, in eager PyTorch on the host of each card:
# medians of the nodes sub, mul, truediv, gelu, tanh below 50,000 elements less those of `size` in NeuSight's
# per-node times (neusight_model_ops, which were taken on the same hosts).
HOST_CALL_US = {
    "P100-PCIe-16GB": 16.0, "P4": 14.3, "T4": 14.5, "V100-PCIe-32GB": 14.8,
    "A100-PCIe-40GB": 11.5, "A100-PCIe-80GB": 13.7, "H100-SXM-80GB": 5.9, "L4": 13.7,
}  # fmt: skip
KINDS = {"linear": ("linear",), "bmm": ("bmm",), "convolution": ("conv",), "normalisation": ("ln",),
         "softmax": ("softmax",), "elementwise": ("add", "mul", "div", "pow", "addu", "mulu", "divu", "powu",
                                                  "relu", "gelu", "tanh")}  # fmt: skip
BINARY = ("add", "mul", "div", "pow")
MATRIX = ("linear", "bmm", "convolution")
NAMES = ("peak_frac", "wave_waste", "short_sum", "thin_matrix", "irregular_frac", "long_sum_power", "bandwidth_frac")
START = (0.7, 0.3, 10.0, 5.0, 0.9, 0.1, 0.7)
LOWEST = (0.02, 1e-3, 0.05, 0.02, 0.3, 5e-3, 0.05)
HIGHEST = (3.0, 20.0, 400.0, 150.0, 1.1, 1.5, 1.2)
HIGHEST_FIXED_US = 300.0
SUSTAINED_S = 0.3  # kernels count by the root of their time up to here: what runs for hours is warm
HANDFUL = 8  # kernels whose times are added up for the error
MAX_ROWS = 6000
TINY_S, TINY_CONVOLUTION_S, MIN_TINY = 2e-6, 2e-5, 15  # ideal time of what shows only the call


def main() -> None:
    """Fit, write the table, print one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE / "data" / "neusight_kernels.csv.gz")
    parser.add_argument("--out", type=Path, default=TABLE)
    parser.add_argument("--json", action="store_true", help="the object only")
    options = parser.parse_args()
    kernels = read_kernels(options.data)
    table = {
        "schema": "cfgadvise.efficiencies/1",
        "source": "benchmarks/fit_efficiencies.py, fitted to NeuSight's kernel times (ASPLOS 2025, MIT licence)",
        "cards": {CARDS[card]: fit_card(kernels, card) for card in CARDS},
        "groups": {group: fit_group(kernels, members) for group, members in groups().items()},
        "batch_log_sd": batch_log_sd(kernels),
    }
    options.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({"benchmark": "fit_efficiencies", "out": options.out.name, **summary(table)}))


def read_kernels(path: Path) -> dict[tuple[str, str], SimpleNamespace]:
    """Per card and kind: sizes and seconds, as arrays."""
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    kinds = {op: kind for kind, ops in KINDS.items() for op in ops}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            sizes = [int(row[f"d{k}"] or 0) for k in range(1, 6)]
            key = (row["gpu"], kinds[row["op"]])
            found.setdefault(key, []).append((*shape(row["op"], sizes), float(row["forward_ms"]) / 1000))
    names = ("products", "m", "n", "k", "num_bytes", "time_s")
    kernels = {key: SimpleNamespace(**dict(zip(names, np.array(rows).T))) for key, rows in found.items()}
    for kind in KINDS:
        note_calls({card: rows for (card, of), rows in kernels.items() if of == kind}, kind)
    return kernels


def note_calls(by_card: dict[str, SimpleNamespace], kind: str) -> None:
    """What a call takes however little it computes: from tiny problems; where none was timed, as on other cards."""
    known = {}
    for card, rows in by_card.items():
        flops_per_s, bytes_per_s, _ = rates(card)
        ideal_s = np.maximum(2 * rows.products * rows.m * rows.n * rows.k / flops_per_s, rows.num_bytes / bytes_per_s)
        tiny = ideal_s < (TINY_CONVOLUTION_S if kind == "convolution" else TINY_S)
        if tiny.sum() >= MIN_TINY:
            known[card] = float(np.percentile(rows.time_s[tiny], 10))
    for card, rows in by_card.items():
        rows.call_s = known.get(card, float(np.median(list(known.values()))))


def shape(op: str, sizes: Sequence[int]) -> tuple[float, ...]:
    """Products, M, N, K and bytes of a published kernel."""
    a, b, c, d, e = sizes
    if op == "conv":  # batch, channels in and out, kernel, height = width
        return 1, a * e * e, c, b * d * d, 4.0 * (a * e * e * (b + c) + b * c * d * d)
    if op in ("linear", "bmm"):
        products, m, n, k = (1, a * b, d, c) if op == "linear" else (a, b, d, c)
        weights = n * k if op == "linear" else a * n * k
        return products, m, n, k, 4.0 * (products * m * k + weights + products * m * n)
    return 0, 0, 0, 0, 4.0 * a * b * (3 if op in BINARY else 2)


def groups() -> dict[str, list[str]]:
    """Which measured cards stand for those that were not."""
    found: dict[str, list[str]] = {"any": list(CARDS)}
    for card, name in CARDS.items():
        gpu = find_gpu(name)
        if gpu is None:
            raise ValueError(f"{name} is not in the table of GPUs")
        found.setdefault(group_of(gpu), []).append(card)
    return found


# ---- fits ---------------------------------------------------------------------------------------


def fit_card(kernels: dict[tuple[str, str], SimpleNamespace], card: str) -> dict[str, Any]:
    kinds = {}
    for kind in KINDS:
        if (card, kind) in kernels:
            fitted = fit([(card, kernels[card, kind])], kind)
            errors = handful_errors(fitted, card, kernels[card, kind])
            kinds[kind] = as_json(fitted, rms(errors), len(kernels[card, kind].time_s))
    return {"host_call_s": HOST_CALL_US[card] * 1e-6, "kinds": kinds}


def fit_group(kernels: dict[tuple[str, str], SimpleNamespace], members: list[str]) -> dict[str, Any]:
    """All members together; the error is that of each from the others."""
    kinds = {}
    for kind in KINDS:
        parts = [(card, kernels[card, kind]) for card in members if (card, kind) in kernels]
        held_out = []
        for one in parts:
            others = fit([other for other in parts if other is not one], kind)
            held_out.append(rms(handful_errors(others, *one)))
        kinds[kind] = as_json(fit(parts, kind), rms(np.array(held_out)), sum(len(one.time_s) for _, one in parts))
    host_us = float(np.median([HOST_CALL_US[card] for card in members]))
    return {"cards": [CARDS[card] for card in members], "host_call_s": host_us * 1e-6, "kinds": kinds}


def fit(parts: Sequence[tuple[str, SimpleNamespace]], kind: str) -> Coefficients:
    """Robust least squares on the logarithm of the times; every card has the same weight."""
    used = [(card, subset(rows)) for card, rows in parts]
    weights = [np.sqrt(kernel_weights(rows, kind)) for _, rows in used]
    matrix = kind in MATRIX
    names = NAMES if matrix else NAMES[-1:]
    start, lowest, highest = (list(values[-len(names) :]) for values in (START, LOWEST, HIGHEST))

    def residuals(logs: Any) -> Any:
        fitted = coefficients(names, np.exp(logs), 0.0)
        off = [np.log(predicted(fitted, card, rows) / rows.time_s) for card, rows in used]
        return np.concatenate([weight * np.clip(one, -5, 5) for weight, one in zip(weights, off)])

    found = least_squares(
        residuals,
        np.log([*start, 40.0]),
        bounds=(np.log([*lowest, 1.0]), np.log([*highest, HIGHEST_FIXED_US])),
        loss="soft_l1",
        f_scale=0.1,
    )
    call_s = float(np.median([rows.call_s for _, rows in parts]))
    return coefficients(names, np.exp(found.x), call_s)


def coefficients(names: Sequence[str], values: Any, call_s: float) -> Coefficients:
    """The last value is the time of a call in microseconds, that of the host within it."""
    named = {name: float(value) for name, value in zip(names, values)}
    fixed_s = max(0.0, float(values[-1]) * 1e-6 - call_s)
    return Coefficients(**named, fixed_s=fixed_s, call_s=call_s, log_sd=0.0, num_kernels=0)


def predicted(fitted: Coefficients, card: str, rows: SimpleNamespace) -> Any:
    """Seconds that a single call would be measured to take."""
    return fitted.call_s + kernel_time_s(rows, fitted, *rates(card))


def rates(card: str) -> tuple[float, float, int]:
    """Peak float32 FLOP a second, bytes a second, multiprocessors."""
    gpu = find_gpu(CARDS[card])
    assert gpu and gpu.fp32_tflops and gpu.bandwidth_gb_s and gpu.num_sms
    return 1e12 * gpu.fp32_tflops, 1e9 * gpu.bandwidth_gb_s, gpu.num_sms


def subset(rows: SimpleNamespace) -> SimpleNamespace:
    """At most so many rows, the same ones every time."""
    return only(rows, np.random.default_rng(0).permutation(len(rows.time_s))[:MAX_ROWS])


def only(rows: SimpleNamespace, keep: Any) -> SimpleNamespace:
    """Some of the rows."""
    return SimpleNamespace(**{name: values[keep] for name, values in vars(rows).items() if name != "call_s"})


def kernel_weights(rows: SimpleNamespace, kind: str) -> Any:
    """Long kernels count more; those of sizes that networks have count as much as those of odd sizes together."""
    weights = np.sqrt(np.minimum(rows.time_s, SUSTAINED_S))
    if kind in MATRIX:
        regular = rows.m % 32 == 0
        for part in (regular, ~regular):
            if part.any():
                weights[part] /= weights[part].sum()
    return weights / weights.sum() * len(weights)


# ---- errors -------------------------------------------------------------------------------------


def handful_errors(fitted: Coefficients, card: str, rows: SimpleNamespace) -> Any:
    """Logarithm of predicted over measured time of a few kernels of about one size together."""
    keep = rows.time_s > 4 * rows.call_s
    if rows.products.any() and (keep & (rows.m % 32 == 0)).sum() >= 10 * HANDFUL:
        keep &= rows.m % 32 == 0
    chosen = only(rows, keep)
    order = np.argsort(chosen.time_s)
    order = order[: len(order) // HANDFUL * HANDFUL].reshape(-1, HANDFUL)
    times_s = predicted(fitted, card, chosen)
    return np.log(times_s[order].sum(1) / chosen.time_s[order].sum(1))


def batch_log_sd(kernels: dict[tuple[str, str], SimpleNamespace]) -> float:
    """Of the ratio of two times of one layer at different batches: errors that both share do not count."""
    errors = []
    for card in CARDS:
        rows = kernels[card, "linear"]
        fitted = fit([(card, rows)], "linear")
        off = np.log(predicted(fitted, card, rows) / rows.time_s)
        layers: dict[tuple[float, float], list[tuple[float, float]]] = {}
        for n, k, m, error in zip(rows.n, rows.k, rows.m, off):
            layers.setdefault((n, k), []).append((m, error))
        for found in layers.values():
            known = dict(found)
            errors += [known[2 * m] - error for m, error in known.items() if 2 * m in known]
    return round(rms(np.array(errors)), 4)


def rms(errors: Any) -> float:
    return float(np.sqrt(np.mean(np.square(errors))))


def as_json(fitted: Coefficients, log_sd: float, num_kernels: int) -> dict[str, float]:
    values = {name: getattr(fitted, name) for name in (*NAMES, "fixed_s", "call_s")}
    return {name: float(f"{value:.4g}") for name, value in values.items()} | {
        "log_sd": round(log_sd, 4),
        "num_kernels": num_kernels,
    }


def summary(table: dict[str, Any]) -> dict[str, Any]:
    """Errors only."""
    parts = {**table["cards"], **table["groups"]}
    errors = {name: {kind: one["log_sd"] for kind, one in part["kinds"].items()} for name, part in parts.items()}
    return {"log_sd": errors, "batch_log_sd": table["batch_log_sd"]}


if __name__ == "__main__":
    main()
