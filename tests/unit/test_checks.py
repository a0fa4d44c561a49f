"""Each check: planted, it is found; on a healthy machine, it is not."""

import re
from dataclasses import replace

import pytest

from advisor.hardware.check_texts import CATALOGUE
from advisor.hardware.checks import Facts, find_checks
from advisor.hardware.nvml import Reading
from advisor.hardware.wheels import install_line, runs_on
from advisor.records import Check, Device, DeviceProcess, Host
from advisor.units import GIB, MIB

HOST = Host(
    os="Linux 6.8.0",
    machine="x86_64",
    cpu_name="CPU",
    num_cores=8,
    ram_total_bytes=64 * GIB,
    ram_available_bytes=60 * GIB,
    python_version="3.11.7",
    torch_version="2.13.0+cu130",
    torch_cuda_version="13.0",
    driver_version="580.95.05",
    driver_cuda_version="13.0",
    in_container=False,
    shared_memory_bytes=32 * GIB,
    disk_free_bytes=500 * GIB,
)
CARD = Device(
    index=0,
    nvml_index=0,
    kind="cuda",
    name="NVIDIA GeForce RTX 3090",
    uuid="GPU-1",
    total_bytes=24 * GIB,
    free_bytes=23 * GIB,
    usable_bytes=22 * GIB,
    used_by_others_bytes=0,
    compute_capability="8.6",
    num_cores=10496,
    temperature_c=60,
    power_w=340,
    power_limit_w=350,
    default_power_limit_w=350,
    utilization_frac=0.99,
    sm_clock_mhz=1950,
    max_sm_clock_mhz=2100,
    pcie_generation=4,
    max_pcie_generation=4,
    pcie_width=16,
    max_pcie_width=16,
    throttle_reasons=(),
    display_active=False,
    compute_mode="default",
    ecc_enabled=True,
    uncorrected_ecc_errors=0,
    mig_enabled=False,
    processes=(),
)
GUESSED = replace(CARD, unknown={"index": "order_guessed"})
KERNELS = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
FACTS = Facts(nvml_problem=None, kernels=Reading(KERNELS))
CU126_KERNELS = replace(FACTS, kernels=Reading(("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")))
CU126_HOST = replace(HOST, torch_version="2.13.0+cu126", torch_cuda_version="12.6")
JOB = DeviceProcess(pid=77, kind="compute", name="python3", used_bytes=GIB)
SCREEN = DeviceProcess(pid=78, kind="graphics", name="Xorg", used_bytes=GIB)


def found(host: Host = HOST, facts: Facts = FACTS, **card: object) -> tuple[Check, ...]:
    return find_checks(host, (replace(CARD, **card),), facts)


