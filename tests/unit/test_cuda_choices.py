"""What the simulated GPU takes for CUDA's: lists of autocast, attention kernels, cards by name, workspaces."""

import concurrent.futures

import pytest
import torch

from advisor.errors import DeviceError, UsageError
from advisor.predict import autocast
from advisor.predict.attention import choose_kernel
from advisor.predict.cards import card_named
from advisor.predict.simulated_gpu import missing_parts, redirected
from advisor.predict.terms import Terms, Workspaces, num_bytes, recalibrated, terms_of
from advisor.units import GIB, KIB, MIB

SIMULATED_BY = ("2.13", "2.14")  # the torch of CI, and the newest that was tried


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
    registered -= set(autocast.UNREACHED)
    assert registered <= set(ours)  # an older torch knows fewer
    if torch.__version__.startswith(SIMULATED_BY):
        assert registered == {name for name in ours if autocast.operation_named(name) is not None}


def test_this_torch_has_all_that_the_simulation_needs() -> None:
    if torch.__version__.startswith(SIMULATED_BY):
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
    assert terms_of(9.0).cublas_workspace == 32 * MIB > terms_of(8.6).cublas_workspace


def test_every_thread_that_multiplies_keeps_a_workspace() -> None:
    workspaces, product = Workspaces(8.0), torch.ops.aten.mm.default
    taken = [list(workspaces.kept_by(product)) for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor(1) as backward:
        taken += [backward.submit(lambda: list(workspaces.kept_by(product))).result() for _ in range(2)]
    assert taken == [[8320 * KIB], [], [8320 * KIB], []]
    assert list(Workspaces(8.0).kept_by(torch.ops.aten.add.Tensor)) == []


def convolve(x: torch.Tensor, *, kernel: int = 3, groups: int = 1) -> tuple[object, tuple, torch.Tensor]:
    """A convolution of the width of its input, on tensors without memory: its operation, arguments and result."""
    width = x.shape[1]
    weight = torch.empty(width, width // groups, kernel, kernel, dtype=x.dtype, device="meta")
    args = (x, weight, None, [1, 1], [kernel // 2] * 2, [1, 1], False, [0, 0], groups)
    return torch.ops.aten.convolution.default, args, torch.ops.aten.convolution.default(*args)


def pictures(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(2, 16, 8, 8, dtype=dtype, device="meta")


def test_tensor_cores_read_copies_in_another_layout() -> None:
    func, args, result = convolve(pictures())
    copies = num_bytes(args[0]) + num_bytes(args[1]) + num_bytes(result)
    assert Workspaces(8.0).needed_by(func, args, result) == (copies,)
    assert Workspaces(8.0, Terms(cublas_workspace=0, convolution_layouts=1.5)).needed_by(func, args, result) == (
        1.5 * copies,
    )


def test_the_copies_of_a_gradient_are_taken_result_by_result() -> None:
    _, args, result = convolve(pictures())
    x, weight = args[:2]
    backward = torch.ops.aten.convolution_backward.default
    for needs_input in (True, False):
        given = (result, x, weight, None, *args[3:], [needs_input, True, False])
        found = Workspaces(8.0).needed_by(backward, given, backward(*given))
        to_input = num_bytes(result) + num_bytes(weight) + num_bytes(x) if needs_input else 0
        assert found == (to_input, num_bytes(result) + num_bytes(x) + num_bytes(weight))


@pytest.mark.parametrize(
    ("capability", "x", "options"),
    [
        (7.5, pictures(), {}),  # float32 has no tensor cores there
        (6.0, pictures(torch.float16), {}),
        (8.0, pictures().contiguous(memory_format=torch.channels_last), {}),
        (8.0, pictures(), {"groups": 16}),
        (8.0, pictures(), {"kernel": 1}),
    ],
)
def test_convolutions_that_copy_nothing(capability: float, x: torch.Tensor, options: dict[str, int]) -> None:
    assert Workspaces(capability).needed_by(*convolve(x, **options)) == ()


def test_a_run_on_a_real_card_corrects_the_terms_that_it_measured() -> None:
    assumed = terms_of(8.0)
    found = recalibrated(
        assumed,
        {"cublas_workspace": 20 * MIB, "convolution_layouts": 300 * MIB},
        {"cublas_workspace": round(assumed.cublas_workspace), "convolution_layouts": 400 * MIB},
    )
    assert found == Terms(cublas_workspace=20 * MIB, convolution_layouts=0.75)
    assert recalibrated(assumed, {}, {}) == assumed
    for measured, predicted in (({"no such term": 1}, {"no such term": 1}), ({"cublas_workspace": 1}, {})):
        with pytest.raises(ValueError, match="no term with a prediction"):
            recalibrated(assumed, measured, predicted)
