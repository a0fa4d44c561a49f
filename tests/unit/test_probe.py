"""Whole machines: every scenario's probe against its golden file, numbering of cards, and the choice of one."""

import json
import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from rich.cells import cell_len

from advisor import schema
from advisor.errors import DeviceError
from advisor.hardware import accelerators, cuda_index
from advisor.hardware.choice import find_device, only_device
from advisor.hardware.cuda_index import Candidate, number_cards, parse_visible
from advisor.hardware.nvml import Reading
from advisor.hardware.probe import choose_device, probe, usable_bytes
from advisor.records import Host, Probe
from advisor.units import GIB, MIB
from reports.terminal import printed, render_probe

GOLDEN = Path(__file__).parents[1] / "golden" / "probe"
CU126 = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
CU130 = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
HOST = Host(
    os="Linux 6.8.0-45-generic",
    machine="x86_64",
    cpu_name="AMD EPYC 7763 64-Core Processor",
    num_cores=16,
    ram_total_bytes=64 * GIB,
    ram_available_bytes=60 * GIB,
    python_version="3.11.7",
    torch_version="2.13.0+cu126",
    torch_cuda_version="12.6",
    driver_version=None,
    driver_cuda_version=None,
    in_container=False,
    instruction_sets=("avx2", "fma"),
    shared_memory_bytes=32 * GIB,
    disk_free_bytes=500 * GIB,
)
CU130_HOST = replace(HOST, torch_version="2.13.0+cu130", torch_cuda_version="13.0")
CPU_HOST = replace(HOST, torch_version="2.13.0+cpu", torch_cuda_version=None)
HOSTS = {
    "wsl2": replace(CU130_HOST, os="Linux 5.15.153.1-microsoft-standard-WSL2 (WSL2)"),
    "gb10": replace(CU130_HOST, machine="aarch64", ram_total_bytes=119 * GIB, ram_available_bytes=110 * GIB),
    "vanished_process": CU130_HOST,
    "h100": CU130_HOST,
    "mig_a100": CU130_HOST,
    "troubled": replace(CPU_HOST, in_container=True, shared_memory_bytes=64 * MIB, disk_free_bytes=GIB, num_cores=1),
    "no_gpu": CPU_HOST,
}
SCENARIOS = sorted(path.stem for path in (Path(__file__).parents[1] / "fakes" / "nvml_scenarios").glob("*.txt"))


def no_process(pid: int) -> None:
    raise psutil.NoSuchProcess(pid)


@pytest.fixture
def machine(nvml_scenario, monkeypatch):
    """Probes a scenario as if this were its machine."""
    monkeypatch.setattr(cuda_index, "ask_driver", lambda environ: Reading(reason="no_cuda_driver"))
    monkeypatch.setattr("advisor.hardware.probe.has_distribution", lambda name: False)
    monkeypatch.setattr(accelerators, "ask_torch", lambda: Reading(reason="torch_failed"))
    monkeypatch.setattr(psutil, "Process", no_process)  # whoever bears the scenarios' numbers here

    def probed(scenario: str, environ: dict[str, str] | None = None, host: Host | None = None) -> Probe:
        nvml_scenario(scenario)
        host = host or HOSTS.get(scenario, HOST)
        kernels = CU130 if host.torch_cuda_version == "13.0" else CU126
        return probe(environ=environ or {}, host=host, kernels=Reading(kernels))

    return probed


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_probe_of_every_scenario_is_as_recorded(machine, scenario):
    text = schema.to_json(machine(scenario)) + "\n"
    path = GOLDEN / f"{scenario}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert json.loads(text) == json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_recorded_probes_are_valid_records(path):
    found = schema.from_json(Probe, path.read_text(encoding="utf-8"), where=path.name)
    assert found.devices[-1].kind == "cpu"
    for device in found.devices[:-1]:
        stood_in_for = {"index", "name", "total_bytes", "free_bytes"}  # a guess, a number, RAM
        assert all(getattr(device, field) is None for field in device.unknown.keys() - stood_in_for)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_recorded_probe_can_be_shown(path, lang):
    found = schema.from_json(Probe, path.read_text(encoding="utf-8"), where=path.name)
    shown = printed([render_probe(found, lang)])
    assert all(check.id in shown for check in found.checks)
    assert found.devices[-1].name.split()[0] in shown


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_looks_as_recorded_on_a_terminal_of_80_columns(machine, scenario, lang):
    text = printed([render_probe(machine(scenario), lang)])
    path = GOLDEN / f"{scenario}.{lang}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    assert max(map(cell_len, text.splitlines())) <= 80


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_stream_of_another_encoding_says_the_same(machine, scenario, lang):
    """Chinese in GBK as in UTF-8; English in ASCII without a question mark."""
    text = printed([render_probe(machine(scenario), lang)])
    encoding = {"en": "ascii", "zh": "gbk"}[lang]
    assert printed([render_probe(machine(scenario), lang)], encoding=encoding) == text


