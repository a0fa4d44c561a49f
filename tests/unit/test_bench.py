"""The benchmark, on the CPU of this machine."""

import pytest

from advisor.hardware import bench
from advisor.hardware.nvml import Reading
from advisor.hardware.probe import probe
from advisor.records import Benchmark


@pytest.mark.slow
def test_the_cpu_is_measured_in_less_than_ten_seconds():
    lines = []
    device = bench.with_benchmarks(probe(), lines.append).devices[-1]
    assert device.benchmark is not None, device.unknown
    assert 0 < device.benchmark.fp32_tflops < 100
    assert 0.1 < device.benchmark.copy_gb_s < 10_000
    assert device.benchmark.host_to_device_gb_s is None
    assert len(lines) == 1


def test_a_benchmark_that_fails_is_a_reason(monkeypatch):
    monkeypatch.setattr(bench, "_MEASURE", "raise SystemExit(1)")
    device = bench.with_benchmarks(probe()).devices[-1]
    assert (device.benchmark, device.unknown["benchmark"]) == (None, "failed")


def test_a_benchmark_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(bench, "_MEASURE", "import time; time.sleep(60)")
    assert bench.measure(probe().devices[-1], timeout_s=0.3) == Reading(reason="timeout")


def test_figures_have_three_digits(monkeypatch):
    monkeypatch.setattr(bench, "_MEASURE", "print('figures', '{\"fp32_tflops\": 1.23456, \"elapsed_s\": 2.0}')")
    assert bench.measure(probe().devices[-1]).value == Benchmark(fp32_tflops=1.23, elapsed_s=2.0)
