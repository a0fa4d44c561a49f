"""How fast a device is, measured: matrix products by precision, copies on it and to it.

Each device is measured in a child process of its own, which ends and gives everything back. The parent
looks at the card meanwhile: how it clocks, what its link runs at, and what slows it down under load.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from advisor.hardware.checks import find_checks_under_load
from advisor.hardware.choice import problem_with
from advisor.hardware.load import LoadWatch, loaded
from advisor.hardware.nvml import Reading, open_nvml
from advisor.records import Benchmark, Device, Load, Probe

_TIMEOUT_S = 90
_LOOK_EVERY_S = 0.1
_MEASURE = """
import json, sys, time
started = time.perf_counter()
import torch

device = torch.device(sys.argv[1])
on_card = device.type != "cpu"
if device.type == "cuda":
    torch.cuda.set_device(device)  # which is then the one that is waited for
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
    """The probe with a benchmark for every device on which training can run; else the reason is in ``unknown``.

    Checks about a card's speed are made anew from its state under that load.
    """
    devices = tuple(_benchmarked(probe, device, on_progress) for device in probe.devices)
    checks = probe.checks
    for device in devices:
        load = device.benchmark.load if device.benchmark else None
        if load is not None:
            checks = find_checks_under_load(checks, probe.host, device, loaded(device, load))
    return replace(probe, devices=devices, checks=checks)


def measure(device: Device, timeout_s: float = _TIMEOUT_S) -> Reading[Benchmark]:
    """Rates of one device. Copies count the bytes that are read and written."""
    name = device.kind if device.index is None else f"{device.kind}:{device.index}"
    with open_nvml() as nvml:
        watch = LoadWatch(nvml, device.uuid if device.kind == "cuda" else None)
        answer = _run([sys.executable, "-c", _MEASURE, name], _threads(device), timeout_s, watch.look)
        load = watch.load()
    if answer.value is None:
        return Reading(reason=answer.reason)
    line = next((line for line in answer.value.splitlines() if line.startswith("figures ")), None)
    if line is None:
        return Reading(reason="failed")
    return Reading(_benchmark(json.loads(line.removeprefix("figures ")), load))


def _run(command: list[str], environ: dict[str, str], timeout_s: float, look: Callable[[], None]) -> Reading[str]:
    """What a command prints; ``look`` is called while it runs."""
    end_s = time.monotonic() + timeout_s
    try:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **environ}
        ) as child:
            while True:
                try:
                    output, _ = child.communicate(timeout=_LOOK_EVERY_S)
                    return Reading(output) if child.returncode == 0 else Reading(reason="failed")
                except subprocess.TimeoutExpired:
                    if time.monotonic() > end_s:
                        child.kill()
                        return Reading(reason="timeout")
                    look()
    except OSError:
        return Reading(reason="failed")


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


def _benchmark(figures: dict[str, float | None], load: Load | None) -> Benchmark:
    rounded = {name: None if figure is None else float(f"{figure:.3g}") for name, figure in figures.items()}
    elapsed_s = rounded.pop("elapsed_s") or 0.0
    return Benchmark(
        elapsed_s=elapsed_s,
        load=load,
        fp32_tflops=rounded.get("fp32_tflops"),
        tf32_tflops=rounded.get("tf32_tflops"),
        fp16_tflops=rounded.get("fp16_tflops"),
        bf16_tflops=rounded.get("bf16_tflops"),
        copy_gb_s=rounded.get("copy_gb_s"),
        host_to_device_gb_s=rounded.get("host_to_device_gb_s"),
    )
