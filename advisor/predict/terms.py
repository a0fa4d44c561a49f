"""What a training step takes from a card besides its tensors: each cause by its name, with where its figure is from.

On a real card each can be measured by itself; :func:`recalibrated` takes such figures in.
"""

import dataclasses
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from advisor.records import record
from advisor.units import KIB, MIB

if TYPE_CHECKING:
    import torch

CUBLAS_WORKSPACE_BYTES = 8320 * KIB  # ":4096:2:16:8" of CUBLAS_WORKSPACE_CONFIG, torch's default
CUBLAS_WORKSPACE_HOPPER_BYTES = 32 * MIB  # from compute capability 9.0 on
_TENSOR_CORES_FLOAT32 = 8.0  # TF32, which cuDNN may use by default
_TENSOR_CORES_FLOAT16 = 7.0
_MATMULS = ("mm", "addmm", "bmm", "baddbmm", "addmv", "mv")


@record
class Terms:
    """One figure a cause.

    ``cublas_workspace``: bytes that every thread which multiplies matrices takes from the allocator with its first
    product, and keeps (``aten/src/ATen/cuda/CublasHandlePool.cpp``: a handle a thread, a workspace a handle; the
    backward pass has a thread of its own). ``convolution_layouts``: share of input, weight and output that a
    convolution takes for its duration, where its kernel wants another layout than the tensors have; 1 is a copy of
    each.
    """

    cublas_workspace: float
    convolution_layouts: float = 1.0


def terms_of(compute_capability: float) -> Terms:
    """What is assumed for cards of this capability."""
    is_hopper = compute_capability >= 9.0
    return Terms(cublas_workspace=CUBLAS_WORKSPACE_HOPPER_BYTES if is_hopper else CUBLAS_WORKSPACE_BYTES)


def recalibrated(terms: Terms, measured: Mapping[str, int], predicted: Mapping[str, int]) -> Terms:
    """The terms as a run on a real card says they are.

    Args:
        terms: what was assumed.
        measured: bytes by the name of a term, as that run took them.
        predicted: bytes of the same names in the simulation of the same run.

    Raises:
        ValueError: for a name that is no term, or was not predicted or came out as nothing.
    """
    known = {field.name for field in dataclasses.fields(terms)}
    wrong = [name for name in measured if name not in known or not predicted.get(name)]
    if wrong:
        raise ValueError(f"{', '.join(sorted(wrong))}: no term with a prediction (terms: {', '.join(sorted(known))})")
    factors = {name: num_bytes / predicted[name] for name, num_bytes in measured.items()}
    return dataclasses.replace(terms, **{name: getattr(terms, name) * factor for name, factor in factors.items()})


class Workspaces:
    """What kernels take besides their results, operation by operation."""

    def __init__(self, compute_capability: float, terms: Terms | None = None) -> None:
        self._compute_capability = compute_capability
        self._terms = terms or terms_of(compute_capability)
        self._threads: set[int] = set()

    def kept_by(self, func: Any) -> Iterator[int]:
        """Bytes taken once and never given back."""
        is_matmul = func._schema.name.removeprefix("aten::") in _MATMULS
        if is_matmul and threading.get_ident() not in self._threads:
            self._threads.add(threading.get_ident())
            yield round(self._terms.cublas_workspace)

    def needed_by(self, func: Any, args: tuple[Any, ...], result: Any) -> tuple[int, ...]:
        """Bytes taken for a moment, one figure for each result: when it exists, and the next does not yet."""
        name = func._schema.name
        if name == "aten::convolution" and self._changes_layout(args[0], args[1], groups=args[8]):
            return (self._layouts(args[0], args[1], result),)
        if name == "aten::convolution_backward" and self._changes_layout(args[1], args[2], groups=args[9]):
            gradient, x, weight = args[:3]
            to_input = self._layouts(gradient, weight, result[0]) if result[0] is not None else 0
            return (to_input, self._layouts(gradient, x, weight))
        return ()

    def _layouts(self, *tensors: "torch.Tensor") -> int:
        return round(self._terms.convolution_layouts * sum(num_bytes(tensor) for tensor in tensors))

    def _changes_layout(self, x: "torch.Tensor", weight: "torch.Tensor", *, groups: int) -> bool:
        """Whether the kernel works on channels-last copies: tensor cores do, from channels-first tensors.

        A kernel of one pixel is a plain matrix product in either layout. Convolutions in groups have kernels of
        PyTorch's own, or read what is there.
        """
        least = _TENSOR_CORES_FLOAT32 if x.element_size() == 4 else _TENSOR_CORES_FLOAT16
        is_product = all(size == 1 for size in weight.shape[2:])
        if x.dim() != 4 or groups != 1 or is_product or self._compute_capability < least:
            return False
        import torch

        return x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last)


def num_bytes(tensor: "torch.Tensor") -> int:
    """Bytes of the elements."""
    return tensor.numel() * tensor.element_size()