PLANTED = {
    "TORCH": lambda: found(replace(HOST, torch_version=None, torch_cuda_version=None)),
    "NVML-LIBRARY": lambda: find_checks(HOST, (), replace(FACTS, nvml_problem="no_library")),
    "NVML-DRIVER": lambda: find_checks(HOST, (), replace(FACTS, nvml_problem="driver_not_loaded")),
    "NVML-MISMATCH": lambda: find_checks(HOST, (), replace(FACTS, nvml_problem="driver_mismatch")),
    "NVML-FAILED": lambda: find_checks(HOST, (), replace(FACTS, nvml_problem="error_999")),
    "BINDING": lambda: find_checks(HOST, (), replace(FACTS, nvml_problem="wrong_binding", old_binding=True)),
    "BINDING-OLD": lambda: found(facts=replace(FACTS, old_binding=True)),
    "CPU-WHEEL": lambda: found(replace(HOST, torch_version="2.13.0+cpu", torch_cuda_version=None)),
    "DRIVER": lambda: found(replace(HOST, driver_cuda_version="12.8")),
    "DRIVER-OLD": lambda: found(replace(HOST, driver_cuda_version="11.4")),
    "ARCH": lambda: found(compute_capability="6.0"),
    "ARCH-NONE": lambda: found(compute_capability="3.7"),
    "ARCH-LAST": lambda: found(CU126_HOST, CU126_KERNELS, compute_capability="7.0"),
    "ARCH-UNKNOWN": lambda: found(facts=replace(FACTS, kernels=Reading(reason="torch_failed"))),
    "LOST": lambda: found(unknown={"processes": "lost"}, processes=None),
    "NO-PERMISSION": lambda: found(unknown={"name": "no_permission"}, compute_capability=None),
    "MEMORY-UNKNOWN": lambda: found(unknown={"usable_bytes": "not_supported"}, usable_bytes=None),
    "DISPLAY": lambda: found(processes=(SCREEN,)),
    "DISPLAY-WINDOWS": lambda: found(driver_model="WDDM", display_active=True),
    "OTHERS": lambda: found(used_by_others_bytes=GIB, processes=(JOB,)),
    "OTHERS-UNNAMED": lambda: found(used_by_others_bytes=GIB, processes=None),
    "OTHERS-OUTSIDE": lambda: found(replace(HOST, in_container=True), used_by_others_bytes=GIB),
    "THROTTLE-POWER": lambda: found(throttle_reasons=("power_cap",), power_limit_w=280),
    "POWER-FULL": lambda: found(throttle_reasons=("power_cap",)),
    "THROTTLE-HEAT": lambda: found(throttle_reasons=("hardware_slowdown", "hardware_thermal")),
    "THROTTLE-HOT": lambda: found(throttle_reasons=("software_thermal",), power_limit_w=None),
    "THROTTLE-HARDWARE": lambda: found(throttle_reasons=("power_brake",)),
    "POWERCAP": lambda: found(power_limit_w=280),
    "CLOCK": lambda: found(sm_clock_mhz=1000),
    "PCIE": lambda: found(pcie_width=4),
    "PCIE-GEN": lambda: found(pcie_generation=1),
    "MIG": lambda: found(uuid="MIG-1", mig_enabled=True),
    "MIG-EMPTY": lambda: found(mig_enabled=True),
    "ECC": lambda: found(uncorrected_ecc_errors=2),
    "SYSMEM": lambda: found(replace(HOST, os="Linux 5.15-microsoft (WSL2)")),
    "BF16": lambda: found(compute_capability="7.5"),
    "BF16-FP32": lambda: found(CU126_HOST, CU126_KERNELS, compute_capability="6.1"),
    "COMPUTE-PROHIBITED": lambda: found(compute_mode="prohibited"),
    "COMPUTE-EXCLUSIVE": lambda: found(compute_mode="exclusive_process", processes=(JOB,)),
    "HIDDEN": lambda: found(index=None, unknown={"index": "hidden"}),
    "ORDER": lambda: find_checks(HOST, (GUESSED, replace(GUESSED, index=1, uuid="GPU-2")), FACTS),
    "SHM": lambda: found(replace(HOST, in_container=True, shared_memory_bytes=64 * MIB)),
    "DISK": lambda: found(replace(HOST, disk_free_bytes=GIB)),
    "CORES": lambda: found(replace(HOST, num_cores=1)),
}


def test_a_healthy_machine_has_no_checks():
    assert found() == ()


@pytest.mark.parametrize("check_id", CATALOGUE)
def test_what_is_planted_is_found(check_id):
    check = next(check for check in PLANTED[check_id]() if check.id == check_id)
    assert check.severity == CATALOGUE[check_id].severity
    assert "{" not in check.message + (check.fix or "")
    assert "None" not in check.message + (check.fix or "")


@pytest.mark.parametrize("check_id", CATALOGUE)
def test_values_are_enough_to_say_it_again(check_id):
    check = next(check for check in PLANTED[check_id]() if check.id == check_id)
    text = CATALOGUE[check_id]
    assert text.message.format(**check.values) == check.message
    assert text.fix is None or text.fix.format(**check.values) == check.fix


def test_blockers_come_first():
    checks = found(compute_capability="6.0", pcie_width=4, power_limit_w=280)
    order = {"blocker": 0, "warning": 1, "info": 2}
    assert [order[check.severity] for check in checks] == sorted(order[check.severity] for check in checks)


@pytest.mark.parametrize(
    ("check_id", "spared"),
    [
        ("PCIE-GEN", {"pcie_generation": 1, "utilization_frac": 0.0}),  # a link slows down to rest
        ("CLOCK", {"sm_clock_mhz": 300, "utilization_frac": 0.0}),
        ("CLOCK", {"sm_clock_mhz": 1000, "throttle_reasons": ("hardware_thermal",)}),  # said already, with its cause
        ("PCIE", {"pcie_width": 8}),
        ("POWERCAP", {"power_limit_w": 345}),
        ("POWERCAP", {"power_limit_w": None}),
        ("OTHERS", {"used_by_others_bytes": 100 * MIB, "processes": (JOB,)}),
        ("COMPUTE-EXCLUSIVE", {"compute_mode": "exclusive_process"}),
        ("ECC", {"uncorrected_ecc_errors": None}),
        ("MIG-EMPTY", {"uuid": "MIG-1", "mig_enabled": True}),
        ("HIDDEN", {"index": None, "unknown": {"index": "one_slice_at_a_time"}}),
    ],
)
def test_what_is_not_wrong_is_not_said(check_id, spared):
    assert check_id not in [check.id for check in found(**spared)]


