"""What a training step asks a card to compute, operator by operator, at any batch.

Seen in the same simulated run that traces memory. Each operator is a matrix product of some kind (convolutions and
attention are), or work on memory; its sizes are polynomials of the micro-batch, so a step seen at two micro-batches
is known at all.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from advisor.predict.affine import lagrange_weights
from advisor.predict.nested import leaves
from advisor.records import record

if TYPE_CHECKING:
    import torch

    from advisor.predict.recorder import Recorder

KINDS = ("convolution", "linear", "bmm", "attention", "softmax", "normalisation", "elementwise")
MICRO_PHASES = ("first_micro_batch", "later_micro_batches")
UPDATE_PHASES = ("clip", "optimizer", "ema")
FOREACH_TENSORS = 48  # of one multi-tensor kernel: depth_to_max_tensors, aten/src/ATen/native/cuda/MultiTensorApply.cuh

_SILENT = (
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_local_scalar_dense", "detach",
    "lift_fresh", "_reshape_alias", "_unsafe_view", "alias", "set_", "resize_",
)  # fmt: skip
_OVERWRITING = ("copy_", "fill_", "zero_", "normal_", "uniform_", "random_", "bernoulli_")
_NORMALISATIONS = ("group_norm", "layer_norm", "batch_norm", "rms_norm")


@record
class Operator:
    """One call: what kind, in which precision, and how much.

    ``products`` independent products of an M x K with a K x N matrix (zeros where it is none), ``num_bytes`` read
    and written once, ``launches`` kernels. ``is_plain``: no convolution other than 3x3 with stride 1 and one group.
    ``is_backward``: a convolution for a gradient, by kernels of its own.
    """

    phase: str
    kind: str
    precision: str
    products: int = 0
    m: int = 0
    n: int = 0
    k: int = 0
    num_bytes: int = 0
    launches: int = 1
    is_plain: bool = True
    is_backward: bool = False

    @property
    def flops(self) -> float:
        """Floating-point operations, a multiply-add as two."""
        return 2.0 * self.products * self.m * self.n * self.k


@record
class OperatorLog:
    """A step's calls in their order: ``sequence`` counts into ``distinct``."""

    distinct: tuple[Operator, ...]
    sequence: tuple[int, ...]


class OperatorRecorder:
    """Notes what the operations of a step ask for."""

    def __init__(self, recorder: "Recorder") -> None:
        self._recorder = recorder
        self._found: list[tuple[int, Operator]] = []

    def see(self, func: Any, args: tuple[Any, ...], result: Any) -> None:
        """Note one operation and what it returned."""
        phase = self._recorder.present_phase
        if phase is not None and phase.phase in (*MICRO_PHASES, *UPDATE_PHASES):
            self._found += [(phase.event, one) for one in operators_of(func, args, result, phase.phase)]

    def log(self) -> OperatorLog:
        """The last step: the first one makes the optimizer's state, too."""
        start = self._recorder.last_start("first_micro_batch")
        last = [one for event, one in self._found if event >= start]
        distinct = {one: k for k, one in enumerate(dict.fromkeys(last))}
        return OperatorLog(distinct=tuple(distinct), sequence=tuple(distinct[one] for one in last))


def operators_of(func: Any, args: tuple[Any, ...], result: Any, phase: str) -> Iterator[Operator]:
    """The work of one operation; nothing for views and for what only makes a tensor."""
    namespace, _, name = func._schema.name.partition("::")
    if namespace != "aten" or name in _SILENT or func.is_view:
        return
    if name == "convolution":
        yield _convolution(args[0], args[1], result, args[8], args[6], phase)
    elif name == "convolution_backward":
        yield from _convolution_backward(args, result, phase)
    elif name in ("mm", "addmm", "bmm", "baddbmm"):
        yield _product(name, args, result, phase)
    elif "attention" in name and "scaled_dot_product" in name:
        yield _attention(name, args, result, phase)
    else:
        yield _on_memory(func, name, args, result, phase)


# ---- kinds --------------------------------------------------------------------------------------


def _convolution(x: Any, weight: Any, out: Any, groups: int, transposed: bool, phase: str) -> Operator:
    """Implicit matrix product: pictures and places x output channels x (input channels and kernel)."""
    deep = x if transposed else out  # the side on which every place is a product
    area = math.prod(weight.shape[2:])
    return Operator(
        phase=phase,
        kind="convolution" if area > 1 else "linear",
        precision=precision_of(out, convolution=True),
        products=groups,
        m=deep.numel() // deep.shape[1],
        n=weight.shape[0] // groups,
        k=weight.numel() // weight.shape[0],
        num_bytes=size_of(x) + size_of(weight) + size_of(out),
        is_plain=groups == 1 and tuple(weight.shape[2:]) == (3, 3) and x.shape[2:] == out.shape[2:],
    )


def _convolution_backward(args: tuple[Any, ...], result: Any, phase: str) -> Iterator[Operator]:
    """The gradients of input and of weight cost a forward pass each; that of the bias a pass over memory."""
    gradient, x, weight, transposed, groups = *args[:3], args[7], args[9]
    for k in (0, 1):
        if result[k] is not None:
            forward = _convolution(x, weight, gradient, groups, transposed, phase)
            yield dataclasses.replace(forward, is_backward=True)
    if result[2] is not None:
        yield _memory("elementwise", gradient, phase)


