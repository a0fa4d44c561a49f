"""Networks in which accumulation is not the same as a larger batch, and networks in which it is."""

import pytest
import torch
from torch import nn

from advisor.recommend.note_texts import NOTES
from advisor.recommend.traps import trap_notes
from advisor.workload.description import describe
from advisor.workload.protocol import Workload
from advisor.workload.traps import find_traps


def net(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), *layers, nn.Flatten())


class OwnStatistics(nn.Module):
    """A normalisation of somebody's own."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(4))


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ((nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)), [("batch_norm", 2, "1")]),
        ((nn.SyncBatchNorm(4),), [("sync_batch_norm", 1, "1")]),
        ((OwnStatistics(),), [("running_statistics", 1, "1")]),
        ((nn.InstanceNorm2d(4, track_running_stats=True),), [("running_statistics", 1, "1")]),
        ((nn.GroupNorm(2, 4), nn.Dropout(0.5), nn.InstanceNorm2d(4)), []),
        ((nn.BatchNorm2d(4).eval(),), []),
    ],
)
def test_statistics_over_the_micro_batch(layers, expected):
    assert [(one.id, one.count, one.first) for one in find_traps(net(*layers))] == expected


def test_batch_norm_does_differ_and_group_norm_does_not():
    """The trap itself: the gradient of two halves is not that of the whole."""

    def difference(norm: nn.Module) -> float:
        torch.manual_seed(0)
        model, x = nn.Sequential(nn.Linear(3, 4), norm, nn.Linear(4, 1)).double(), torch.randn(8, 3).double()
        whole = torch.autograd.grad(model(x).square().mean(), model[0].weight)[0]
        halves = [torch.autograd.grad(model(half).square().mean(), model[0].weight)[0] for half in x.split(4)]
        return float((whole - sum(halves) / 2).norm() / whole.norm())

    assert difference(nn.BatchNorm1d(4)) > 1e-3
    assert difference(nn.GroupNorm(2, 4)) < 1e-12


def test_an_optimizer_that_steps_within_the_backward_pass():
    model = nn.Linear(2, 2)
    model.weight.register_post_accumulate_grad_hook(lambda parameter: None)
    assert [(one.id, one.first) for one in find_traps(model)] == [("step_in_backward", "weight")]


def test_each_trap_is_said_once_with_where_it_is():
    model = net(nn.BatchNorm2d(4), nn.BatchNorm2d(4))
    workload = Workload(
        model=model,
        optimizer=torch.optim.AdamW(model.parameters()),
        batch=lambda count: torch.zeros(count, 1, 8, 8),
        loss=lambda model, x: model(x).mean(),
    )
    said = trap_notes(describe(workload, tracking_costs_time=False))
    assert [one.id for one in said] == ["trap_batch_norm"]
    assert "2 layers" in said[0].text
    assert trap_notes(None) == []
    assert {name for name in NOTES if name.startswith("trap_")} == {
        "trap_batch_norm",
        "trap_sync_batch_norm",
        "trap_running_statistics",
        "trap_step_in_backward",
    }