def check_ids(found: Probe) -> list[str]:
    return [check.id for check in found.checks]


def test_a_healthy_machine_has_nothing_to_mend(machine):
    assert machine("h100").checks == ()


def test_one_p100_with_the_build_that_fits(machine):
    found = machine("p100")
    card = found.devices[0]
    assert (card.index, card.name) == (0, "Tesla P100-PCIE-16GB")
    assert card.usable_bytes == usable_bytes(card.free_bytes, card.total_bytes, shared=False)
    assert card.peaks.fp32_tflops == 9.3
    assert check_ids(found) == ["ARCH-LAST", "BF16-FP32"]


def test_lost_cards_are_rows_and_the_others_are_shown(machine):
    found = machine("lost")
    assert [device.name for device in found.devices[:3]] == [
        "NVIDIA GeForce RTX 3090",
        "GPU 1",
        "NVIDIA GeForce RTX 3090",
    ]
    assert [check.values["nvml_index"] for check in found.checks if check.id == "LOST"] == [0, 1]
    assert choose_device(found, "auto").nvml_index == 2


def test_slices_stand_for_a_divided_card(machine):
    found = machine("mig_a100")
    first, second = found.devices[:2]
    assert (first.index, second.index) == (0, None)  # CUDA shows a process one slice
    assert first.total_bytes == 20937965568
    assert first.power_w == 180  # the card's: a slice has no sensor of its own
    assert first.peaks.estimated
    assert first.peaks.fp16_tflops == pytest.approx(312 * 2 / 7, rel=0.01)


def test_a_chosen_slice_is_the_one_that_cuda_shows(machine):
    uuid = "MIG-22222222-aaaa-bbbb-cccc-000000000000"
    found = machine("mig_a100", environ={"CUDA_VISIBLE_DEVICES": uuid})
    assert choose_device(found, "cuda:0").uuid == uuid


def test_memory_that_is_shared_with_the_cpu(machine):
    card = machine("gb10").devices[0]
    assert (card.total_bytes, card.free_bytes) == (119 * GIB, 110 * GIB)
    assert card.unknown["free_bytes"] == "shared_with_ram"
    assert card.usable_bytes < 110 * GIB


ROW = {"kind": "cuda", "index": 0, "name": "Tesla P100", "total_bytes": 16 * GIB, "free_bytes": 15 * GIB}


class TestMemoryThatNvmlDoesNotTell:
    """A card of its own memory under a driver that answers no memory query: torch is asked in a child."""

    @pytest.fixture
    def hiding(self, machine, nvml_scenario, monkeypatch):
        def probed(row: dict | None) -> Probe:
            answer = Reading(reason="torch_failed") if row is None else Reading([row])
            monkeypatch.setattr(accelerators, "ask_torch", lambda: answer)
            nvml_scenario("p100").change(mem_total=None)
            return probe(environ={}, host=HOST, kernels=Reading(CU126))

        return probed

    @pytest.mark.parametrize("uuid", ["", "99999999-2222-3333-4444-555555555555"])
    def test_it_is_torchs_and_says_so(self, hiding, uuid):
        found = hiding({**ROW, "uuid": uuid})
        card = found.devices[0]
        assert (card.total_bytes, card.free_bytes) == (16 * GIB, 15 * GIB)
        assert card.usable_bytes == usable_bytes(15 * GIB, 16 * GIB, shared=False)
        assert (card.unknown["free_bytes"], card.unknown["reserved_bytes"]) == ("from_torch", "not_supported")
        assert card.peaks.name == "Tesla P100-PCIE-16GB"
        assert "MEMORY-UNKNOWN" not in check_ids(found)

    @pytest.mark.parametrize("row", [None, {**ROW, "index": 1}, {**ROW, "uuid": "00000000-other"}])
    def test_another_cards_memory_is_not_taken_for_it(self, hiding, row):
        found = hiding(row)
        assert found.devices[0].usable_bytes is None
        assert "MEMORY-UNKNOWN" in check_ids(found)