def _product(name: str, args: tuple[Any, ...], result: Any, phase: str) -> Operator:
    left, right = args[1:3] if name in ("addmm", "baddbmm") else args[:2]
    is_many = left.dim() == 3
    return Operator(
        phase=phase,
        kind="bmm" if is_many else "linear",
        precision=precision_of(result),
        products=left.shape[0] if is_many else 1,
        m=left.shape[-2],
        n=right.shape[-1],
        k=left.shape[-1],
        num_bytes=size_of(left) + size_of(right) + size_of(result),
    )


def _attention(name: str, args: tuple[Any, ...], result: Any, phase: str) -> Operator:
    """Fused: two products forward, five backward; the scores never leave the chip."""
    backward = "backward" in name
    query, key, value = args[1:4] if backward else args[:3]
    tokens = [leaf for leaf in _tensors((args, result)) if leaf.dim() == 4]
    heads, lengths = math.prod(query.shape[:2]), (query.shape[2], key.shape[2])
    products = 5 if backward else 2
    return Operator(
        phase=phase,
        kind="attention",
        precision=precision_of(query),
        products=heads,
        m=lengths[0],
        n=lengths[1],
        k=products * (query.shape[3] + value.shape[3]) // 2,
        num_bytes=sum(size_of(one) for one in tokens),
    )


def _on_memory(func: Any, name: str, args: tuple[Any, ...], result: Any, phase: str) -> Operator:
    kind = "elementwise"
    if "softmax" in name:
        kind = "softmax"
    elif any(word in name for word in _NORMALISATIONS):
        kind = "normalisation"
    if name in _OVERWRITING:
        return _memory(kind, (args[1:], result), phase)
    if not name.startswith(("_foreach", "_fused")):
        return _memory(kind, (args, result), phase)
    written = result  # but in place they return nothing
    if func._schema.is_mutable:
        written = args[0] if name.startswith("_foreach") else (args[0], args[2:4])  # weights and their moments
    return _memory(kind, (args, written), phase, launches=-(-len(args[0]) // FOREACH_TENSORS))


def _memory(kind: str, values: Any, phase: str, *, launches: int = 1) -> Operator:
    found = list(_tensors(values))
    widest = max(found, key=lambda one: one.element_size(), default=None)
    return Operator(
        phase=phase,
        kind=kind,
        precision="fp32" if widest is None else precision_of(widest),
        num_bytes=sum(size_of(one) for one in found),
        launches=launches,
    )


def _tensors(values: Any) -> Iterator[Any]:
    import torch

    return (leaf for leaf in leaves(values) if isinstance(leaf, torch.Tensor))


def size_of(tensor: "torch.Tensor") -> int:
    """Bytes that are read or written; what is broadcast is read once."""
    elements = math.prod(size for size, stride in zip(tensor.shape, tensor.stride()) if stride != 0)
    return elements * tensor.element_size()


def precision_of(tensor: "torch.Tensor", *, convolution: bool = False) -> str:
    """In which precision a product of such tensors is computed; TF32 where PyTorch's switches allow it."""
    import torch

    names = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float64: "fp64"}
    if tensor.dtype != torch.float32:
        return names.get(tensor.dtype, "fp32")
    allowed = torch._C._get_cudnn_allow_tf32() if convolution else torch.get_float32_matmul_precision() != "highest"
    return "tf32" if allowed else "fp32"


# ---- at any batch -------------------------------------------------------------------------------


@record
class OperatorModel:
    """The operators of a step at any micro-batch, each with how often it is called."""

    micro_batches: tuple[int, int]
    pairs: tuple[tuple[Operator, Operator, int], ...]

    def at(self, micro_batch: int) -> tuple[tuple[Operator, int], ...]:
        """Every operator at this micro-batch, with its number of calls."""
        weights = lagrange_weights(self.micro_batches, micro_batch)
        return tuple((_between(small, large, weights), count) for small, large, count in self.pairs)


def fit_operators(logs: Sequence[tuple[int, OperatorLog]]) -> OperatorModel | None:
    """A straight line through the smallest and the largest micro-batch; ``None`` if they do not do the same."""
    ordered = sorted(logs, key=lambda one: one[0])
    (small_batch, small), (large_batch, large) = ordered[0], ordered[-1]
    if small_batch == large_batch or len(small.sequence) != len(large.sequence) or not small.sequence:
        return None
    counts = Counter(zip(small.sequence, large.sequence))
    pairs = tuple((small.distinct[i], large.distinct[j], count) for (i, j), count in counts.items())
    if any((one.phase, one.kind) != (other.phase, other.kind) for one, other, _ in pairs):
        return None
    return OperatorModel(micro_batches=(small_batch, large_batch), pairs=pairs)


def _between(small: Operator, large: Operator, weights: tuple[float, ...]) -> Operator:
    def line(name: str) -> int:
        low, high = int(getattr(small, name)), int(getattr(large, name))
        return low if low == high else max(1, round(weights[0] * low + weights[1] * high))

    return Operator(
        phase=small.phase,
        kind=small.kind,
        precision=small.precision,
        products=line("products"),
        m=line("m"),
        n=line("n"),
        k=line("k"),
        num_bytes=line("num_bytes"),
        launches=small.launches,
        is_plain=small.is_plain,
        is_backward=small.is_backward,
    )
