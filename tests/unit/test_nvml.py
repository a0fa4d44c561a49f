"""NVML through the real binding, on a scripted library."""

import os
import subprocess
import sys

import psutil
import pytest

from advisor.hardware.cards import FIELDS, mig_slices, read_card
from advisor.hardware.nvml import Nvml, Reading, open_nvml
from advisor.records import Device, DeviceProcess

pynvml = pytest.importorskip("pynvml")


@pytest.fixture
def first_card(nvml_scenario, monkeypatch):
    def no_process(pid: int) -> None:
        raise psutil.NoSuchProcess(pid)

    def read(name: str):
        nvml_scenario(name)
        monkeypatch.setattr(psutil, "Process", no_process)  # whoever bears the scenario's numbers here
        nvml = open_nvml()
        return read_card(nvml, nvml.handles()[0].value)

    return read


def test_reads_a_healthy_card(first_card):
    card = {field: reading.value for field, reading in first_card("h100").items()}
    assert card["name"] == "NVIDIA H100 80GB HBM3"
    assert card["uuid"] == "GPU-66666666-2222-3333-4444-555555555555"
    assert card["pci_bus_id"] == "00000000:18:00.0"
    assert card["compute_capability"] == "9.0"
    assert (card["power_w"], card["power_limit_w"], card["default_power_limit_w"]) == (71, 700, 700)
    assert (card["sm_clock_mhz"], card["max_sm_clock_mhz"], card["temperature_c"]) == (345, 1980, 29)
    assert (card["pcie_generation"], card["pcie_width"], card["num_cores"]) == (5, 16, 16896)
    assert (card["ecc_enabled"], card["mig_enabled"], card["display_active"]) == (True, False, False)
    assert card["compute_mode"] == "default"
    assert card["processes"] == ()


def test_every_reading_belongs_to_a_field_of_device(first_card):
    assert set(first_card("h100")) == set(FIELDS) <= set(Device.__dataclass_fields__)


def test_a_drivers_own_reserve_is_nobodys_use(first_card):
    card = first_card("h100")
    total, free = card["total_bytes"].value, card["free_bytes"].value
    assert card["reserved_bytes"].value == 667942912
    assert card["used_by_others_bytes"].value == total - free - 667942912 == 1048576


def test_without_version_2_of_the_memory_query_the_first_is_used(first_card):
    card = first_card("old_driver")
    assert card["total_bytes"].value == 11811160064
    assert card["used_by_others_bytes"].value == 1181116006
    assert card["reserved_bytes"] == Reading(reason="missing_function")


def test_older_names_of_functions_are_tried(first_card):
    card = first_card("old_driver")
    assert card["temperature_c"].value == 55
    assert card["throttle_reasons"].value == ("software_thermal",)
    assert [process.name for process in card["processes"].value] == ["/usr/bin/python3"]


def test_a_missing_function_is_a_reason(first_card):
    assert first_card("old_driver")["num_cores"] == Reading(reason="missing_function")


def test_what_a_card_does_not_tell_is_not_supported(first_card):
    card = first_card("laptop")
    assert card["fan_frac"] == card["power_limit_w"] == Reading(reason="not_supported")


def test_idle_is_not_throttling(first_card):
    assert first_card("p100")["throttle_reasons"].value == ()


def test_total_memory_of_zero_is_not_believed(first_card):
    card = first_card("not_utf8")
    assert card["total_bytes"] == card["free_bytes"] == Reading(reason="implausible")


def test_bytes_that_are_no_text(first_card):
    assert first_card("not_utf8")["name"] == Reading(reason="not_text")


def test_a_process_that_computes_and_draws_is_listed_once(first_card):
    assert first_card("rtx3090_and_p100")["processes"].value == (
        DeviceProcess(pid=1203, kind="graphics", name="/usr/lib/xorg/Xorg", used_bytes=300000000),
        DeviceProcess(
            pid=4711,
            kind="compute",
            name="/usr/bin/python3",
            used_bytes=512000000,
            sm_utilization_frac=0.96,
            memory_utilization_frac=0.58,
        ),
    )


def test_a_process_of_this_machine_is_told_with_its_owner_but_not_its_command_line(nvml_scenario):
    nvml_scenario("p100").change(**{"procs.c": f"{os.getpid()}:1000000"})
    nvml = open_nvml()
    (process,) = read_card(nvml, nvml.handles()[0].value)["processes"].value
    assert process.user == psutil.Process().username()
    assert process.running_s > 0 and process.cpu_frac > 0 and process.ram_bytes > 1_000_000
    (nameless,) = read_card(nvml, nvml.handles()[0].value, name_processes=False)["processes"].value
    assert (nameless.user, nameless.name, nameless.ram_bytes) == (None, None, None)


