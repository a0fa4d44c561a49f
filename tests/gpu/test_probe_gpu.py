"""The probe against nvidia-smi and torch, on a real card."""

import shutil
import subprocess
import time

import pytest

from advisor.hardware.bench import with_benchmarks
from advisor.hardware.meter import open_meter
from advisor.hardware.probe import choose_device, probe
from advisor.hardware.torch_build import read_kernels
from advisor.units import MIB

pytestmark = pytest.mark.gpu

_ASKED = "uuid,name,memory.total,power.default_limit,temperature.gpu,compute_cap,clocks.max.sm,pcie.link.width.current"


@pytest.fixture(scope="module")
def found():
    if shutil.which("nvidia-smi") is None:
        pytest.skip("no nvidia-smi")
    return probe()


def rows() -> dict[str, list[str]]:
    command = ["nvidia-smi", f"--query-gpu={_ASKED}", "--format=csv,noheader,nounits"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {cells[0]: cells for cells in ([cell.strip() for cell in line.split(",")] for line in lines)}


def test_it_says_what_nvidia_smi_says(found):
    cards = {device.uuid: device for device in found.devices if device.kind == "cuda"}
    asked = rows()
    assert cards.keys() == asked.keys()
    for uuid, (_, name, total, default_w, temperature, cc, max_clock, width) in asked.items():
        card = cards[uuid]
        assert card.name == name
        assert abs(card.total_bytes / MIB - float(total)) <= 1
        assert abs(card.default_power_limit_w - float(default_w)) < 1
        assert abs(card.temperature_c - float(temperature)) <= 5
        assert (card.compute_capability, card.max_sm_clock_mhz, card.pcie_width) == (cc, int(max_clock), int(width))


def test_free_memory_is_what_cuda_leaves_beside_its_context(found):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch sees no card")
    card = choose_device(found, "cuda:0")
    free_bytes, total_bytes = torch.cuda.mem_get_info(0)
    context_bytes = card.free_bytes - free_bytes
    assert 0 <= context_bytes < 1024 * MIB
    assert abs(card.total_bytes - total_bytes) < 1024 * MIB
    assert card.uuid == f"GPU-{torch.cuda.get_device_properties(0).uuid}"


def test_a_card_that_torch_can_use_has_no_blocker(found):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        torch.ones(1, device="cuda").sum().item()
        assert not [check for check in found.checks if check.severity == "blocker"]


def test_kernels_that_were_read_from_the_library_are_torchs_own():
    torch = pytest.importorskip("torch")
    if torch.version.cuda is None:
        pytest.skip("this torch has no kernels")
    assert list(read_kernels().value) == torch._C._cuda_getArchFlags().split()


def test_the_meter_counts_what_the_card_uses(found):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch sees no card")
    a = torch.randn(4096, 4096, device="cuda")
    meter = open_meter(str(torch.cuda.get_device_properties(0).uuid))
    end_s = time.monotonic() + 3
    while time.monotonic() < end_s:
        (a @ a).sum().item()
        meter.poll()
    reading = meter.read()
    assert reading.energy_j / reading.elapsed_s == pytest.approx(reading.power_w, rel=0.5)
    assert 20 < reading.temperature_c < 100
    if reading.throttled_s is not None:
        assert max(reading.throttled_s.values()) <= 1.1 * reading.elapsed_s


def test_the_card_is_seen_at_work_during_a_benchmark(found):
    pytest.importorskip("torch")
    measured = with_benchmarks(found).devices[0].benchmark
    assert measured.load.num_readings > 3
    assert measured.elapsed_s < 10
