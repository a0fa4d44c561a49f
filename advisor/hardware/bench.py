"""How fast a device is, measured: matrix products by precision, copies on it and to it.

Each device is measured in a child process of its own, which ends and gives everything back.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

from advisor.hardware.choice import problem_with
from advisor.hardware.nvml import Reading
from advisor.records import Benchmark, Device, Probe

_TIMEOUT_S = 90
_MEASURE = """
import json, sys, time
started = time.perf_counter()
import torch

device = torch.device(sys.argv[1])
on_card = device.type != "cpu"
wait = getattr(torch, device.type).synchronize if on_card else lambda: None
figures = {}

def rate(work, run, budget_s=0.4):
    "Work a second of the fastest of several timings, after a warm-up."
    run(); run(); wait()
    times = []
    end = time.perf_counter() + budget_s
    while len(times) < 3 or time.perf_counter() < end and len(times) < 200:
        begin = time.perf_counter(); run(); wait(); times.append(time.perf_counter() - begin)
    return work / min(times)

def matmul(name, dtype, tf32=False):
    try:
        if device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = tf32
        size = 8192 if on_card else 1024
        a = torch.randn(size, size, device=device).to(dtype)
        b = torch.randn(size, size, device=device).to(dtype)
        c = torch.empty(size, size, device=device, dtype=dtype)
        figures[name] = rate(2 * size**3 / 1e12, lambda: torch.matmul(a, b, out=c))
    except (RuntimeError, AssertionError):
        figures[name] = None  # this device cannot do it

with torch.no_grad():
    matmul("fp32_tflops", torch.float32)
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        matmul("tf32_tflops", torch.float32, tf32=True)
    if on_card:
        matmul("fp16_tflops", torch.float16)
    if device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0):
        matmul("bf16_tflops", torch.bfloat16)
    count = 2**28 if on_card else 2**27
    source = torch.ones(count, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    figures["copy_gb_s"] = rate(2 * count / 1e9, lambda: target.copy_(source))
    if on_card:
        host = torch.ones(count, dtype=torch.uint8)
        host = host.pin_memory() if device.type == "cuda" else host
        figures["host_to_device_gb_s"] = rate(count / 1e9, lambda: target.copy_(host))
figures["elapsed_s"] = time.perf_counter() - started
print("figures", json.dumps(figures))
"""


def with_benchmarks(probe: Probe, on_progress: Callable[[str], None] = lambda _: None) -> Probe:
    """The probe with a benchmark for every device on which training can run; else the reason is in ``unknown``."""
    return replace(probe, devices=tuple(_benchmarked(probe, device, on_progress) for device in probe.devices))


def measure(device: Device, timeout_s: float = _TIMEOUT_S) -> Reading[Benchmark]:
    """Rates of one device. Copies count the bytes that are read and written."""
    name = device.kind if device.index is None else f"{device.kind}:{device.index}"
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _MEASURE, name],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env={**os.environ, **_threads(device)},
            check=True,
        ).stdout
    except subprocess.TimeoutExpired:
        return Reading(reason="timeout")
    except (OSError, subprocess.CalledProcessError):
        return Reading(reason="failed")
    line = next((line for line in answer.splitlines() if line.startswith("figures ")), None)
    return Reading(reason="failed") if line is None else Reading(_benchmark(json.loads(line.removeprefix("figures "))))


def _benchmarked(probe: Probe, device: Device, on_progress: Callable[[str], None]) -> Device:
    if probe.host.torch_version is None or problem_with(probe, device):
        return replace(device, unknown=device.unknown | {"benchmark": "not_usable"})
    on_progress(f"measuring {device.name} ...")
    reading = measure(device)
    if reading.value is None:
        return replace(device, unknown=device.unknown | {"benchmark": str(reading.reason)})
    return replace(device, benchmark=reading.value)


def _threads(device: Device) -> dict[str, str]:
    """As many threads as there are cores to run them, which inside a container torch does not see."""
    return {"OMP_NUM_THREADS": str(device.num_cores)} if device.kind == "cpu" and device.num_cores else {}


def _benchmark(figures: dict[str, float | None]) -> Benchmark:
    rounded = {name: None if figure is None else float(f"{figure:.3g}") for name, figure in figures.items()}
    elapsed_s = rounded.pop("elapsed_s") or 0.0
    return Benchmark(elapsed_s=elapsed_s, **rounded)