def test_a_process_that_vanished_keeps_its_number(first_card):
    assert first_card("vanished_process")["processes"].value == (
        DeviceProcess(pid=4194399, kind="compute", name=None, used_bytes=None),
        DeviceProcess(pid=4194400, kind="compute", name="/opt/conda/bin/python", used_bytes=8000000000),
    )


def test_no_permission_is_a_reason(nvml_scenario):
    nvml_scenario("no_permission")
    nvml = open_nvml()
    closed, open_card = nvml.handles()
    assert closed == Reading(reason="no_permission")
    card = read_card(nvml, open_card.value)
    assert card["processes"] == card["ecc_enabled"] == Reading(reason="no_permission")
    assert card["name"].value == "Tesla T4"


def test_a_card_lost_while_it_is_read(first_card):
    card = first_card("lost")
    assert card["name"].value == "NVIDIA GeForce RTX 3090"
    reasons = {reading.reason for reading in card.values() if reading.value is None}
    assert "lost" in reasons
    assert card["processes"] == Reading(reason="lost")


def test_a_card_lost_before_keeps_its_place(nvml_scenario):
    nvml_scenario("lost")
    assert [handle.reason for handle in open_nvml().handles()] == [None, "lost", None]


def test_slices_of_a_divided_card(nvml_scenario):
    nvml_scenario("mig_a100")
    nvml = open_nvml()
    slices = mig_slices(nvml, nvml.handles()[0].value)
    names = [read_card(nvml, part)["name"].value for part in slices]
    assert names == ["NVIDIA A100-SXM4-80GB MIG 2g.20gb", "NVIDIA A100-SXM4-80GB MIG 3g.40gb"]


@pytest.mark.parametrize(
    ("scenario", "problem"), [("driver_mismatch", "driver_mismatch"), ("driver_not_loaded", "driver_not_loaded")]
)
def test_a_session_that_cannot_be_opened_reads_nothing(nvml_scenario, scenario, problem):
    nvml_scenario(scenario)
    with open_nvml() as nvml:
        assert nvml.problem == problem
        assert nvml.driver_version() == Reading(reason=problem)
        assert nvml.handles() == []


def test_versions_of_the_driver(nvml_scenario):
    nvml_scenario("old_driver")
    with open_nvml() as nvml:
        assert nvml.driver_version().value == "470.256.02"
        assert nvml.driver_cuda_version().value == "11.4"


def test_a_closed_session_says_so(nvml_scenario):
    nvml_scenario("h100")
    with open_nvml() as nvml:
        handle = nvml.handles()[0].value
    assert nvml.read("nvmlDeviceGetName", handle) == Reading(reason="uninitialized")


def test_the_deprecated_binding_is_recognised(tmp_path):
    (tmp_path / "pynvml.py").write_text("import warnings\nwarnings.warn('old', FutureWarning)\ndef nvmlInit(): pass\n")
    code = "from advisor.hardware.nvml import open_nvml; print(open_nvml().problem)"
    command = [sys.executable, "-W", "error", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "wrong_binding\n"


def test_without_a_binding_nothing_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with open_nvml() as nvml:
        assert (nvml.problem, nvml.handles()) == ("no_binding", [])


class TestReading:
    def test_conversion_of_a_value(self):
        assert Reading(26123).then(lambda milli: milli / 1000) == Reading(26.123)

    def test_conversion_of_a_reason_keeps_it(self):
        assert Reading[int](reason="lost").then(lambda value: value + 1) == Reading(reason="lost")

    def test_a_conversion_that_gives_nothing_is_implausible(self):
        assert Reading(0).then(lambda value: value or None) == Reading(reason="implausible")

    def test_the_second_way_counts_only_where_the_first_fails(self):
        assert Reading(1).or_else(lambda: Reading(2)) == Reading(1)
        assert Reading[int](reason="missing_function").or_else(lambda: Reading(2)) == Reading(2)
        first = Reading[int](reason="not_supported")
        assert first.or_else(lambda: Reading(reason="missing_function")) == first

    def test_a_lost_card_is_not_asked_again(self):
        assert Reading[int](reason="lost").or_else(lambda: Reading(2)) == Reading(reason="lost")


def test_nothing_a_binding_raises_gets_out():
    class Broken:
        def nvmlDeviceGetName(self, handle):  # noqa: N802
            raise handle

    nvml = Nvml(Broken(), None)
    errors = (ValueError("x"), OSError("x"), TypeError("x"), UnicodeDecodeError("utf-8", b"", 0, 1, "x"))
    for error in errors:
        assert nvml.read("nvmlDeviceGetName", error).value is None
        assert nvml.read("nvmlDeviceGetName", error).reason
    assert nvml.read("nvmlDeviceGetNothing") == Reading(reason="missing_function")
