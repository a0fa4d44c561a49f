"""The machine of the programme for a real GPU: what the probe says, rates, and what is taken besides tensors."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from advisor.hardware.bench import measure
from advisor.records import Probe
from benchmarks.gpu_frame import Box
from benchmarks.gpu_ground import EXPANDABLE, Ground

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "torchvision", "diffusers", "numpy")


def machine(ground: Ground, found: Probe, box: Box) -> None:
    """What the probe says of the card, its rates under load, and what it takes besides tensors."""
    box.note("probe", found)
    real_bytes = ground.device.total_bytes if ground.on_card else None
    box.note(
        "card", {"assumed": ground.card, "total_bytes": real_bytes, "in_table": ground.gpu.name if ground.gpu else None}
    )
    ground.require_card()
    rates = measure(ground.device, timeout_s=box.left_s)
    box.note("rates", rates.value if rates.value is not None else {"unknown": rates.reason})
    box.note("constants", _constants(ground, {}, box))
    pages = _constants(ground, EXPANDABLE, box)  # whether this torch takes the setting, and what it rounds to
    box.note("expandable_segments", {"allocator": pages["allocator"], "context": pages["context"]})


def _constants(ground: Ground, environment: dict[str, str], box: Box) -> dict[str, Any]:
    uuid = ["--uuid", ground.device.uuid] if ground.device.uuid else []
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_constants", *uuid],
        capture_output=True, text=True, cwd=ROOT, timeout=box.left_s, check=False,
        env={**os.environ, **ground.environment, **environment},
    )  # fmt: skip
    if told.returncode:
        raise RuntimeError(told.stderr[-3000:])
    return dict(json.loads(told.stdout.splitlines()[-1]))


def header(ground: Ground, found: Probe) -> dict[str, Any]:
    """Where this was run, as every benchmark says it."""
    host = found.host
    return {
        "schema": "cfgadvise.benchmark/1",
        "benchmark": "gpu",
        "dry_run": not ground.on_card,
        "machine": {
            "gpu": ground.device.name if ground.on_card else None,
            "driver": host.driver_version,
            "driver_cuda": host.driver_cuda_version,
            "torch_cuda": host.torch_cuda_version,
            "cpu": host.cpu_name,
            "num_cores": host.num_cores,
            "load_average": host.load_average,
            "os": host.os,
            "python": host.python_version,
            **{name: _version(name) for name in PACKAGES},
        },
        "simulated_card": ground.card.name,
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
