"""Predicted step times against published ones, on cards that are not here.

    python -m benchmarks.step_time_published [--data FILE.csv] [--json]

Language models (``neusight_e2e.csv``): every run of one NVIDIA card without fusion, beside what was published with
it: NeuSight, roofline, Habitat, and a line per card and operator (micro). Fitted to single kernels only
(``benchmarks/fit_efficiencies.py``). Training there is forward and backward without an optimizer step.
Diffusion runs (``diffusion_runs.csv``, always): images a second of other people's training, and whether they lie in
the stated interval; see ``published_diffusion.py`` for what of a run is known.
"""

import argparse
import csv
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from advisor.hardware.gpus import find_gpu
from advisor.predict.efficiency import efficiency_of
from advisor.predict.messages import TraceOrder
from advisor.predict.operators import OperatorModel, fit_operators
from advisor.predict.simulation import Simulation
from advisor.predict.step_time import StepTimeModel
from advisor.records import Claim
from benchmarks import published_diffusion
from benchmarks.memory_published import machine
from benchmarks.published_language import SIZES

HERE = Path(__file__).resolve().parent
LANGUAGE = f"{HERE / 'published_language.py'}:make"
PEERS = ("neusight", "roofline", "habitat", "micro")
MICRO_BATCHES = (2, 4)
TIMEOUT_S = 500.0


def main() -> None:
    """Run every row, print a table on stderr and one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE / "data" / "neusight_e2e.csv")
    parser.add_argument("--json", action="store_true", help="the object only")
    parser.add_argument("--only", choices=("language", "diffusion"), help="one of the two parts")
    options = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "step_time_published", "data": options.data.name, "machine": machine()}
    with Simulation() as simulation:
        if options.only != "diffusion":
            result |= language(read(options.data), simulation, quiet=options.json)
        if options.only != "language":
            rows = read(HERE / "data" / "diffusion_runs.csv")
            result["diffusion"] = published_diffusion.compare(rows, simulation, quiet=options.json)
    print(json.dumps(result))


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def language(rows: list[dict[str, str]], simulation: Simulation, *, quiet: bool) -> dict[str, Any]:
    steps: dict[tuple[Any, ...], OperatorModel] = {}
    runs, skipped = [], []
    for row in rows:
        reason = why_not(row)
        if reason is not None:
            skipped.append({key: row[key] for key in ("model", "batch", "mode", "option", "gpu")} | {"reason": reason})
            continue
        runs.append(predict_row(row, steps, simulation))
        if not quiet:
            print(line(runs[-1]), file=sys.stderr, flush=True)
    by_mode = {mode: [one for one in runs if one["mode"] == mode] for mode in ("inference", "train")}
    return {
        "mean_abs_error_percent": {mode: errors(group) for mode, group in by_mode.items()} | {"all": errors(runs)},
        "by_gpu": {gpu: errors([one for one in runs if one["gpu"] == gpu]) for gpu in sorted({x["gpu"] for x in runs})},
        "in_interval_frac": statistics.fmean(one["low_ms"] <= one["measured_ms"] <= one["high_ms"] for one in runs),
        "runs": runs,
        "skipped": skipped,
    }


def why_not(row: dict[str, str]) -> str | None:
    """Why a row cannot be compared, or ``None``."""
    if not row["gpu"].startswith(("NVIDIA", "Tesla")):
        return "not an NVIDIA card"
    if row["option"]:
        return "several cards, or torch.compile"
    if row["model"] not in SIZES:
        return "its network is not written down here"
    return None


def predict_row(row: dict[str, str], steps: dict[tuple[Any, ...], OperatorModel], simulation: Simulation) -> Any:
    gpu = find_gpu(row["gpu"].replace("_", " "))
    if gpu is None:
        raise ValueError(f"{row['gpu']} is not in the table of GPUs")
    layers, training = int(row["num_layer"]) or SIZES[row["model"]][0], row["mode"] == "train"
    key = (row["model"], int(row["seq"]), layers, training)
    if key not in steps:
        steps[key] = trace(key, simulation)
    model = StepTimeModel(steps[key], efficiency_of(gpu), gradients_bytes=0)
    claim = model.micro_batch_time(int(row["batch"]), first=not training)
    result: dict[str, Any] = {key: row[key] for key in ("model", "mode", "gpu")} | {"batch": int(row["batch"])}
    result |= {"measured_ms": float(row["measured_ms"]), **in_ms(claim)}
    return result | {f"{peer}_ms": float(row[f"{peer}_ms"]) if row.get(f"{peer}_ms") else None for peer in PEERS}


def trace(key: tuple[Any, ...], simulation: Simulation) -> OperatorModel:
    name, seq, layers, training = key
    orders = [
        TraceOrder(
            spec=LANGUAGE,
            parameters={"model": name, "seq": seq, "layers": layers, "training": int(training)},
            compute_capability=7.0,  # eager attention: the kernels do not hang on it
            micro_batch=micro_batch,
            accumulation=2,  # their gradients add up
            num_steps=1,
        )
        for micro_batch in MICRO_BATCHES
    ]
    found = simulation.trace_all(orders, timeout_s=TIMEOUT_S)
    model = fit_operators([(one.trace.micro_batch, one.operators) for one in found if one.operators])
    if model is None:
        raise ValueError(f"{name} does not do the same at micro-batches {MICRO_BATCHES}")
    return model


def in_ms(claim: Claim) -> dict[str, float]:
    values = {"ours_ms": claim.value, "low_ms": claim.low, "high_ms": claim.high}
    return {name: 1000 * float(value or 0) for name, value in values.items()}


def errors(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean absolute error in percent of every estimator over the rows that it has a figure for."""
    found: dict[str, Any] = {"n": len(runs)}
    for name in ("ours", *PEERS):
        known = [100 * (one[f"{name}_ms"] / one["measured_ms"] - 1) for one in runs if one[f"{name}_ms"]]
        found[name] = round(statistics.fmean(abs(x) for x in known), 2) if known else None
    return found


def line(run: dict[str, Any]) -> str:
    """A row of the table."""
    what = f"{run['gpu'][:22]:22} {run['model']:11} {run['mode']:9} {run['batch']:2}"
    peers = "  ".join(f"{x} {run[f'{x}_ms'] / run['measured_ms'] - 1:+5.0%}" for x in PEERS if run[f"{x}_ms"])
    error = run["ours_ms"] / run["measured_ms"] - 1
    return f"{what} {run['measured_ms']:8.1f} {run['ours_ms']:8.1f} ms {error:+6.1%}  {peers}"


if __name__ == "__main__":
    main()
