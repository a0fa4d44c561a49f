"""Results that are known are what PyTorch would work out again, and nothing that hangs on more is kept."""

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from advisor.predict.nested import leaves
from advisor.predict.simulated_gpu.known_results import KnownResults

ATEN = torch.ops.aten
CPU = torch.device("cpu")


class Bench:
    """Operations on fake tensors, with a note of whether PyTorch had to work each out."""

    def __init__(self) -> None:
        self.mode = FakeTensorMode()
        self.results = KnownResults(self.mode, CPU)
        self.worked_out: list[bool] = []

    def new(self, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        with self.mode:
            return torch.empty(shape, dtype=dtype)

    def run(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        enter, entered = type(self.mode).__enter__, mock.Mock()

        def noted(mode: Any) -> Any:
            entered()
            return enter(mode)

        with mock.patch.object(type(self.mode), "__enter__", noted):
            try:
                return self.results.run(func, args, kwargs)
            finally:
                self.worked_out.append(entered.called)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def look(result: Any, args: tuple[Any, ...]) -> list[Any]:
    """Shapes, strides and types, and which argument each result shares its storage with."""
    storages = [one.untyped_storage()._cdata for one in leaves(args) if isinstance(one, torch.Tensor)]
    return [
        (one.shape, one.stride(), one.storage_offset(), one.dtype, one.device,
         [one.untyped_storage()._cdata == storage for storage in storages], one.untyped_storage().nbytes())
        if isinstance(one, torch.Tensor) else one
        for one in leaves(result)
    ]  # fmt: skip


CALLS: dict[str, Callable[[Bench], tuple[Any, ...]]] = {
    "product": lambda b: (ATEN.mm.default, b.new(3, 4), b.new(4, 5)),
    "broadcast": lambda b: (ATEN.add.Tensor, b.new(3, 1), b.new(1, 5)),
    "channels last stay": lambda b: (ATEN.relu.default, b.new(2, 4, 4, 3).permute(0, 3, 1, 2)),
    "convolution": lambda b: (
        ATEN.convolution.default, b.new(2, 3, 8, 8), b.new(4, 3, 3, 3), None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1,
    ),
    "several results": lambda b: (ATEN.native_layer_norm.default, b.new(2, 6), [6], b.new(6), None, 1e-5),
    "a result that is not wanted": lambda b: (
        ATEN.native_layer_norm_backward.default,
        b.new(2, 6), b.new(2, 6), [6], b.new(2, 1), b.new(2, 1), b.new(6), None, [True, True, False],
    ),
    "view": lambda b: (ATEN.view.default, b.new(2, 6), [3, 4]),
    "view of a part": lambda b: (ATEN.slice.Tensor, b.new(8, 6), 0, 2, 4),
    "view of a view": lambda b: (ATEN.t.default, b.new(8, 6)[2:4]),
    "several views": lambda b: (ATEN.split.Tensor, b.new(8, 6), 3),
    "a view that says it is none": lambda b: (ATEN._unsafe_view.default, b.new(2, 6), [3, 4]),
    "in place": lambda b: (ATEN.add_.Tensor, b.new(3), b.new(3)),
    "list in place": lambda b: (ATEN._foreach_add_.Scalar, [b.new(3), b.new(4)], 1.0),
    "list": lambda b: (ATEN._foreach_mul.Scalar, [b.new(3), b.new(4)], 2.0),
    "same bits as another type": lambda b: (ATEN.view.dtype, b.new(4), torch.int32),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_second_result_is_like_the_first_and_not_worked_out(
    bench: Bench, call: Callable[[Bench], tuple[Any, ...]]
) -> None:
    func, *args = call(bench)
    with bench.mode:
        expected = look(func(*args), tuple(args))
    assert look(bench.run(func, *args), tuple(args)) == expected
    func, *others = call(bench)
    result = bench.run(func, *others)
    assert look(result, tuple(others)) == expected
    assert bench.worked_out == [True, False]
    mine = {one.untyped_storage()._cdata for one in leaves(args) if isinstance(one, torch.Tensor)}
    assert not any(one.untyped_storage()._cdata in mine for one in leaves(result) if isinstance(one, torch.Tensor))


def test_what_is_changed_in_place_is_returned(bench: Bench) -> None:
    for _ in range(2):
        changed = bench.new(3)
        assert bench.run(ATEN.mul_.Scalar, changed, 2.0) is changed


@pytest.mark.parametrize(
    ("func", "one", "other"),
    [
        (ATEN.mm.default, [(3, 4), (4, 5)], [(3, 4), (4, 6)]),
        (ATEN.sum.dim_IntList, [(3, 4), [0], True], [(3, 4), [0], False]),
        (ATEN.add.Tensor, [(3, 4), torch.float16], [(3, 4), torch.float32]),
    ],
)
def test_other_arguments_have_their_own_result(bench: Bench, func: Any, one: list[Any], other: list[Any]) -> None:
    def made(argument: Any) -> Any:
        if isinstance(argument, torch.dtype):
            return bench.new(4, dtype=argument)
        return bench.new(*argument) if isinstance(argument, tuple) else argument

    results = [bench.run(func, *map(made, arguments)) for arguments in (one, other)]
    assert results[0].shape != results[1].shape or func is ATEN.add.Tensor
    assert bench.worked_out == [True, True]


def test_a_number_is_not_the_truth_value_that_equals_it(bench: Bench) -> None:
    counts = bench.new(3, dtype=torch.int64)
    dtypes = [bench.run(ATEN.mul.Scalar, counts, factor).dtype for factor in (1, 1.0, True)]
    assert dtypes == [torch.int64, torch.float32, torch.int64]


@pytest.mark.parametrize("shape", [(2, 3), (50, 50)])
def test_a_tensor_that_gets_another_shape_is_worked_out_every_time(bench: Bench, shape: tuple[int, ...]) -> None:
    for _ in range(2):
        changed = bench.new(4, 4)
        assert bench.run(ATEN.resize_.default, changed, list(shape)).shape == shape
        assert changed.shape == shape
    assert bench.worked_out == [True, True]


def test_a_tensor_that_gets_another_storage_has_it_every_time(bench: Bench) -> None:
    for _ in range(2):
        changed, source = bench.new(4), bench.new(4)
        bench.run(ATEN.set_.source_Tensor, changed, source)
        assert changed.untyped_storage()._cdata == source.untyped_storage()._cdata


def test_a_refusal_is_not_kept(bench: Bench) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match="a and b"):
            bench.run(ATEN.mm.default, bench.new(3, 4), bench.new(3, 4))
    assert bench.worked_out == [True, True]


def test_a_view_is_of_its_own_base_where_arguments_shared_one(bench: Bench) -> None:
    """Known from a call whose arguments share their storage, asked for where they do not."""
    both = bench.new(2, 3)
    bench.run(ATEN.add_.Tensor, both, both.t().t())
    apart = bench.new(2, 3), bench.new(2, 3)
    assert bench.run(ATEN.add_.Tensor, *apart) is apart[0]


def test_a_tensor_that_is_more_than_its_shape_is_worked_out_every_time(bench: Bench) -> None:
    with bench.mode:
        conjugated = torch.empty(3, dtype=torch.complex64).conj()
    for _ in range(2):
        assert bench.run(ATEN.clone.default, conjugated).shape == (3,)
    assert bench.worked_out == [True, True]
