"""The same operation on the same shapes returns the same shapes: what is known is not worked out again.

A training step is a few dozen operations, thousands of times, and a fake tensor's way to its result is long: with
PyTorch's own cache of results, to look one up takes longer than to make it.
"""

from typing import Any

import torch

from advisor.predict.nested import leaves
from advisor.predict.simulated_gpu.torch_parts import fake_tensors
from advisor.records import record

_PLAIN = (int, float, bool, complex, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)
_HANG_ON_STORAGE = ("aten::set_", "aten::as_strided")  # not on shapes alone


@record
class _Argument:
    """A result that is an argument, changed in place."""

    position: int


@record
class _Strided:
    """A result in the storage of an argument, or in one of its own."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    base: int | None  # the position of the argument


class _NotPlainError(Exception):
    """There is more to it than shapes, strides and types."""


class KnownResults:
    """What operations on the card returned, by operation and shapes of the arguments."""

    def __init__(self, fake_mode: Any, device: torch.device) -> None:
        self._fake_mode, self._fake_type, self._device = fake_mode, fake_tensors()[1], device
        self._known: dict[Any, tuple[_Argument | _Strided | None, ...] | _Argument | _Strided | None] = {}

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of an operation, without values."""
        key = self._key(func, args, kwargs)
        if key in self._known:
            known = self._known[key]
            return [self._made(one, args) for one in known] if isinstance(known, tuple) else self._made(known, args)
        with self._fake_mode:
            result = func(*args, **kwargs)
        if key is not None and key == self._key(func, args, kwargs):  # not if an argument has another shape now
            self._keep(key, result, args, kwargs)
        return result

    def new(self, shape: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A tensor on the card, in a storage of its own."""
        return self._on_card(torch.empty_strided(shape, stride, dtype=dtype, device="meta"))

    # ---- arguments ------------------------------------------------------------------------------

    def _key(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any | None:
        if func.namespace != "aten" or func._schema.name in _HANG_ON_STORAGE:
            return None
        try:
            return func, self._part(args), tuple(kwargs), self._part(tuple(kwargs.values()))
        except _NotPlainError:
            return None

    def _part(self, value: Any) -> Any:
        if isinstance(value, self._fake_type):
            return self._plain(value)
        if isinstance(value, (list, tuple)):
            return tuple([self._part(one) for one in value])
        if not isinstance(value, _PLAIN):
            raise _NotPlainError
        return type(value), value  # True is not 1 here

    def _plain(self, tensor: Any) -> tuple[Any, ...]:
        if tensor.layout != torch.strided or tensor.is_conj() or tensor.is_neg():
            raise _NotPlainError
        return tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.dtype

    # ---- results --------------------------------------------------------------------------------

    def _keep(self, key: Any, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        taken: dict[int, int | None] = {}  # the argument that has a storage; None: one in a list, or a result
        for k, one in enumerate(args):
            if isinstance(one, self._fake_type):
                taken.setdefault(_storage(one), k)
        for one in leaves((args, kwargs)):
            if isinstance(one, self._fake_type):
                taken.setdefault(_storage(one), None)
        try:
            if isinstance(result, (list, tuple)):
                self._known[key] = tuple([self._described(one, args, taken) for one in result])
            else:
                self._known[key] = self._described(result, args, taken)
        except _NotPlainError:
            return

    def _described(self, result: Any, args: tuple[Any, ...], taken: dict[int, int | None]) -> Any:
        if result is None:
            return None
        if not isinstance(result, self._fake_type):
            raise _NotPlainError
        for k, one in enumerate(args):
            if one is result:
                return _Argument(position=k)
        shape, stride, offset, dtype = self._plain(result)
        storage = _storage(result)
        base = taken.get(storage)
        found = _Strided(shape=shape, stride=stride, offset=offset, dtype=dtype, base=base)
        if base is None:
            is_shared = storage in taken
            if is_shared or offset or _num_bytes(self._made(found, args)) != _num_bytes(result):
                raise _NotPlainError
            taken[storage] = None
        return found

    def _made(self, known: _Argument | _Strided | None, args: tuple[Any, ...]) -> Any:
        if known is None:
            return None
        if isinstance(known, _Argument):
            return args[known.position]
        if known.base is None:
            return self.new(known.shape, known.stride, known.dtype)
        meta = torch.empty(0, dtype=known.dtype, device="meta")
        meta.set_(args[known.base].untyped_storage(), known.offset, known.shape, known.stride)
        return self._on_card(meta)

    def _on_card(self, meta: torch.Tensor) -> torch.Tensor:
        on_card: torch.Tensor = self._fake_type(self._fake_mode, meta, self._device)
        return on_card


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _num_bytes(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().nbytes()