def test_what_concerns_all_cards_is_said_once():
    host = replace(HOST, torch_version="2.13.0+cpu", torch_cuda_version=None)
    cards = tuple(replace(CARD, index=k, nvml_index=k, uuid=f"GPU-{k}") for k in range(8))
    assert [check.id for check in find_checks(host, cards, FACTS)] == ["CPU-WHEEL"]


def test_a_card_too_old_for_any_build_is_not_blamed_on_the_driver_alone():
    checks = found(replace(HOST, driver_cuda_version="11.4"), compute_capability="3.7")
    assert "ARCH-NONE" in [check.id for check in checks]


def test_shared_memory_matters_only_in_containers():
    assert found(replace(HOST, shared_memory_bytes=64 * MIB)) == ()


def test_a_machine_without_gpu_or_cuda_build_misses_nothing():
    host = replace(HOST, torch_version="2.13.0+cpu", torch_cuda_version=None, driver_cuda_version=None)
    assert find_checks(host, (), replace(FACTS, nvml_problem="no_library")) == ()


def test_more_than_three_processes_are_counted():
    processes = tuple(replace(JOB, pid=pid) for pid in range(1, 6))
    check = next(c for c in found(used_by_others_bytes=GIB, processes=processes) if c.id == "OTHERS")
    assert "python3 (3), +2." in check.message
    assert "ps -fp 1,2,3,4,5 " in check.fix


class TestWheels:
    @pytest.mark.parametrize(
        ("kernels", "cc", "runs"),
        [
            (("sm_60",), "6.0", True),
            (("sm_60",), "6.1", True),  # a binary runs on later minor versions
            (("sm_61",), "6.0", False),
            (("sm_60",), "7.0", False),  # and on no other major one
            (("compute_60",), "7.0", True),  # but PTX does
            (("compute_80",), "7.5", False),
            (("sm_80",), "8.6", True),
            (("sm_80",), "8.9", True),
            (("sm_90",), "10.0", False),
            (("sm_120",), "12.1", True),
            (("sm_80",), "8.7", False),  # Jetson Orin needs its own code
            (("sm_87",), "8.9", False),
            (("sm_90a",), "9.0", True),
            (("sm_100a",), "10.3", False),  # architecture-specific
            (("sm_100f",), "10.3", True),  # family-specific
        ],
    )
    def test_which_card_runs_which_code(self, kernels, cc, runs):
        assert runs_on(kernels, cc) is runs

    @pytest.mark.parametrize(
        ("cc", "driver_cuda", "machine", "tag"),
        [
            ("6.0", "13.0", "x86_64", "cu126"),
            ("7.0", "12.4", "x86_64", "cu126"),
            ("8.6", "13.0", "x86_64", "cu130"),
            ("8.6", "12.4", "x86_64", "cu129"),
            ("12.0", "12.8", "x86_64", "cu129"),
            ("9.0", "13.0", "aarch64", "cu130"),
            (None, None, "x86_64", "cu130"),
        ],
    )
    def test_the_build_that_fits_card_and_driver(self, cc, driver_cuda, machine, tag):
        assert install_line("2.13.0+cpu", [cc] if cc else [], driver_cuda, machine).endswith(f"/whl/{tag}")

    @pytest.mark.parametrize(("cc", "driver_cuda"), [("3.7", "13.0"), ("8.6", "11.4")])
    def test_no_build_is_no_line(self, cc, driver_cuda):
        assert install_line("2.13.0", [cc], driver_cuda, "x86_64") is None

    def test_cards_of_different_ages_get_the_build_that_runs_on_all(self):
        assert install_line("2.13.0", ["9.0", "6.0"], "13.0", "x86_64").endswith("/cu126")
        assert install_line("2.13.0", ["12.0", "6.0"], "13.0", "x86_64").endswith("/cu130")  # none does: the first's

    def test_another_release_is_not_pinned(self):
        assert re.search(r" torch --index-url", install_line("2.6.0", ["8.6"], "13.0", "x86_64"))
        assert '"torch==2.13.*"' in install_line("2.13.1+cpu", ["8.6"], "13.0", "x86_64")
