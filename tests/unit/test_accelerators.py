"""Devices that only torch knows, from scripted answers of the child that asks it."""

import json
from dataclasses import replace

import pytest

from advisor.hardware import accelerators
from advisor.hardware.accelerators import ask_torch, read_accelerators
from advisor.hardware.choice import choose_device
from advisor.hardware.nvml import Nvml
from advisor.hardware.probe import probe
from advisor.records import Host
from advisor.units import GIB

HOST = Host(
    os="Linux 6.8.0",
    machine="x86_64",
    cpu_name="CPU",
    num_cores=8,
    ram_total_bytes=32 * GIB,
    ram_available_bytes=20 * GIB,
    python_version="3.11.7",
    torch_version="2.13.0+cpu",
    torch_cuda_version=None,
    driver_version=None,
    driver_cuda_version=None,
    in_container=False,
)
ROCM = replace(HOST, torch_version="2.13.0+rocm6.4", torch_rocm_version="6.4")
XPU = replace(HOST, torch_version="2.13.0+xpu", torch_xpu_version="20250302")
MAC = replace(HOST, os="macOS 15.1", machine="arm64")
MI250X = {
    "kind": "cuda", "index": 0, "name": "AMD Instinct MI250X", "free_bytes": 63 * GIB, "total_bytes": 64 * GIB,
    "compute_capability": None, "integrated": False,
}  # fmt: skip
ARC = {"kind": "xpu", "index": 0, "name": "Intel(R) Arc(TM) A770", "free_bytes": None, "total_bytes": 16 * GIB}
APPLE = {
    "kind": "mps", "index": None, "name": "Apple GPU", "free_bytes": 24 * GIB, "total_bytes": 24 * GIB,
    "integrated": True,
}  # fmt: skip


@pytest.fixture
def probed(monkeypatch):
    """Probes a machine without NVML whose torch answers with these devices."""

    def probe_with(host: Host, *rows: dict):
        monkeypatch.setattr(accelerators, "_ASK_TORCH", f"print('devices', {json.dumps(json.dumps(rows))})")
        monkeypatch.setattr("advisor.hardware.probe.open_nvml", lambda: Nvml(None, "no_library"))
        monkeypatch.setattr("advisor.hardware.probe.has_distribution", lambda name: False)
        return probe(host=host)

    return probe_with


def test_an_amd_card_is_a_cuda_device_to_torch(probed):
    found = probed(ROCM, MI250X)
    card = choose_device(found, "auto")
    assert (card.kind, card.index, card.name) == ("cuda", 0, "AMD Instinct MI250X")
    assert 60 * GIB < card.usable_bytes < 63 * GIB
    assert card.peaks.name == "AMD Instinct MI250X (per GCD)"
    assert card.unknown["power_w"] == "no_nvml"
    assert found.checks == ()


def test_an_intel_card_whose_free_memory_is_not_told(probed):
    card = choose_device(probed(XPU, ARC), "xpu:0")
    assert (card.total_bytes, card.usable_bytes) == (16 * GIB, None)
    assert card.unknown["usable_bytes"] == card.unknown["free_bytes"] == "not_supported"


def test_apples_gpu_has_no_more_than_the_ram_that_is_free(probed):
    card = choose_device(probed(MAC, APPLE), "mps")
    assert card.free_bytes == 20 * GIB
    assert card.usable_bytes < 20 * GIB


def test_torch_is_not_asked_where_it_knows_no_more(monkeypatch):
    monkeypatch.setattr(accelerators, "ask_torch", lambda: pytest.fail("a child was started"))
    assert read_accelerators(HOST, 0) == ()
    assert read_accelerators(replace(HOST, torch_cuda_version="12.6"), 0) == ()


def test_a_torch_that_fails_has_no_devices(monkeypatch):
    monkeypatch.setattr(accelerators, "_ASK_TORCH", "raise SystemExit(1)")
    assert ask_torch().reason == "torch_failed"
    assert read_accelerators(ROCM, 0) == ()


@pytest.mark.slow
def test_the_real_torch_answers():
    assert isinstance(ask_torch().value, list)
