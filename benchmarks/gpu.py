"""Everything that has to be seen on a real GPU, in one go and within ten minutes.

    python -m benchmarks.gpu --out DIR [--minutes 9] [--device cuda:0] [--only PART ...] [--json]

What the card takes besides tensors; memory of whole steps against the simulated card; whether real allocation
histories are affine; the real boundary under a cap beside the search's and the predicted one; step times against
predicted ones; an advice and a long run at what it says; the tests that need a card. Each part has a share of the
time, and fails alone. ``DIR/gpu.json`` is written after every finding. On ``--device cpu`` the same code runs on tiny
shapes; what needs a card is skipped. Nothing of the card's settings is changed.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from advisor.hardware.probe import choose_device, probe
from advisor.records import record
from advisor.schema import json_text
from advisor.units import MIB
from benchmarks.gpu_boundary import boundary
from benchmarks.gpu_frame import Box, Part, run_parts
from benchmarks.gpu_ground import Forecasts, Ground, default_cap_bytes, ground_of, subject
from benchmarks.gpu_machine import header, machine
from benchmarks.gpu_memory import alignment, memory
from benchmarks.gpu_runs import advice, gpu_tests, soak, step_time

FILE = "gpu.json"
Nets = tuple[tuple[str, str], ...]


@record
class Scale:
    """What is run: nets as (name, precision), micro-batches, settings as (micro-batch, accumulation)."""

    memory_nets: Nets
    micro_batches: tuple[int, ...]
    aligned_nets: Nets
    smallest: int
    boundary_nets: Nets
    cap_bytes: int | None
    with_pages: int
    timed_nets: Nets
    settings: tuple[tuple[int, int], ...]
    soaked: tuple[str, str]
    soaked_steps: int
    soaked_batch: int


CARD = Scale(
    memory_nets=(
        ("unet", "fp32"), ("unet", "bf16"), ("unet", "fp16"), ("dit", "bf16"), ("transformer", "bf16"),
        ("resnet50", "fp32"), ("mlp", "fp32"), ("dit", "fp32"), ("resnet", "bf16"), ("base", "bf16"),
    ),
    micro_batches=(8, 32, 128),
    aligned_nets=(("unet", "fp32"), ("unet", "bf16"), ("dit", "bf16"), ("dit", "fp32"), ("resnet50", "fp32"),
                  ("transformer", "bf16")),
    smallest=8,
    boundary_nets=(("unet", "fp32"), ("unet", "bf16"), ("dit", "bf16"), ("resnet50", "fp32"), ("transformer", "bf16"),
                   ("mlp", "fp32")),
    cap_bytes=None,
    with_pages=2,
    timed_nets=(("unet", "fp16"), ("dit", "bf16"), ("unet", "fp32"), ("resnet50", "fp32")),
    settings=((16, 1), (2, 1), (64, 1), (256, 1), (64, 4)),
    soaked=("unet", "fp16"),
    soaked_steps=500,
    soaked_batch=16,
)  # fmt: skip
CPU = Scale(
    memory_nets=(("small-mlp", "fp32"),),
    micro_batches=(4, 8),
    aligned_nets=(("small-mlp", "fp32"),),
    smallest=4,
    boundary_nets=(("small-mlp", "fp32"),),
    cap_bytes=MIB,
    with_pages=0,
    timed_nets=(("small-mlp", "fp32"),),
    settings=((4, 1), (8, 1), (16, 1), (8, 2)),
    soaked=("dit-tiny", "fp32"),
    soaked_steps=5,
    soaked_batch=4,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where gpu.json is written")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--device", default="cuda:0", help="cuda:N, a UUID, or cpu for a dry run")
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="these parts only")
    parser.add_argument("--json", action="store_true", help="the object only, no progress and no table")
    options = parser.parse_args()
    end_s = time.monotonic() + 60 * options.minutes
    result = run(options.device, options.out / FILE, end_s, options.only, quiet=options.json)
    if not options.json:
        print(*table(result), sep="\n", flush=True)
    print(json_text(result))


def run(device: str, path: Path, end_s: float, only: list[str], *, quiet: bool) -> dict[str, Any]:
    """All parts, or these only; see :func:`benchmarks.gpu_frame.run_parts`."""
    found = probe()
    ground = ground_of(choose_device(found, device), found.host.num_cores)
    scale = CARD if ground.on_card else CPU
    done: dict[str, Any] = {}

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    with Forecasts(ground) as forecasts:
        parts = _parts(ground, found, forecasts, scale, done)
        chosen = [one for one in parts if not only or one.name in only]
        return run_parts(chosen, header(ground, found), path, end_s=end_s, say=say)


def _parts(ground: Ground, found: Any, forecasts: Forecasts, scale: Scale, done: dict[str, Any]) -> list[Part]:
    net, precision = scale.soaked
    cap_bytes = scale.cap_bytes or default_cap_bytes(ground, ground.num_workers + 1)

    def first(box: Box) -> None:
        machine(ground, found, box)

    def ask() -> None:
        for one in _each_once(scale.memory_nets, scale.boundary_nets, scale.timed_nets, (scale.soaked,)):
            forecasts.ask(subject(*one))

    def aligned(box: Box) -> None:
        ask()  # not before: the constants are to be measured on a machine at rest
        alignment(ground, box, scale.aligned_nets, scale.smallest)

    def in_memory(box: Box) -> None:
        ask()
        memory(ground, forecasts, box, scale.memory_nets, scale.micro_batches)

    def advised(box: Box) -> None:
        advice(ground, box, net, precision, scale.soaked_batch)
        done["recommended"] = box.found["recommended"]

    def soaked(box: Box) -> None:
        soak(ground, forecasts, box, net, precision, done.get("recommended"), scale.soaked_steps)

    return [
        Part(name="machine", weight=50, run=first),
        Part(name="alignment", weight=80, run=aligned),
        Part(name="memory", weight=100, run=in_memory),
        Part(
            name="boundary",
            weight=110,
            run=lambda box: boundary(ground, forecasts, box, scale.boundary_nets, cap_bytes, scale.with_pages),
        ),
        Part(
            name="step_time",
            weight=70,
            run=lambda box: step_time(ground, forecasts, box, scale.timed_nets, scale.settings),
        ),
        Part(name="advice", weight=60, run=advised),
        Part(name="soak", weight=50, run=soaked),
        Part(name="tests", weight=70, run=gpu_tests),
    ]


def _each_once(*groups: Nets) -> Iterator[tuple[str, str]]:
    yield from dict.fromkeys(one for group in groups for one in group)


# ---- what is printed ----------------------------------------------------------------------------


def table(result: dict[str, Any]) -> list[str]:
    """A line for each part, with the figures that matter most."""
    where = result["machine"]
    lines = [f"{where['gpu'] or 'dry run on ' + str(where['cpu'])}, driver {where['driver']}, torch {where['torch']}"]
    for name, part in result["parts"].items():
        told = _TOLD[name](part["found"]) if name in _TOLD else ""
        lines.append(
            f"{name:<10} {part['status']:<8} {part['elapsed_s']:>6.1f} s  {told or part.get('reason', '')}"[:160]
        )
    return lines


def _percent(frac: float | None) -> str:
    return "unknown" if frac is None or not math.isfinite(frac) else f"{100 * frac:+.1f} %"


def _machine_line(found: dict[str, Any]) -> str:
    context_bytes = found.get("constants", {}).get("context", {}).get("after_training_bytes")
    return f"context {context_bytes / MIB:.0f} MiB" if context_bytes else ""


def _memory_line(found: dict[str, Any]) -> str:
    summary = found.get("summary", {})
    if not summary.get("num_compared"):
        return ""
    mean, most = _percent(summary["mean_abs_error_frac"]), _percent(summary["max_abs_error_frac"])
    return f"reserved: mean error {mean}, largest {most}, {summary['num_compared']} points"


def _boundary_line(found: dict[str, Any]) -> str:
    rows = [one for one in found.get("nets", []) if "true" in one]
    told = [f"{one['net']} {one['search']['micro_batch']}/{one['true']['largest']}" for one in rows]
    errors = sum(one["search"]["oom_errors"] for one in rows)
    return f"search/true {', '.join(told)}; {errors} OOM" if rows else ""


def _time_line(found: dict[str, Any]) -> str:
    errors = [one["error_frac"] for one in found.get("rows", []) if one.get("error_frac") is not None]
    return f"step time: mean error {_percent(sum(map(abs, errors)) / len(errors))}" if errors else ""


def _soak_line(found: dict[str, Any]) -> str:
    if "steps_run" not in found:
        return ""
    failed = f", failed: {found['failure']['message']}" if found.get("failure") else ""
    against = f", peak {_percent(found['predicted_error_frac'])}" if "predicted_error_frac" in found else ""
    return f"{found['steps_run']} steps, {found.get('retries')} retries{against}{failed}"


_TOLD: dict[str, Callable[[dict[str, Any]], str]] = {
    "machine": _machine_line,
    "memory": _memory_line,
    "alignment": lambda found: f"{found['num_aligned']} of {found['num_compared']}" if "num_aligned" in found else "",
    "boundary": _boundary_line,
    "step_time": _time_line,
    "soak": _soak_line,
    "tests": lambda found: str(found.get("summary") or ""),
}


if __name__ == "__main__":
    main()
