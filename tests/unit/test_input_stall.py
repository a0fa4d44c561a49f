"""Time that a step spends on getting its batches is measured apart, and said where it matters."""

import contextlib
import dataclasses
import time

import pytest
import torch

from advisor.measure.campaign import Campaign, Point
from advisor.measure.memory import meter_for
from advisor.measure.worker import Stepper
from advisor.recommend.timing_notes import timing_notes
from advisor.records import Measurement, StepTime
from advisor.workload import synthetic
from advisor.workload.protocol import Workload
from advisor.workload.step import TrainingStep

CPU = torch.device("cpu")
PAUSE_S = 0.02


def slow_input(*, real_data: bool = True) -> Workload:
    workload = synthetic.make(CPU, num_features=10)
    quick = workload.batch

    def batch(n: int) -> object:
        time.sleep(PAUSE_S)
        return quick(n)

    return dataclasses.replace(workload, batch=batch, real_data=real_data)


def test_every_micro_batch_counts_and_only_those_of_the_last_step() -> None:
    step = TrainingStep(slow_input(), CPU, 4, 3, lambda _: contextlib.nullcontext())
    assert step.input_s == 0
    for _ in range(2):
        started_s = time.perf_counter()
        step.run()
        assert 3 * PAUSE_S <= step.input_s <= time.perf_counter() - started_s


@pytest.mark.parametrize("real_data", [True, False])
def test_the_child_reports_it_for_real_data_only(real_data: bool) -> None:
    report = Stepper(slow_input(real_data=real_data), CPU, 4, 2, meter_for(CPU)).step(tracks_memory=False)
    if real_data:
        assert report.input_s is not None
        assert 2 * PAUSE_S <= report.input_s <= report.step_s
    else:
        assert report.input_s is None


def said_of(input_s: float | None, recommended: tuple[int, int] = (8, 1)) -> list[str]:
    step_s = StepTime(median=0.1, low=0.09, high=0.11, n=20)
    one = Measurement(micro_batch=8, accumulation=1, outcome="ok", step_s=step_s, input_s=input_s)
    campaign = Campaign(points=(Point(measurement=one),), built=None, interleaved=True)
    return [said.text for said in timing_notes(campaign, recommended) if said.id == "input_stall"]


def test_a_tenth_of_the_recommended_step_is_worth_a_word() -> None:
    (text,) = said_of(0.04)
    assert "40 % of it" in text
    assert said_of(0.009) == []
    assert said_of(None) == []
    assert said_of(0.04, recommended=(16, 1)) == []
