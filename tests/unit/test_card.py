"""What a run logs of its card: torch's card is stood in for, the scripted library is under the real binding."""

from types import SimpleNamespace

import pytest
import torch

from trainer.card import CardWatch

CUDA = torch.device("cuda", 0)
FIELDS = {"energy_j", "energy_source", "power_w", "temperature_c", "throttle_reasons", "throttled_s"}


@pytest.fixture
def on_card(nvml_scenario, monkeypatch):
    def use(scenario: str, uuid: object):
        fake = nvml_scenario(scenario)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=uuid))
        return fake

    return use


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)


def test_a_cpu_has_none_of_it():
    assert CardWatch(torch.device("cpu"), optimizer()).read() == dict.fromkeys(FIELDS)


def test_a_counted_card(on_card):
    fake = on_card("h100", "90000000-2222-3333-4444-555555555555")
    fake.change(uuid="GPU-90000000-2222-3333-4444-555555555555", energy_mj=1000)
    watch = CardWatch(CUDA, optimizer())
    fake.change(energy_mj=251_000, temp=70)
    line = watch.read()
    assert line.keys() == FIELDS
    assert (line["energy_j"], line["energy_source"], line["temperature_c"]) == (250.0, "counter", 70.0)


def test_a_card_without_a_counter_is_polled_by_the_optimizers_steps(on_card, monkeypatch):
    polled = []
    monkeypatch.setattr("advisor.hardware.meter.Meter.poll", lambda meter: polled.append(meter))
    on_card("rtx3090_and_p100", "99999999-2222-3333-4444-555555555555")
    steps = optimizer()
    watch = CardWatch(CUDA, steps)
    for _ in range(3):
        steps.step()
    assert len(polled) == 3
    assert watch.read()["energy_source"] == "integrated"


def test_a_card_that_is_lost_stops_nothing(on_card):
    fake = on_card("p100", "00000000-none")
    fake.change(uuid="GPU-00000000-none")
    steps = optimizer()
    watch = CardWatch(CUDA, steps)
    fake.change(**{"err_*": 15})
    steps.step()
    assert watch.read() == dict.fromkeys(FIELDS)


@pytest.mark.parametrize("uuid", [None, "ffffffff-dead"])
def test_a_card_that_nvml_does_not_know(on_card, uuid):
    on_card("p100", uuid)
    assert CardWatch(CUDA, optimizer()).read() == dict.fromkeys(FIELDS)
