"""The probe against nvidia-smi and torch, on a real card."""

import shutil
import subprocess

import pytest

from advisor.hardware.probe import choose_device, probe
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
