"""A PyTorch that cannot simulate a card: the step is traced on the CPU, and the answer is wider and says so."""

from pathlib import Path

import pytest
import torch

from advisor.predict.affine import fit
from advisor.predict.memory import WIDE_HIGH_FRAC, WIDE_LOW_FRAC, MemoryModel
from advisor.predict.messages import Traced, TraceOrder
from advisor.predict.simulated_gpu import missing_parts
from advisor.predict.worker import Card
from advisor.workload import synthetic

NETS = Path(__file__).resolve().parents[1] / "fakes" / "small_nets.py"
NUM_FEATURES = 100_000


def traced_at(micro_batch: int) -> Traced:
    order = TraceOrder(
        spec=f"{NETS}:sized",
        parameters={"num_features": NUM_FEATURES},
        compute_capability=8.0,
        micro_batch=micro_batch,
        accumulation=1,
        num_steps=2,
    )
    reply = Card().answer(order)
    assert reply.traced is not None, reply.failure
    return reply.traced


def test_without_a_private_part_the_step_is_traced_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch._C, "_ExcludeDispatchKeyGuard")
    assert missing_parts() == ("_ExcludeDispatchKeyGuard",)
    traced = [traced_at(micro_batch) for micro_batch in (4, 8, 16)]
    model = MemoryModel(fit([one.trace for one in traced]), traced)
    assert not model.is_simulated
    at_64 = model.at(64)
    assert at_64.reserved_bytes >= sum(synthetic.static_bytes(NUM_FEATURES).values())
    assert (at_64.low, at_64.high) == (
        round(WIDE_LOW_FRAC * at_64.reserved_bytes),
        round(WIDE_HIGH_FRAC * at_64.reserved_bytes),
    )
