"""The meter on scripted cards: counted and integrated energy, throttling, and cards that go away."""

import gc
import time

import pytest

from advisor.hardware.meter import POLL_EVERY_S, Meter, open_meter
from advisor.hardware.nvml import open_nvml


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def metered(nvml_scenario):
    def open_scenario(scenario: str, **values: object):
        fake = nvml_scenario(scenario)
        fake.change(**values)
        clock, nvml = Clock(), open_nvml()
        return Meter(nvml, nvml.handles()[0], clock), clock, fake

    return open_scenario


def test_energy_is_the_difference_of_the_cards_counter(metered):
    meter, clock, fake = metered("h100", energy_mj=5_000_000)
    assert not meter.needs_polling
    clock.now_s += 10
    fake.change(energy_mj=8_500_000, power_mw=350_000, temp=66)
    reading = meter.read()
    assert (reading.energy_j, reading.energy_source, reading.elapsed_s) == (3500.0, "counter", 10.0)
    assert (reading.power_w, reading.temperature_c) == (350.0, 66.0)
    clock.now_s += 10
    assert meter.read().energy_j == 0.0


def test_the_counter_is_also_read_as_a_field(metered):
    meter, _, fake = metered("h100", energy_mj=None, field_83=1000)
    fake.change(field_83=4000)
    assert meter.read().energy_j == 3.0


def test_a_counter_that_starts_anew_gives_no_energy_once(metered):
    meter, _, fake = metered("h100", energy_mj=9_000_000)
    fake.change(energy_mj=1000)
    reading = meter.read()
    assert (reading.energy_j, reading.unknown["energy_j"]) == (None, "counter_restarted")
    fake.change(energy_mj=3000)
    assert meter.read().energy_j == 2.0


def test_power_is_integrated_where_there_is_no_counter(metered):
    meter, clock, fake = metered("p100", power_mw=100_000)
    assert meter.needs_polling
    for power_mw in (200_000, 200_000, 100_000):
        clock.now_s += 2.0
        fake.change(power_mw=power_mw)
        meter.poll()
    reading = meter.read()
    assert reading.energy_j == pytest.approx(2 * 150 + 2 * 200 + 2 * 150)
    assert reading.energy_source == "integrated"


def test_polling_too_often_asks_the_card_nothing(metered):
    meter, clock, fake = metered("p100", power_mw=100_000)
    fake.change(power_mw=900_000)
    for _ in range(10):
        clock.now_s += POLL_EVERY_S / 20
        meter.poll()
    fake.change(power_mw=100_000)
    clock.now_s += 1.0
    assert meter.read().energy_j == pytest.approx(100 * (1.0 + POLL_EVERY_S / 2))


def test_power_that_was_unknown_for_a_while_makes_that_energy_unknown(metered):
    meter, clock, fake = metered("p100", power_mw=100_000)
    clock.now_s += 1
    fake.change(**{"err_nvmlDeviceGetPowerUsage": 10})
    meter.poll()
    clock.now_s += 1
    fake.change(**{"err_nvmlDeviceGetPowerUsage": None})
    meter.poll()
    clock.now_s += 1
    assert meter.read().unknown["energy_j"] == "timeout"
    clock.now_s += 1
    assert meter.read().energy_j == pytest.approx(100)


@pytest.mark.parametrize("number", [185, 186])
def test_power_is_read_as_a_field_where_the_getter_is_gone(metered, number):
    meter, _, _ = metered("p100", power_mw=None, **{f"field_{number}": 77_000})
    assert meter.read().power_w == 77.0


def test_throttling_is_counted_between_readings(metered):
    zero = {f"field_{number}": 0 for number in (74, 269, 270, 271)}
    meter, clock, fake = metered("h100", reasons="0x1", **zero)
    clock.now_s += 10
    fake.change(field_74=7_100_000_000)
    reading = meter.read()
    assert reading.throttled_s == {
        "power_cap": 7.1, "software_thermal": 0.0, "hardware_thermal": 0.0, "power_brake": 0.0,
    }  # fmt: skip
    assert reading.throttle_reasons == ("power_cap",)  # it is over now, but it was
    clock.now_s += 10
    assert meter.read().throttle_reasons == ()


def test_throttling_longer_than_the_time_that_passed_is_not_believed(metered):
    zero = {f"field_{number}": 0 for number in (74, 269, 270, 271)}
    meter, clock, fake = metered("h100", **zero)
    clock.now_s += 1
    fake.change(field_74=10**15, reasons="0x40")
    reading = meter.read()
    assert reading.unknown["throttled_s"] == "implausible"
    assert reading.throttle_reasons == ("hardware_thermal",)


def test_without_counters_throttling_is_what_is_seen_now(metered):
    meter, _, fake = metered("p100")
    fake.change(reasons="0x4")
    reading = meter.read()
    assert (reading.throttled_s, reading.throttle_reasons) == (None, ("power_cap",))


@pytest.mark.parametrize(("code", "reason"), [(15, "lost"), (16, "reset_required"), (1, "uninitialized")])
@pytest.mark.parametrize(("scenario", "energy_mj"), [("p100", None), ("h100", 1000)])
def test_a_card_that_goes_away_leaves_unknown_figures_and_is_left_alone(metered, scenario, energy_mj, code, reason):
    meter, clock, fake = metered(scenario, energy_mj=energy_mj)
    clock.now_s += 1
    fake.change(**{"err_*": code})
    for _ in range(3):
        clock.now_s += 1
        meter.poll()
        reading = meter.read()
        assert (reading.energy_j, reading.power_w, reading.temperature_c) == (None, None, None)
        assert set(reading.unknown.values()) == {reason}
    fake.change(**{"err_*": None})
    assert meter.read().temperature_c is None  # a card that comes back is another one to CUDA


def test_a_slice_has_no_energy_of_its_own(nvml_scenario):
    nvml_scenario("mig_a100").change(**{"mig0_err_nvmlDeviceGetPowerUsage": 3})
    reading = open_meter("11111111-aaaa-bbbb-cccc-000000000000").read()
    assert (reading.energy_j, reading.unknown["energy_j"]) == (None, "not_supported")


def test_it_is_opened_by_the_uuid_that_torch_prints(nvml_scenario):
    nvml_scenario("rtx3090_and_p100")
    bare = open_meter("99999999-2222-3333-4444-555555555555").read()
    assert (bare.power_w, bare.temperature_c) == (26.0, 36.0)
    assert open_meter("GPU-99999999-2222-3333-4444-555555555555").read().power_w == 26.0


def test_a_card_that_is_not_there_and_a_driver_that_is_not_there(nvml_scenario):
    nvml_scenario("p100")
    assert set(open_meter("GPU-none").read().unknown.values()) == {"not_found"}
    nvml_scenario("driver_mismatch")
    meter = open_meter("GPU-none")
    meter.poll()
    assert set(meter.read().unknown.values()) == {"driver_mismatch"}


def test_a_call_that_comes_too_early_costs_next_to_nothing(metered):
    """Against the cheapest call there is: a step takes a thousand times longer than either."""
    meter, _, _ = metered("p100")

    def spent_s(call) -> float:
        begin = time.perf_counter()
        for _ in range(2000):
            call()
        return time.perf_counter() - begin

    gc.collect()
    assert min(spent_s(meter.poll) for _ in range(5)) < 50 * min(spent_s(time.monotonic) for _ in range(5))