def test_without_a_gpu_the_cpu_is_told(monkeypatch):
    found = probe(host=CPU_HOST)
    cpu = found.devices[-1]
    assert (cpu.kind, cpu.num_cores, cpu.total_bytes, cpu.name) == ("cpu", 16, 64 * GIB, HOST.cpu_name)
    assert cpu.usable_bytes == usable_bytes(60 * GIB, 64 * GIB, shared=True)


def test_this_machine_can_be_probed():
    found = probe()
    assert schema.from_json(Probe, schema.to_json(found), where="probe") == found
    assert found.host.num_cores >= 1
    assert 0 < found.host.ram_available_bytes <= found.host.ram_total_bytes
    assert choose_device(found, "cpu").kind == "cpu"


class TestUsableBytes:
    def test_margin_of_a_small_card(self):
        assert usable_bytes(4 * GIB, 4 * GIB, shared=False) == 4 * GIB - 256 * MIB

    def test_margin_of_a_large_card(self):
        assert usable_bytes(80 * GIB, 80 * GIB, shared=False) == 80 * GIB - 80 * GIB // 50

    def test_a_desktop_takes_more(self):
        plain = usable_bytes(4 * GIB, 8 * GIB, shared=False)
        assert usable_bytes(4 * GIB, 8 * GIB, shared=True) == plain - 512 * MIB

    def test_never_less_than_nothing(self):
        assert usable_bytes(100 * MIB, 8 * GIB, shared=False) == 0


class TestChoice:
    def test_auto_takes_the_card_with_the_most_usable_memory(self, machine):
        assert choose_device(machine("rtx3090_and_p100"), "auto").name == "NVIDIA GeForce RTX 3090"

    def test_auto_takes_the_cpu_where_no_card_can_train(self, machine):
        assert choose_device(machine("p100", host=CPU_HOST), "auto").kind == "cpu"
        assert choose_device(machine("driver_mismatch"), "auto").kind == "cpu"

    @pytest.mark.parametrize("request_", ["cuda:1", "1", "GPU-9999", "gpu-99999999-2222-3333-4444-555555555555"])
    def test_a_card_by_number_or_uuid(self, machine, request_):
        assert choose_device(machine("rtx3090_and_p100"), request_).name == "Tesla P100-PCIE-16GB"

    def test_cuda_is_the_best_card(self, machine):
        assert choose_device(machine("rtx3090_and_p100"), "cuda").index == 0

    @pytest.mark.parametrize(
        ("scenario", "request_", "words"),
        [
            ("p100", "cuda:3", "there are cpu, cuda:0 (Tesla P100-PCIE-16GB"),
            ("p100", "tpu", "there is no such device"),
            ("driver_mismatch", "cuda:0", "sudo reboot"),
            ("mig_empty", "cuda", "nvidia-smi -i 0 -mig 0"),
            ("lost", "GPU-3090", "begins several UUIDs"),
            ("lost", "GPU-30903090-0000-0000-0000-000000000000", "fallen off the bus"),
            ("mig_a100", "MIG-2222", "CUDA_VISIBLE_DEVICES=MIG-22222222-aaaa"),
        ],
    )
    def test_what_cannot_be_had_is_said_with_the_way_out(self, machine, scenario, request_, words):
        with pytest.raises(DeviceError) as caught:
            choose_device(machine(scenario), request_)
        assert words in str(caught.value)

    def test_a_card_that_this_torch_cannot_use_is_refused_with_the_install_line(self, machine):
        with pytest.raises(DeviceError, match=r"download\.pytorch\.org/whl/cu126"):
            choose_device(machine("p100", host=CU130_HOST), "cuda:0")

    def test_a_blocked_card_may_still_be_looked_at(self, machine):
        found = machine("p100", host=CU130_HOST)
        assert find_device(found, "cuda:0").index == 0
        assert [device.index for device in only_device(found, "cuda:0").devices] == [0]

    def test_one_device_alone_keeps_only_its_checks(self, machine):
        alone = only_device(machine("rtx3090_and_p100"), "cuda:1")
        assert [device.name for device in alone.devices] == ["Tesla P100-PCIE-16GB"]
        assert {check.values.get("name") for check in alone.checks} == {
            "Tesla P100-PCIE-16GB",
            None,
        }  # None: of all cards


