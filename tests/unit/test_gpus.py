"""The table of cards, and finding a card by the names that drivers print and people write."""

import pytest

from advisor.hardware.gpus import find_gpu, peaks_of, read_table
from advisor.records import Device
from advisor.units import GIB

P100, T4 = "Tesla P100-PCIE-16GB", "Tesla T4"
A10, A10G, A40 = "NVIDIA A10", "NVIDIA A10G", "NVIDIA A40"
L4, L40, L40S = "NVIDIA L4", "NVIDIA L40", "NVIDIA L40S"
V100_PCIE_16, V100_PCIE_32 = "Tesla V100-PCIE-16GB", "Tesla V100-PCIE-32GB"
V100_SXM2_16, V100_SXM2_32 = "Tesla V100-SXM2-16GB", "Tesla V100-SXM2-32GB"
A100_PCIE_40, A100_SXM_40 = "NVIDIA A100-PCIE-40GB", "NVIDIA A100-SXM4-40GB"
A100_PCIE_80, A100_SXM_80 = "NVIDIA A100 80GB PCIe", "NVIDIA A100-SXM4-80GB"
H100_SXM, H100_PCIE, H100_NVL, H200, B200 = (
    "NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA H200", "NVIDIA B200",
)  # fmt: skip
ADA_6000, A6000, PRO_6000 = "NVIDIA RTX 6000 Ada Generation", "NVIDIA RTX A6000", "NVIDIA RTX PRO 6000 Blackwell"
MI250X, MI300X, GB10 = "AMD Instinct MI250X (per GCD)", "AMD Instinct MI300X", "NVIDIA GB10"


def geforce(model: str) -> str:
    return f"NVIDIA GeForce RTX {model}"


