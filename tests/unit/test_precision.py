"""What is said of half precision on cards of every age."""

import dataclasses

import pytest
from sample_advice import CPU, P100

from advisor.recommend.precision import precision_notes
from advisor.workload.description import Built

PLAIN = Built(lr=1e-4, beta1=0.9, beta2=0.999, ema_decay=None, has_ema=False, clip_norm=None, tracking_costs_time=False)


@pytest.mark.parametrize(
    ("capability", "precision", "ids"),
    [
        ("6.0", None, []),
        ("6.0", "fp16", ["fp16_without_tensor_cores"]),
        ("6.0", "bf16", ["bf16_emulated"]),
        ("7.0", "fp16", []),
        ("7.5", "bf16", ["bf16_emulated"]),
        ("8.0", "bf16", []),
        ("12.0", "bf16", []),
    ],
)
def test_half_precision_is_judged_by_the_card(capability, precision, ids):
    device = dataclasses.replace(P100, compute_capability=capability)
    found = precision_notes(dataclasses.replace(PLAIN, precision=precision), device)
    assert [one.id for one in found] == ids
    assert all(device.name in one.text and capability in one.text for one in found)


def test_nothing_is_said_where_the_device_is_no_card_or_nothing_was_built():
    assert precision_notes(dataclasses.replace(PLAIN, precision="fp16"), CPU) == []
    assert precision_notes(None, P100) == []
