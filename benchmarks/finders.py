"""Finders of the largest batch side by side, on devices whose limit is known.

    python -m benchmarks.finders [--json] [--case NAME ...]

A CPU whose live tensors may take only so many bytes (``benchmarks/limited_device.py``) stands for a card: at the
limit is exactly the true maximum, measured by running it and one sample more without a limit. Counted are
optimizer steps, out-of-memory errors, and the returned batch; Lightning and accelerate run under the same limit.
Needs the extra ``bench``.
"""

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from advisor.measure.campaign import Place, Subject
from advisor.recommend.largest import Bounds, find_largest
from advisor.workload.synthetic import FLOAT_BYTES, micro_batch_bytes, static_bytes

HERE = Path(__file__).resolve().parent
SPEC = f"{HERE / 'limited_device.py'}:make"
PEERS = ("lightning_power", "lightning_binsearch", "accelerate")
NUM_FEATURES = 4000
BY_HAND = 437
SIZED = {"kind": "sized", "num_features": NUM_FEATURES}
# Of each: the true maximum, where accelerate starts (it only goes down), and the workload.
CASES: dict[str, tuple[int, int, dict[str, Any]]] = {
    **{f"sized_{n}": (n, 8192 if n > 1024 else 1024, SIZED) for n in (99, 300, 777, 999, 6000)},
    "unet": (16, 32, {"kind": "unet", "preset": "gait48"}),
    "transformer": (120, 512, {"kind": "transformer"}),
    "resnet": (75, 512, {"kind": "resnet"}),
    "by_hand": (6000, 8192, {**SIZED, "max_samples": BY_HAND}),
}
TIMEOUT_S = 3600


def main() -> None:
    """Run the cases, print a table on stderr and one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the object only")
    parser.add_argument("--case", action="append", choices=CASES, help="these cases only")
    options = parser.parse_args()

    def report(told: list[str]) -> None:
        if not options.json:
            print(*told, sep="\n", file=sys.stderr, flush=True)

    cases = run(options.case or list(CASES), report)
    print(json.dumps({"benchmark": "finders", "machine": machine(), "cases": cases}))


def run(names: list[str], report: Callable[[list[str]], None]) -> list[dict[str, Any]]:
    """Every case with its finders; each peer's searches run in one process, which imports it once."""
    limits = [int(sum(one["found"]) // 2) for one in child([peaks_order(name) for name in names])]
    check_known(names, limits)
    results = [
        {"case": name, "true_max": true_max(name), "limit_bytes": limit, "accelerate_start": CASES[name][1]}
        for name, limit in zip(names, limits)
    ]
    for result in results:
        result["ours"] = ours(CASES[result["case"]][2], result["limit_bytes"])
    for tool in PEERS:
        orders = [peer_order(tool, result) for result in results]
        for result, found in zip(results, child(orders)):
            result[tool] = found
    for result in results:
        for tool in ("ours", *PEERS):
            found = result[tool]["found"]
            result[tool]["of_true_max"] = None if found is None else found / result["true_max"]
        report(lines(result))
    return results


def true_max(name: str) -> int:
    return int(CASES[name][2].get("max_samples", CASES[name][0]))


def peaks_order(name: str) -> dict[str, Any]:
    """At the largest micro-batch and one sample more: the limit is half-way."""
    most, _, workload = CASES[name]
    return {"tool": "peaks", "start": most, **{key: value for key, value in workload.items() if key != "max_samples"}}


def peer_order(tool: str, result: dict[str, Any]) -> dict[str, Any]:
    _, start, workload = CASES[result["case"]]
    return {"tool": tool, "start": start, "limit_bytes": result["limit_bytes"], **workload}


def check_known(names: list[str], limits: list[int]) -> None:
    """The synthetic workload takes what it is known to take: two rows of floats a sample, and what it keeps."""
    for name, limit in zip(names, limits):
        most, _, workload = CASES[name]
        if workload["kind"] == "sized":
            kept = sum(size for cause, size in static_bytes(NUM_FEATURES).items() if cause != "gradients_bytes")
            known = kept + micro_batch_bytes(NUM_FEATURES, most)
            if not known <= limit < known + 2 * FLOAT_BYTES * NUM_FEATURES:
                raise AssertionError(
                    f"{name}: {limit} bytes are not between {most} samples ({known} bytes) and one more"
                )


def ours(workload: dict[str, Any], limit_bytes: int) -> dict[str, Any]:
    started_s = time.perf_counter()
    found = find_largest(
        Subject(spec=SPEC, parameters={**workload, "limit_bytes": limit_bytes}),
        Place(torch_device="cpu", environment={}, budget_bytes=None),  # the limited device itself refuses, no process
        Bounds(
            budget_bytes=limit_bytes,
            num_items=1_000_000,
            max_batch=None,
            start=16,
            accumulation=1,
            time_limit_s=TIMEOUT_S,
            timeout_s=TIMEOUT_S,
            decider="allocated",  # the limit is on tensors, not on what the process takes
        ),
        capability=None,
        on_progress=lambda _: None,
    )
    return {
        "found": found.micro_batch,
        "steps": found.steps_run,
        "errors": found.oom_count,
        "elapsed_s": time.perf_counter() - started_s,
        "stop": found.stop,
        "tried": [one.micro_batch for one in found.attempts],
    }


def child(orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "benchmarks.finder_peers", json.dumps(orders)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent, timeout=TIMEOUT_S, check=False)
    if run.returncode:
        raise RuntimeError(run.stderr[-2000:])
    return [dict(json.loads(line)) for line in run.stdout.splitlines() if line.startswith("{")]


def lines(result: dict[str, Any]) -> list[str]:
    heading = f"{result['case']}: {result['true_max']} fit"
    rows = [
        f"  {tool:<20} found {result[tool]['found']!s:>5}  {100 * (result[tool]['of_true_max'] or 0):6.1f} %"
        f"  {result[tool]['steps']:>3} steps  {result[tool]['errors']:>2} errors  {result[tool]['elapsed_s']:7.1f} s"
        for tool in ("ours", *PEERS)
    ]
    return [heading, *rows]


def machine() -> dict[str, Any]:
    """Where this was run."""
    from advisor.hardware.probe import probe

    host = probe().host
    return {
        "cpu": host.cpu_name,
        "num_cores": host.num_cores,
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "load_average": host.load_average,
        "python": host.python_version,
        **{name: importlib.metadata.version(name) for name in ("torch", "lightning", "accelerate")},
    }


if __name__ == "__main__":
    main()
