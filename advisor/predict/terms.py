"""What a training step takes from a card besides its tensors: each cause with where its figure is from.

Calibration: ``benchmarks/memory_published.py``.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from advisor.units import KIB, MIB

if TYPE_CHECKING:
    import torch

CUBLAS_WORKSPACE_BYTES = 8320 * KIB  # ":4096:2:16:8" of CUBLAS_WORKSPACE_CONFIG, torch's default
CUBLAS_WORKSPACE_HOPPER_BYTES = 32 * MIB  # from compute capability 9.0 on
_TENSOR_CORES_FLOAT32 = 8.0  # TF32, which cuDNN may use by default
_TENSOR_CORES_FLOAT16 = 7.0
_MATMULS = ("mm", "addmm", "bmm", "baddbmm", "addmv", "mv")


def cublas_workspace_bytes(compute_capability: float) -> int:
    """What the first matrix product takes from the allocator and keeps.

    Source: ``aten/src/ATen/cuda/CublasHandlePool.cpp``.
    """
    return CUBLAS_WORKSPACE_HOPPER_BYTES if compute_capability >= 9.0 else CUBLAS_WORKSPACE_BYTES


class Workspaces:
    """What kernels take besides their results, operation by operation."""

    def __init__(self, compute_capability: float) -> None:
        self._compute_capability = compute_capability
        self._has_cublas = False

    def kept_by(self, func: Any) -> Iterator[int]:
        """Bytes taken once and never given back."""
        if not self._has_cublas and func._schema.name.removeprefix("aten::") in _MATMULS:
            self._has_cublas = True
            yield cublas_workspace_bytes(self._compute_capability)

    def needed_by(self, func: Any, args: tuple[Any, ...], result: Any) -> Iterator[int]:
        """Bytes taken while the operation runs."""
        name = func._schema.name
        if name == "aten::convolution":
            yield from self._convolution(args, result)
        elif name == "aten::convolution_backward":
            yield from self._convolution_backward(args, result)

    def _convolution(self, args: tuple[Any, ...], result: "torch.Tensor") -> Iterator[int]:
        x, weight, groups = args[0], args[1], args[8]
        if groups == 1 and self._changes_layout(x):
            yield num_bytes(x) + num_bytes(weight) + num_bytes(result)

    def _convolution_backward(self, args: tuple[Any, ...], result: Any) -> Iterator[int]:
        gradient, x, weight, groups = *args[:3], args[9]
        if groups == 1 and self._changes_layout(x):
            if result[0] is not None:
                yield num_bytes(gradient) + num_bytes(weight) + num_bytes(result[0])
            yield num_bytes(gradient) + num_bytes(x) + num_bytes(weight)

    def _changes_layout(self, x: "torch.Tensor") -> bool:
        """Whether the kernel works on channels-last copies: tensor cores do, from channels-first tensors."""
        least = _TENSOR_CORES_FLOAT32 if x.element_size() == 4 else _TENSOR_CORES_FLOAT16
        if x.dim() != 4 or self._compute_capability < least:
            return False
        import torch

        return x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last)


def num_bytes(tensor: "torch.Tensor") -> int:
    """Bytes of the elements."""
    return tensor.numel() * tensor.element_size()