DEVICE_NAMES = {
    # data-centre cards, under the brand of their time and the present one
    "Tesla P100-PCIE-16GB": P100,
    "Tesla P100-PCIE-12GB": None,
    "Tesla P100-SXM2-16GB": None,
    "Tesla P40": None,
    "Tesla P4": "Tesla P4",
    "Tesla K80": None,
    "Tesla M60": None,
    "Tesla T4": T4,
    "NVIDIA T4": T4,
    "NVIDIA T4G": None,
    "Tesla V100-PCIE-16GB": V100_PCIE_16,
    "Tesla V100-PCIE-32GB": V100_PCIE_32,
    "Tesla V100-SXM2-16GB": V100_SXM2_16,
    "Tesla V100-SXM2-32GB": V100_SXM2_32,
    "NVIDIA V100-SXM2-32GB": V100_SXM2_32,
    "Tesla V100-SXM3-32GB": None,
    "Tesla V100S-PCIE-32GB": None,
    "Tesla V100-FHHL-16GB": None,
    "Tesla V100-DGXS-32GB": None,
    "NVIDIA A2": None,
    "NVIDIA A10": A10,
    "NVIDIA A10G": A10G,
    "NVIDIA A16": None,
    "NVIDIA A30": None,
    "NVIDIA A40": A40,
    "NVIDIA A100-PCIE-40GB": A100_PCIE_40,
    "A100-PCIE-40GB": A100_PCIE_40,
    "NVIDIA A100-SXM4-40GB": A100_SXM_40,
    "A100-SXM4-40GB": A100_SXM_40,
    "NVIDIA A100 80GB PCIe": A100_PCIE_80,
    "NVIDIA A100-SXM4-80GB": A100_SXM_80,
    "NVIDIA A100-SXM-64GB": None,
    "NVIDIA A100-SXM4-80GB MIG 1g.10gb": A100_SXM_80,
    "NVIDIA A100-SXM4-40GB MIG 3g.20gb": A100_SXM_40,
    "NVIDIA A100-PCIE-40GB MIG 1g.5gb": A100_PCIE_40,
    "NVIDIA A800-SXM4-80GB": None,
    "NVIDIA A800 80GB PCIe": None,
    "NVIDIA L4": L4,
    "NVIDIA L20": None,
    "NVIDIA L40": L40,
    "NVIDIA L40S": L40S,
    "NVIDIA H20": None,
    "NVIDIA H100 80GB HBM3": H100_SXM,
    "NVIDIA H100 80GB HBM3 MIG 1g.10gb": H100_SXM,
    "NVIDIA H100 PCIe": H100_PCIE,
    "NVIDIA H100 80GB HBM2e": H100_PCIE,
    "NVIDIA H100 NVL": H100_NVL,
    "NVIDIA H800": None,
    "NVIDIA H800 PCIe": None,
    "NVIDIA H200": H200,
    "NVIDIA H200 NVL": None,
    "NVIDIA GH200 480GB": None,
    "NVIDIA GH200 120GB": None,
    "NVIDIA B200": B200,
    "NVIDIA GB200": None,
    "NVIDIA GB300": None,
    "NVIDIA B300 SXM6 AC": None,
    "NVIDIA GB10": GB10,
    # virtual cards
    "GRID T4-16Q": T4,
    "GRID V100-16Q": V100_PCIE_16,
    "NVIDIA A40-48Q": A40,
    "NVIDIA A10-24Q": A10,
    "NVIDIA L40S-48Q": L40S,
    "GRID P100-8Q": P100,
    # workstations
    "NVIDIA RTX A6000": A6000,
    "RTX A6000": A6000,
    "Quadro RTX A6000": None,
    "NVIDIA RTX A5000": None,
    "NVIDIA RTX A4000": None,
    "Quadro RTX 6000": None,
    "Quadro RTX 8000": None,
    "Quadro P6000": None,
    "NVIDIA RTX 6000 Ada Generation": ADA_6000,
    "NVIDIA RTX 5000 Ada Generation": None,
    "NVIDIA RTX PRO 6000 Blackwell Workstation Edition": PRO_6000,
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": PRO_6000,
    "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition": None,
    "NVIDIA TITAN RTX": None,
    "NVIDIA TITAN V": None,
    "NVIDIA TITAN Xp": None,
    # GeForce
    "NVIDIA GeForce GTX 1080 Ti": None,
    "GeForce GTX 1080 Ti": None,
    "NVIDIA GeForce GTX 1660 Ti": None,
    "NVIDIA GeForce RTX 2080 Ti": geforce("2080 Ti"),
    "GeForce RTX 2080 Ti": geforce("2080 Ti"),
    "NVIDIA GeForce RTX 2080 SUPER": None,
    "NVIDIA GeForce RTX 2070 with Max-Q Design": None,
    "NVIDIA GeForce RTX 3060": geforce("3060"),
    "NVIDIA GeForce RTX 3060 Ti": None,
    "NVIDIA GeForce RTX 3060 Laptop GPU": None,
    "NVIDIA GeForce RTX 3080": geforce("3080"),
    "NVIDIA GeForce RTX 3080 Ti": None,
    "NVIDIA GeForce RTX 3080 Ti Laptop GPU": None,
    "GeForce RTX 3090": geforce("3090"),
    "NVIDIA GeForce RTX 3090": geforce("3090"),
    "NVIDIA GeForce RTX 3090 Ti": None,
    "NVIDIA GeForce RTX 4060": None,
    "NVIDIA GeForce RTX 4060 Ti": geforce("4060 Ti"),
    "NVIDIA GeForce RTX 4070": None,
    "NVIDIA GeForce RTX 4070 Ti": None,
    "NVIDIA GeForce RTX 4070 Ti SUPER": geforce("4070 Ti SUPER"),
    "NVIDIA GeForce RTX 4070 SUPER": None,
    "NVIDIA GeForce RTX 4080": geforce("4080"),
    "NVIDIA GeForce RTX 4080 SUPER": None,
    "NVIDIA GeForce RTX 4080 Laptop GPU": None,
    "NVIDIA GeForce RTX 4090": geforce("4090"),
    "NVIDIA GeForce RTX 4090 D": None,
    "NVIDIA GeForce RTX 4090 Laptop GPU": None,
    "NVIDIA GeForce RTX 5060 Ti": geforce("5060 Ti"),
    "NVIDIA GeForce RTX 5080": geforce("5080"),
    "NVIDIA GeForce RTX 5080 Laptop GPU": None,
    "NVIDIA GeForce RTX 5090": geforce("5090"),
    "NVIDIA GeForce RTX 5090 D": None,
    # others
    "AMD Instinct MI250X": MI250X,
    "AMD Instinct MI250X / MI250": None,
    "AMD Instinct MI300X": MI300X,
    "AMD Instinct MI300A": None,
    "AMD Radeon RX 7900 XTX": None,
    "Intel(R) Data Center GPU Max 1550": None,
    "Orin": None,
    "": None,
}
WRITTEN = {
    "P100": P100,
    "t4": T4,
    "4090": geforce("4090"),
    "rtx4090": geforce("4090"),
    "RTX 4070Ti SUPER": geforce("4070 Ti SUPER"),
    "A100": A100_PCIE_40,  # the slowest of that name
    "A100 80GB": A100_PCIE_80,
    "A100 80 GB SXM": A100_SXM_80,
    "H100 SXM5": H100_SXM,
    "h100 pcie": H100_PCIE,
    "V100 32GB": V100_PCIE_32,
    "RTX 6000 Ada": ADA_6000,
    "A6000": A6000,
    "H200 SXM": H200,
    "MI300X": MI300X,
}


def name_of(gpu):
    return gpu and gpu.name


def test_there_are_many_real_names():
    assert len(DEVICE_NAMES) >= 100


@pytest.mark.parametrize("device_name", DEVICE_NAMES)
def test_a_name_as_drivers_print_it(device_name):
    assert name_of(find_gpu(device_name)) == DEVICE_NAMES[device_name]


@pytest.mark.parametrize("written", WRITTEN)
def test_a_name_as_people_write_it(written):
    assert name_of(find_gpu(written)) == WRITTEN[written]