A, B, C = (Candidate(uuid=f"GPU-{letter * 8}-0000", name="Tesla T4") for letter in "abc")
SLICE_1 = Candidate(uuid="MIG-11111111", name="A100 MIG", parent_uuid=B.uuid)
SLICE_2 = Candidate(uuid="MIG-11222222", name="A100 MIG", parent_uuid=B.uuid)


class TestVisibleDevices:
    @pytest.mark.parametrize(
        ("visible", "shown"),
        [
            (None, [A, B, C]),
            ("", []),
            ("2,0", [C, A]),
            (" 1 , 2", [B, C]),
            ("1gpu2", [B]),
            ("+1", [B]),
            ("0,9,1", [A]),  # the first invalid entry ends the list
            ("-1,0", []),
            ("NoDevFiles", []),
            ("1,1", []),  # a repeated one empties it
            ("GPU-b", [B]),
            ("GPU-bbbbbbbb-0000,0", [B, A]),
            ("gpu-b", []),
            ("GPU-", []),  # fits several
            ("GPU-d", []),
        ],
    )
    def test_the_rules_of_the_variable(self, visible, shown):
        numbering = parse_visible([A, B, C], visible, None)
        assert numbering.index_by_uuid == {card.uuid: k for k, card in enumerate(shown)}
        assert numbering.certain

    @pytest.mark.parametrize(
        ("visible", "shown"),
        [
            ("MIG-11111111,MIG-11222222", [SLICE_1]),  # one slice at most
            ("MIG-11", []),
            ("MIG-112", [SLICE_2]),
            ("1", [SLICE_1]),
            (None, [SLICE_1]),
        ],
    )
    def test_slices(self, visible, shown):
        numbering = parse_visible([A, B, SLICE_1, SLICE_2], visible, None)
        assert numbering.index_by_uuid == {card.uuid: k for k, card in enumerate(shown)}

    def test_different_cards_have_no_certain_order_unless_it_is_set(self):
        other = Candidate(uuid="GPU-other", name="RTX 3090")
        assert not parse_visible([A, other], None, None).certain
        assert not parse_visible([A, other], "1", None).certain
        assert parse_visible([A, other], None, "PCI_BUS_ID").certain
        assert parse_visible([A, other], "GPU-other", None).certain

    def test_the_drivers_own_answer_wins(self, monkeypatch):
        answer = Reading(tuple(card.uuid[4:].replace("-", "") for card in (C, A)))
        monkeypatch.setattr(cuda_index, "ask_driver", lambda environ: answer)
        numbering = number_cards([A, B, C], {})
        assert numbering.index_by_uuid == {C.uuid: 0, A.uuid: 1}
        assert numbering.certain

    def test_no_driver_gives_no_answer(self, tmp_path):
        answer = cuda_index.ask_driver({"PATH": str(tmp_path), "LD_LIBRARY_PATH": str(tmp_path)})
        assert answer.reason == "no_cuda_driver" or answer.value is not None

    def test_hidden_cards_are_shown_as_hidden(self, machine):
        found = machine("rtx3090_and_p100", environ={"CUDA_VISIBLE_DEVICES": "GPU-9999"})
        assert [device.index for device in found.devices] == [None, 0, None]
        assert found.devices[0].unknown["index"] == "hidden"
        assert "HIDDEN" in check_ids(found)
        assert choose_device(found, "auto").name == "Tesla P100-PCIE-16GB"
