"""What an operation asks for, against PyTorch's own flop counter and against what can be counted by hand."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from advisor.predict.operators import Operator, OperatorLog, fit_operators, operators_of


class Watch(TorchDispatchMode):
    """Notes the operators of what runs inside."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Operator] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.found += operators_of(func, args, result, "first_micro_batch")
        return result


def conv_net(strided: bool = False, transposed: bool = False, groups: int = 1) -> torch.nn.Module:
    layer: torch.nn.Module
    if transposed:
        layer = torch.nn.ConvTranspose2d(8, 16, 4, stride=2, padding=1)
    else:
        layer = torch.nn.Conv2d(8, 16, 3, stride=2 if strided else 1, padding=1, groups=groups)
    return torch.nn.Sequential(torch.nn.Conv2d(4, 8, 1), layer, torch.nn.SiLU(), torch.nn.GroupNorm(4, 16))


@pytest.mark.parametrize("options", [{}, {"strided": True}, {"transposed": True}])
def test_operations_of_a_convolution_forward_and_backward(options: dict[str, Any]) -> None:
    net, x = conv_net(**options), torch.randn(2, 4, 8, 8, requires_grad=True)
    with FlopCounterMode(display=False) as counter, Watch() as watch:
        net(x).sum().backward()
    assert sum(one.flops for one in watch.found) == counter.get_total_flops()


def test_groups_share_the_work() -> None:
    net, x = conv_net(groups=4), torch.randn(2, 4, 8, 8, requires_grad=True)
    with Watch() as watch:
        net(x).sum().backward()
    forward = 2 * (2 * 64) * (4 * 8 + 8 // 4 * 9 * 16)  # PyTorch's counter forgets the groups on the way back
    assert sum(one.flops for one in watch.found) == 3 * forward


def test_operations_of_linear_layers_and_products() -> None:
    layer, x = torch.nn.Linear(12, 20), torch.randn(6, 12, requires_grad=True)
    with FlopCounterMode(display=False) as counter, Watch() as watch:
        y = layer(x)
        torch.bmm(y.view(2, 3, 20), y.view(2, 20, 3)).sum().backward()
    assert sum(one.flops for one in watch.found) == counter.get_total_flops()
    assert {one.kind for one in watch.found} >= {"linear", "bmm"}


def test_fused_attention_is_not_forgotten() -> None:
    q, k, v = (torch.randn(2, 4, n, 16, requires_grad=True) for n in (32, 48, 48))
    aten = torch.ops.aten
    out = torch.empty(2, 4, 32, 16)
    args = (q, k, v, None, False)
    (found,) = operators_of(aten._scaled_dot_product_efficient_attention.default, args, (out,), "first_micro_batch")
    assert found.kind == "attention"
    assert found.flops == 2 * 2 * (2 * 4 * 32 * 48 * 16)  # scores, and their product with the values
    assert found.num_bytes == 4 * sum(one.numel() for one in (q, k, v, out))


def test_bytes_are_read_and_written_once() -> None:
    x, bias = torch.randn(64, 32), torch.randn(32)
    with Watch() as watch:
        x + bias
        x.add_(1.0)
        x.expand(2, 64, 32).mul(2.0)
        x.view(32, 64)  # asks for nothing
    sizes = [one.num_bytes for one in watch.found]
    assert sizes == [2 * 8192 + 128, 2 * 8192, 8192 + 2 * 8192]


def test_multi_tensor_kernels_are_few() -> None:
    weights, gradients = [torch.zeros(10) for _ in range(100)], [torch.ones(10) for _ in range(100)]
    with Watch() as watch:
        torch._foreach_add_(weights, gradients)
    (found,) = watch.found
    assert (found.launches, found.num_bytes) == (3, 3 * 100 * 40)


def test_a_step_at_any_batch() -> None:
    def log(batch: int) -> OperatorLog:
        with Watch() as watch:
            torch.randn(batch, 12) @ torch.randn(12, 20)
        found = tuple(one for one in watch.found if one.kind == "linear")
        return OperatorLog(distinct=found, sequence=(0,))

    model = fit_operators([(4, log(4)), (16, log(16))])
    assert model is not None
    assert model.at(40) == ((log(40).distinct[0], 1),)


def test_steps_that_do_something_else_are_not_fitted() -> None:
    one = Operator(phase="optimizer", kind="elementwise", precision="fp32", num_bytes=8)
    logs = [(4, OperatorLog(distinct=(one,), sequence=(0,))), (16, OperatorLog(distinct=(one,), sequence=(0, 0)))]
    assert fit_operators(logs) is None
