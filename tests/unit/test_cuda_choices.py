"""What the simulated GPU takes for CUDA's: lists of autocast, attention kernels, cards by name, workspaces."""

import pytest
import torch

from advisor.errors import DeviceError, UsageError
from advisor.predict import autocast
from advisor.predict.attention import choose_kernel
from advisor.predict.cards import card_named
from advisor.predict.simulated_gpu import missing_parts, redirected
from advisor.predict.terms import cublas_workspace_bytes
from advisor.units import GIB, MIB


def test_lists_of_autocast_are_those_that_this_torch_registers_for_cuda() -> None:
    registered = set()
    for name in torch._C._dispatch_get_all_op_names():
        if name.startswith("aten::") and torch._C._dispatch_has_kernel_for_dispatch_key(name, "AutocastCUDA"):
            registered.add(name.removeprefix("aten::"))
    ours = [
        name
        for names in (
            autocast.LOW_PRECISION,
            autocast.FLOAT32,
            autocast.FLOAT32_RESULT,
            autocast.WIDEST,
            autocast.REFUSED,
        )
        for name in names
    ]
    assert len(ours) == len(set(ours))
    assert registered <= set(ours)  # an older torch knows fewer
    if torch.__version__.startswith("2.13"):
        assert registered == set(ours)


def test_this_torch_has_all_that_the_simulation_needs() -> None:
    if torch.__version__.startswith("2.13"):
        assert missing_parts() == ()


@pytest.mark.parametrize(
    ("capability", "dtype", "head", "has_mask", "kernel"),
    [
        (8.0, torch.bfloat16, 64, False, "flash"),
        (8.0, torch.bfloat16, 64, True, "efficient"),
        (8.0, torch.float32, 64, False, "efficient"),
        (8.0, torch.float32, 65, False, "math"),
        (8.0, torch.float64, 64, False, "math"),
        (9.0, torch.float16, 512, False, "efficient"),
        (7.5, torch.float16, 64, False, "efficient"),
        (7.0, torch.bfloat16, 64, False, "math"),
        (6.0, torch.float32, 64, False, "efficient"),
        (6.0, torch.float16, 64, True, "efficient"),
    ],
)
def test_attention_kernel(capability: float, dtype: torch.dtype, head: int, has_mask: bool, kernel: str) -> None:
    chosen = choose_kernel(capability, dtype, (head, head), has_mask=has_mask, needs_mask_grad=False)
    assert chosen == kernel


def test_a_mask_with_a_gradient_needs_the_scores() -> None:
    assert choose_kernel(8.0, torch.float32, (64, 64), has_mask=True, needs_mask_grad=True) == "math"


def test_only_cuda_is_redirected() -> None:
    for name in ("cpu", torch.device("cpu"), "cudalike", None, 3):
        assert redirected(name) is name


def test_cards_by_name() -> None:
    p100 = card_named("p100")
    assert (p100.name, p100.compute_capability) == ("Tesla P100-PCIE-16GB", 6.0)
    assert 14.5 * GIB < p100.usable_bytes < p100.total_bytes <= 17_071_734_784  # what a driver reports for one
    assert card_named("RTX 3060").total_bytes <= 12_622_168_064
    assert card_named("T4").total_bytes <= 15_843_721_216
    with pytest.raises(UsageError):
        card_named("P1000000")
    with pytest.raises(DeviceError):
        card_named("MI300X")


def test_cublas_takes_more_from_hopper_on() -> None:
    assert cublas_workspace_bytes(9.0) == 32 * MIB > cublas_workspace_bytes(8.6)