class TestTable:
    def test_it_has_at_least_39_cards_once_each(self):
        names = [gpu.name for gpu in read_table()]
        assert len(names) == len(set(names)) >= 39

    @pytest.mark.parametrize("gpu", read_table(), ids=lambda gpu: gpu.name)
    def test_every_row_names_its_source_and_is_plausible(self, gpu):
        assert len(gpu.source) > 10
        assert gpu.bandwidth_gb_s > 100
        assert gpu.fp32_tflops > 5
        rates = [rate for rate in (gpu.tf32_tflops, gpu.fp16_tflops, gpu.bf16_tflops) if rate is not None]
        assert all(gpu.fp32_tflops <= rate * 1.01 for rate in rates)

    @pytest.mark.parametrize("gpu", read_table(), ids=lambda gpu: gpu.name)
    def test_every_row_is_found_by_its_own_name_and_memory(self, gpu):
        assert name_of(find_gpu(gpu.name, round(gpu.memory_gb * 0.95 * GIB))) == gpu.name


class TestVariants:
    def test_memory_tells_them_apart(self):
        assert name_of(find_gpu("NVIDIA A100-SXM4", 79 * GIB)) == A100_SXM_80
        assert name_of(find_gpu("NVIDIA A100-SXM4", 39 * GIB)) == A100_SXM_40
        assert name_of(find_gpu("AMD Instinct MI250X", 128 * GIB)) == "AMD Instinct MI250X (whole card)"

    def test_another_variant_is_not_taken_for_the_one_in_the_table(self):
        assert find_gpu("NVIDIA GeForce RTX 3060", 8 * GIB) is None
        assert find_gpu("NVIDIA GeForce RTX 3080", 12 * GIB) is None

    def test_cores_tell_them_apart(self):
        assert name_of(find_gpu("NVIDIA GeForce RTX 4090", 24 * GIB, 16384)) == geforce("4090")
        assert find_gpu("NVIDIA GeForce RTX 4090", 24 * GIB, 14592) is None  # the D


def device(name: str, **fields: object) -> Device:
    unset = dict.fromkeys(
        ("uuid", "free_bytes", "usable_bytes", "used_by_others_bytes", "temperature_c", "power_w", "power_limit_w",
         "default_power_limit_w", "total_bytes", "compute_capability", "num_cores")
    )  # fmt: skip
    return Device(**{**unset, "index": 0, "kind": "cuda", "name": name, **fields})


class TestPeaks:
    def test_of_a_card_in_the_table(self):
        peaks = peaks_of(device(geforce("3090"), total_bytes=24 * GIB, num_cores=10496))
        assert (peaks.fp32_tflops, peaks.bf16_tflops, peaks.bandwidth_gb_s) == (35.6, 71.2, 936)
        assert not peaks.estimated

    def test_of_a_slice_are_its_share_and_an_estimate(self):
        whole, part = (
            peaks_of(device(A100_SXM_80)),
            peaks_of(device(f"{A100_SXM_80} MIG 3g.40gb", total_bytes=39 * GIB)),
        )
        assert part.estimated
        assert part.bf16_tflops == pytest.approx(whole.bf16_tflops * 3 / 7, rel=0.01)
        assert part.bandwidth_gb_s == pytest.approx(whole.bandwidth_gb_s / 2, rel=0.01)

    @pytest.mark.parametrize(
        ("name", "cc", "num_cores", "clock_mhz"),
        [
            (geforce("3090"), "8.6", 10496, 1695),
            (geforce("4090"), "8.9", 16384, 2520),
            (H100_SXM, "9.0", 16896, 1830),
            (A100_SXM_80, "8.0", 6912, 1410),
            (T4, "7.5", 2560, 1590),
            (V100_SXM2_16, "7.0", 5120, 1530),
            (geforce("5090"), "12.0", 21760, 2407),
        ],
    )
    def test_an_estimate_agrees_with_the_table_at_the_tables_clock(self, name, cc, num_cores, clock_mhz):
        known = find_gpu(name)
        family = "GeForce" if "GeForce" in name else "Data-centre"
        unknown = device(f"{family} X", compute_capability=cc, num_cores=num_cores, max_sm_clock_mhz=clock_mhz)
        estimate = peaks_of(unknown)
        assert estimate.estimated
        assert estimate.source.startswith("estimated: ")
        assert estimate.fp16_tflops == pytest.approx(known.fp16_tflops, rel=0.03)

    def test_the_bandwidth_of_an_unknown_card_is_from_its_bus(self):
        unknown = device(
            "GeForce X", compute_capability="8.6", num_cores=10496, max_sm_clock_mhz=1695, max_memory_clock_mhz=9751,
            memory_bus_bits=384,
        )  # fmt: skip
        assert peaks_of(unknown).bandwidth_gb_s == pytest.approx(936, rel=0.001)

    def test_nothing_is_invented_where_clocks_are_unknown(self):
        assert peaks_of(device("NVIDIA Something", compute_capability="8.6")) is None

    def test_pascal_has_no_bfloat16_and_no_tensor_cores(self):
        old = peaks_of(device("GeForce GTX X", compute_capability="6.1", num_cores=3584, max_sm_clock_mhz=1582))
        assert old.fp32_tflops == pytest.approx(11.3, abs=0.1)
        assert (old.fp16_tflops, old.bf16_tflops, old.tf32_tflops) == (None, None, None)
