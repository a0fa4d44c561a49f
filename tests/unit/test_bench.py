"""The benchmark, on the CPU of this machine."""

from dataclasses import replace

import pytest

from advisor.hardware import bench
from advisor.hardware.nvml import Reading
from advisor.hardware.probe import probe
from advisor.records import Benchmark, Probe

WORKING = "import time; time.sleep(0.5); print('figures', '{\"fp16_tflops\": 100.0, \"elapsed_s\": 0.5}')"
HOST = replace(probe().host, torch_version="2.13.0+cu130", torch_cuda_version="13.0")


@pytest.fixture
def benchmarked(nvml_scenario, monkeypatch):
    """Probes an H100 at rest, then benchmarks it while its state is another one."""
    monkeypatch.setattr(bench, "_MEASURE", WORKING)

    def run(at_rest: dict[str, object], at_work: dict[str, object]) -> tuple[Probe, Probe]:
        fake = nvml_scenario("h100")
        fake.change(**at_rest)
        before = probe(environ={}, host=HOST, kernels=Reading(("sm_90",)))
        fake.change(**at_work)
        return before, bench.with_benchmarks(replace(before, devices=before.devices[:1]))

    return run


def ids(found: Probe) -> set[str]:
    return {check.id for check in found.checks}


REST = {"util_gpu": 0, "pcie_gen": 1, "clk_sm": 345, "reasons": "0x1", "power_mw": 70_000}


@pytest.mark.parametrize(
    ("state", "check_id"),
    [
        ({"reasons": "0x40", "temp": 92}, "THROTTLE-HEAT"),
        ({"reasons": "0x80"}, "THROTTLE-HARDWARE"),
        ({"reasons": "0x4"}, "POWER-FULL"),
        ({"clk_sm": 900, "reasons": "0x0"}, "CLOCK"),
        ({"pcie_gen": 3}, "PCIE-GEN"),
    ],
)
def test_what_slows_a_card_down_is_seen_under_load(benchmarked, state, check_id):
    before, after = benchmarked(REST, {"util_gpu": 100, "pcie_gen": 5, "clk_sm": 1980, "reasons": "0x0", **state})
    assert check_id not in ids(before)
    assert ids(after) == {check_id}
    load = after.devices[0].benchmark.load
    assert (load.utilization_frac, load.num_readings > 0) == (1.0, True)
    assert (after.devices[0].sm_clock_mhz, after.devices[0].utilization_frac) == (345, 0.0)  # as it was found


def test_what_was_wrong_at_rest_and_is_not_under_load_is_taken_back(benchmarked):
    before, after = benchmarked(
        {**REST, "reasons": "0x80"}, {"util_gpu": 100, "reasons": "0x0", "clk_sm": 1980, "pcie_gen": 5}
    )
    assert ids(before) == {"THROTTLE-HARDWARE"}
    assert ids(after) == set()


def test_a_card_that_was_never_seen_at_work_keeps_its_checks(benchmarked):
    before, after = benchmarked({**REST, "reasons": "0x80"}, {"reasons": "0x0"})
    assert after.devices[0].benchmark.load is None
    assert ids(after) == ids(before) == {"THROTTLE-HARDWARE"}


def test_a_card_that_is_lost_under_load_has_no_load(benchmarked):
    _, after = benchmarked(REST, {"util_gpu": 100, "err_*": 15})
    assert after.devices[0].benchmark.load is None


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
