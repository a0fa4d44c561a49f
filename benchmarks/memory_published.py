"""Predicted memory against published measurements on cards that are not here.

    python -m benchmarks.memory_published [--data FILE.csv] [--json]

For every run of the file: reserved bytes from a simulated GPU against what NVML saw grow on the real card, beside
the estimators that were published with it (xMem, DNNMem, SchedTune, LLMem). Needs the extra ``bench``.
Runs that ran out of memory are left out of the errors: their truth is a lower bound. A step is traced once for all of
its batches; ``elapsed_s`` of a run is tracing and replay together.
"""

import argparse
import csv
import json
import platform
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from advisor.errors import CfgadviseError
from advisor.predict.cards import Card, card_named
from advisor.predict.memory import MemoryModel, predict_memory
from advisor.predict.simulation import Simulation
from advisor.units import MIB

HERE = Path(__file__).resolve().parent
STEPS = f"{HERE / 'published_steps.py'}:make"
PEERS = ("xmem", "dnnmem", "schedtune", "llmem")
CARDS = {"NVIDIA GeForce RTX 4060": "RTX 4060 Ti"}  # same capability; the memory is the file's
TIMEOUT_S = 300.0


def main() -> None:
    """Run every row, print a table on stderr and one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE / "data" / "xmem.csv")
    parser.add_argument("--json", action="store_true", help="the object only")
    options = parser.parse_args()
    with options.data.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    runs = [one for one in predict_rows(rows, quiet=options.json) if one]
    result = {
        "benchmark": "memory_published",
        "data": options.data.name,
        "machine": machine(),
        "errors": {name: summary(runs, name) for name in ("ours", *PEERS)},
        "by_family": {
            family: {name: summary(group, name) for name in ("ours", *PEERS)}
            for family in sorted({run["family"] for run in runs})
            for group in [[run for run in runs if run["family"] == family]]
        },
        "elapsed_s": {
            "median": statistics.median(run["elapsed_s"] for run in runs),
            "max": max(run["elapsed_s"] for run in runs),
        },
        "peak_resident_bytes": 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
        "runs": runs,
    }
    print(json.dumps(result))


def predict_rows(rows: list[dict[str, str]], *, quiet: bool) -> list[dict[str, Any]]:
    """One result a row, from children that live on."""
    results, known = [], {}
    with Simulation() as simulation:
        for row in rows:
            result = predict_row(row, simulation, known)
            results.append(result)
            if not quiet:
                print(line(result), file=sys.stderr, flush=True)
    return results


def predict_row(
    row: dict[str, str], simulation: Simulation, known: dict[str, tuple[MemoryModel, float]]
) -> dict[str, Any]:
    """``known``: what was traced before, and how long that took."""
    started_s = time.perf_counter()
    total_bytes, batch, truth = int(row["gpu_total_bytes"]), int(row["batch"]), int(row["truth_bytes"])
    card = card_named(CARDS.get(row["gpu"], row["gpu"]))
    result: dict[str, Any] = {key: row[key] for key in ("gpu", "family", "model", "optimizer")}
    result |= {"batch": batch, "truth_bytes": truth, "real_oom": row["real_oom"] == "1"}
    keeps_gradients = int(row["zero_grad_placement"].startswith("1"))
    parameters = {"model": row["model"], "optimizer": row["optimizer"], "keeps_gradients": keeps_gradients}
    step, traced_before_s = json.dumps([parameters, card.compute_capability]), 0.0
    try:
        if step in known:
            model, traced_before_s = known[step]
        else:
            model = predict_memory(STEPS, parameters, card, simulation=simulation, timeout_s=TIMEOUT_S)
            known[step] = (model, time.perf_counter() - started_s)
        result |= compare(model, card, batch, total_bytes)
    except CfgadviseError as error:
        result |= {"ours_bytes": None, "refused": str(error).splitlines()[0]}
    result |= {f"{name}_bytes": int(row[f"{name}_bytes"]) if row[f"{name}_bytes"] else None for name in PEERS}
    return result | {"elapsed_s": traced_before_s + time.perf_counter() - started_s}


def compare(model: MemoryModel, card: Card, batch: int, total_bytes: int) -> dict[str, Any]:
    """What we say for this batch, on a card with exactly this much memory."""
    free = model.replay(batch)
    limited = model.replay(batch, limit_bytes=total_bytes - card.context_bytes)
    return {
        "ours_bytes": limited.peak_reserved_bytes if limited.fits else free.peak_reserved_bytes,
        "unlimited_bytes": free.peak_reserved_bytes,
        "allocated_bytes": free.peak_allocated_bytes,
        "workspaces_bytes": model.workspaces_bytes(batch),
        "num_retries": limited.num_retries,
        "fits": limited.fits,
    }


def summary(runs: list[dict[str, Any]], name: str) -> dict[str, float | int]:
    """Relative errors of an estimator over the runs that did not run out of memory, in percent."""
    known = [run for run in runs if not run["real_oom"] and run.get(f"{name}_bytes")]
    if not known:
        return {"n": 0}
    errors = [100 * (run[f"{name}_bytes"] / run["truth_bytes"] - 1) for run in known]
    sizes = sorted(abs(x) for x in errors)
    return {
        "n": len(errors),
        "mean_abs": statistics.fmean(sizes),
        "median_abs": statistics.median(sizes),
        "p90_abs": sizes[min(len(sizes) - 1, round(0.9 * (len(sizes) - 1)))],
        "max_abs": sizes[-1],
        "bias": statistics.fmean(errors),
        "num_5_under": sum(x < -5 for x in errors),
        "num_5_over": sum(x > 5 for x in errors),
    }


def line(result: dict[str, Any]) -> str:
    """A row of the table."""
    error = result["ours_bytes"] / result["truth_bytes"] - 1 if result["ours_bytes"] else float("nan")
    peer = result["xmem_bytes"] / result["truth_bytes"] - 1
    censored = " (out of memory)" if result["real_oom"] else ""
    what = f"{result['model'][-24:]:24} {result['optimizer']:9} {result['batch']:4}"
    bytes_text = f"{result['truth_bytes'] / MIB:7.0f} {(result['ours_bytes'] or 0) / MIB:7.0f} MiB"
    return f"{what} {bytes_text} {error:+7.1%}  xMem {peer:+7.1%} {result['elapsed_s']:5.1f} s{censored}" + (
        f"  {result['refused']}" if "refused" in result else ""
    )


def machine() -> dict[str, Any]:
    """Where this was run."""
    from advisor.hardware.probe import probe

    host = probe().host
    return {
        "cpu": host.cpu_name,
        "num_cores": host.num_cores,
        "os": platform.system(),
        "python": host.python_version,
        "torch": host.torch_version,
    }


if __name__ == "__main__":
    main()
