"""The time of a step on a card that is not here: what is summed, what the interval holds, what cancels."""

import dataclasses
import json

import pytest

from advisor.hardware.gpus import Gpu, find_gpu
from advisor.predict.efficiency import (
    TABLE,
    Coefficients,
    efficiency_of,
    group_of,
    kernel_time_s,
    log_sd_of,
    operator_time_s,
)
from advisor.predict.operators import KINDS, Operator, OperatorModel
from advisor.predict.step_time import HOST_FACTOR, StepTimeModel

IDEAL = Coefficients(bandwidth_frac=1.0, fixed_s=0.0, call_s=1e-5, log_sd=0.1, num_kernels=1)


def gpu(name: str) -> Gpu:
    found = find_gpu(name)
    assert found is not None
    return found


def linear(batch: int, phase: str = "first_micro_batch", width: int = 2048) -> Operator:
    num_bytes = 4 * (2 * batch * 1024 * width + width * width)
    return Operator(
        phase=phase, kind="linear", precision="fp32", products=1, m=1024 * batch, n=width, k=width, num_bytes=num_bytes
    )


def step_of(*layers: Operator, times: int = 10) -> OperatorModel:
    """Layers given at batch 1, whose rows and bytes grow with it."""

    def at(one: Operator, batch: int) -> Operator:
        return dataclasses.replace(one, m=one.m * batch, num_bytes=one.num_bytes * batch)

    return OperatorModel(micro_batches=(2, 4), pairs=tuple((at(one, 2), at(one, 4), times) for one in layers))


def tiny(phase: str = "first_micro_batch") -> Operator:
    return Operator(phase=phase, kind="elementwise", precision="fp32", num_bytes=64)


def test_roofline() -> None:
    product = Operator(
        phase="optimizer",
        kind="linear",
        precision="fp32",
        products=1,
        m=4096,
        n=4096,
        k=4096,
        num_bytes=3 * 4 * 4096**2,
    )
    assert kernel_time_s(product, IDEAL, 1e13, 1e12, 80) == pytest.approx(2 * 4096**3 / 1e13)
    assert kernel_time_s(product, IDEAL, 1e13, 1e9, 80) == pytest.approx(12 * 4096**2 / 1e9)
    add = dataclasses.replace(product, products=0, m=0, n=0, k=0)
    assert kernel_time_s(add, IDEAL, 1e13, 1e12, 80) == pytest.approx(12 * 4096**2 / 1e12)


def test_small_products_use_a_card_badly() -> None:
    card = efficiency_of(gpu("Tesla P100"))
    small, large = linear(1, width=128), linear(64, width=4096)
    rates = [one.flops / operator_time_s(one, card) for one in (small, large)]
    assert rates[0] < 0.8 * rates[1] < 0.8 * 9.3e12


def test_every_kind_of_every_card_has_a_time() -> None:
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    assert {"Tesla P100-PCIE-16GB", "Tesla T4", "NVIDIA A100 80GB PCIe"} <= set(table["cards"])
    for name in ("Tesla P100-PCIE-16GB", "NVIDIA GeForce RTX 4090", "NVIDIA L4", "NVIDIA H200"):
        card = efficiency_of(gpu(name))
        for kind in KINDS:
            one = dataclasses.replace(linear(8), kind=kind)
            for precision in ("fp32", "tf32", "fp16", "bf16"):
                found = dataclasses.replace(one, precision=precision)
                assert 0 < operator_time_s(found, card) < 1
                assert log_sd_of(found, card) > 0


def test_a_measured_card_is_surer_than_one_like_it() -> None:
    own, like = efficiency_of(gpu("Tesla V100-PCIE-32GB")), efficiency_of(gpu("Tesla V100-SXM2-16GB"))
    assert own.is_own and not like.is_own
    intervals = [StepTimeModel(step_of(linear(1)), card, 0).step_time(8, 1) for card in (own, like)]
    widths = [float(one.high or 0) / float(one.low or 1) for one in intervals]
    assert 1 < widths[0] < widths[1]
    assert "measured on a Tesla V100-PCIE-32GB" in intervals[0].source
    assert "none on a Tesla V100-SXM2-16GB" in intervals[1].source


def test_groups() -> None:
    found = [group_of(gpu(name)) for name in ("H200", "Tesla T4", "RTX 4090")]
    assert found == ["hbm", "low_power", "any"]


def test_half_precision_of_an_old_card_is_no_faster_than_its_float32() -> None:
    one = dataclasses.replace(linear(8), precision="fp16")
    p100, t4 = efficiency_of(gpu("Tesla P100")), efficiency_of(gpu("Tesla T4"))
    assert operator_time_s(one, p100) == operator_time_s(linear(8), p100)
    assert operator_time_s(one, t4) < operator_time_s(linear(8), t4) / 2


def test_a_step_of_large_kernels_is_the_cards_and_linear_in_the_batch() -> None:
    model = StepTimeModel(step_of(linear(1), linear(1, "later_micro_batches")), efficiency_of(gpu("P100")), 0)
    times = [float(model.step_time(b, 1).value or 0) for b in (16, 32, 64)]
    assert times[2] - times[1] == pytest.approx(2 * (times[1] - times[0]), rel=0.02)
    assert model.host_share(16, 1) < 0.5
    assert float(model.step_time(16, 2).value or 0) == pytest.approx(2 * times[0])


def test_a_step_of_tiny_kernels_is_the_hosts() -> None:
    model = StepTimeModel(step_of(tiny(), tiny("later_micro_batches"), times=1000), efficiency_of(gpu("P100")), 0)
    claim = model.step_time(16, 1)
    assert model.host_share(16, 1) > 1
    assert claim.value == pytest.approx(1000 * 16e-6)
    assert claim.high == pytest.approx(HOST_FACTOR * float(claim.value or 0))
    ratio = model.ratio((16, 1), (8, 2))
    assert ratio.value == pytest.approx(0.5)  # a step costs as many calls, whatever the batch
    assert ratio.high is not None and ratio.high < 0.95


def test_errors_of_one_card_cancel_between_two_layouts() -> None:
    layers = (linear(1), linear(1, "later_micro_batches"), tiny("optimizer"))
    model = StepTimeModel(step_of(*layers), efficiency_of(gpu("RTX 4090")), 0)
    ratio, present, other = model.ratio((16, 1), (8, 2)), model.step_time(8, 2), model.step_time(16, 1)
    assert ratio.low is not None and ratio.high is not None and present.low and present.high and other.high
    assert ratio.low <= 1 <= ratio.high
    assert ratio.high / ratio.low < (other.high / present.low) / 2
    assert model.ratio((8, 2), (8, 2)).high == 1.0
