"""The probe as a page: measured rates beside the table's, reasons in words, what is fine, what to do next."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from advisor import schema
from advisor.hardware import nvml
from advisor.records import Benchmark, Load, Probe
from reports.messages.readings import READING_REASONS
from reports.terminal import printed, render_probe

GOLDEN = Path(__file__).parents[1] / "golden" / "probe"
BENCH = Benchmark(
    fp32_tflops=52.1, tf32_tflops=402, fp16_tflops=701, bf16_tflops=698, copy_gb_s=2810, host_to_device_gb_s=55.3,
    elapsed_s=4.2, load=Load(utilization_frac=1.0, pcie_generation=5, sm_clock_mhz=1755, num_readings=30),
)  # fmt: skip


def recorded(scenario: str) -> Probe:
    return schema.from_json(Probe, (GOLDEN / f"{scenario}.json").read_text(encoding="utf-8"), where=scenario)


def shown(found: Probe, lang: str = "en") -> str:
    return printed([render_probe(found, lang)])


def with_bench(scenario: str, **changes: object) -> Probe:
    found = recorded(scenario)
    card = replace(found.devices[0], pcie_generation=1, benchmark=replace(BENCH, **changes))
    return replace(found, devices=(card, *found.devices[1:]))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_measured_rates_stand_beside_the_tables(lang):
    text = shown(with_bench("h100"), lang)
    for cell in ("52.1/66.9", "402/495", "701/989", "698/989", "2810/3350", "55.3", "gen5 x16"):
        assert cell in text
    assert max(map(cell_len, text.splitlines())) <= 80


def test_a_rate_without_the_other_cannot_be_taken_for_it():
    assert re.search(r"cuda:0 +9.0 +-/66.9 ", shown(with_bench("h100", fp32_tflops=None)))
    found = with_bench("h100")
    card = replace(found.devices[0], peaks=None)
    assert re.search(r"cuda:0 +9.0 +52.1/- ", shown(replace(found, devices=(card,))))


def test_the_reasons_of_nvml_are_words_in_both_languages():
    assert READING_REASONS["en"].keys() == READING_REASONS["zh"].keys()
    assert set(nvml._REASONS.values()) <= READING_REASONS["en"].keys()


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_no_identifier_of_a_reason_is_shown(path, lang):
    text = re.sub(r"exclusive_process|/\S+", "", shown(recorded(path.stem), lang))
    assert re.findall(r"[a-z]+_[a-z]+", text) == []


def test_only_what_was_read_on_every_card_is_called_fine():
    healthy = recorded("h100")
    assert "throttling" in shown(healthy).partition("Fine:")[2]
    card = replace(healthy.devices[0], throttle_reasons=None)
    assert "throttling" not in shown(replace(healthy, devices=(card, *healthy.devices))).partition("Fine:")[2]
    assert "throttling" not in shown(recorded("troubled")).partition("Fine:")[2]


@pytest.mark.parametrize(("scenario", "goes_on"), [("h100", True), ("wsl2", True), ("mig_empty", False)])
def test_the_next_command_is_named_where_nothing_blocks_it(scenario, goes_on):
    assert ("Next: cfgadvise recommend" in shown(recorded(scenario))) is goes_on


def test_a_card_is_named_as_the_table_names_it():
    assert "LOST GPU 1:" in shown(recorded("lost"))
    assert "POWERCAP cuda:0:" in shown(recorded("troubled")) or "THROTTLE" in shown(recorded("troubled"))
