"""CUDA's autocast on the simulated GPU: which operations run in low precision, which in float32.

Lists: "CUDA Op-Specific Behavior", https://pytorch.org/docs/stable/amp.html, which are those of
``aten/src/ATen/autocast_mode.h``; a test compares their union with what this torch registers for CUDA.
A CPU's lists differ (there normalisations and softmax run in bfloat16) and would count a third too little.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from advisor.predict.nested import leaves, mapped

LOW_PRECISION = (
    "_convolution.deprecated", "_convolution", "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d",
    "conv_transpose2d.input", "conv_transpose3d.input", "convolution", "cudnn_convolution",
    "cudnn_convolution_transpose", "prelu", "addmm", "addmv", "addr", "matmul", "einsum", "mm", "mv", "linalg_vecdot",
    "linear", "addbmm", "baddbmm", "bmm", "chain_matmul", "linalg_multi_dot", "_thnn_fused_lstm_cell",
    "_thnn_fused_gru_cell", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell",
    "_scaled_dot_product_flash_attention", "scaled_dot_product_attention",
)  # fmt: skip
FLOAT32 = (
    "acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log2", "log1p", "reciprocal", "rsqrt", "sinh",
    "tan", "pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar", "softplus", "layer_norm", "native_layer_norm",
    "rms_norm", "group_norm", "frobenius_norm.dim", "nuclear_norm", "nuclear_norm.dim", "cosine_similarity",
    "poisson_nll_loss", "cosine_embedding_loss", "nll_loss", "nll_loss2d", "hinge_embedding_loss", "kl_div", "l1_loss",
    "smooth_l1_loss", "huber_loss", "mse_loss", "margin_ranking_loss", "multilabel_margin_loss", "soft_margin_loss",
    "triplet_margin_loss", "multi_margin_loss", "binary_cross_entropy_with_logits", "dist", "pdist", "cdist", "renorm",
    "logsumexp", "upsample_nearest1d", "_upsample_nearest_exact1d", "upsample_nearest2d", "_upsample_nearest_exact2d",
    "upsample_nearest3d", "_upsample_nearest_exact3d", "upsample_linear1d", "upsample_bilinear2d",
    "_upsample_bilinear2d_aa", "upsample_trilinear3d", "upsample_bicubic2d", "_upsample_bicubic2d_aa",
    "linalg_matrix_sqrth",
)  # fmt: skip
FLOAT32_RESULT = (
    "prod", "prod.dim_int", "softmax.int", "log_softmax.int", "cumprod", "cumsum", "linalg_vector_norm",
    "linalg_matrix_norm", "linalg_matrix_norm.str_ord", "sum", "sum.dim_IntList", "norm.Scalar", "norm.ScalarOpt_dim",
)  # fmt: skip
WIDEST = (
    "addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "vdot", "grid_sampler", "index_put", "tensordot",
    "scatter_add",
)  # fmt: skip
REFUSED = ("binary_cross_entropy",)
UNREACHED = ("_cudnn_rnn",)  # registered by CUDA builds only: other devices' recurrent layers run cell by cell

_FUSED_SOFTMAX = {"softmax.int": "_softmax", "log_softmax.int": "_log_softmax"}  # float16 to float32 in one kernel
_KEY = "AutocastPrivateUse1"


class CudaAutocast:
    """Kernels of the simulated device under autocast, and CUDA's cache of weights in low precision."""

    def __init__(self, device_type: str) -> None:
        self._device_type = device_type
        self._weights: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._libraries: list[torch.library.Library] = []

    def install(self) -> None:
        """Register the kernels; they last as long as this object."""
        fallback = torch.library.Library("_", "IMPL")
        fallback.fallback(torch.library.fallthrough_kernel, _KEY)
        kernels = torch.library.Library("aten", "IMPL")
        self._libraries += [fallback, kernels]
        rules: tuple[tuple[tuple[str, ...], Callable[..., Any]], ...] = (
            (LOW_PRECISION, self._in_low_precision),
            (FLOAT32, self._in_float32),
            (FLOAT32_RESULT, self._with_float32_result),
            (WIDEST, self._in_widest),
        )
        for names, rule in rules:
            for name in names:
                operation = operation_named(name)
                if operation is not None:
                    kernels.impl(name, _kernel(rule, operation, name), _KEY)

    def forget_weights(self) -> None:
        """The cache is emptied when the outermost autocast region ends."""
        self._weights.clear()

    def _in_low_precision(self, operation: Any, _: str, args: Any, kwargs: Any) -> Any:
        dtype = torch.get_autocast_dtype(self._device_type)
        return operation(*self._cast(args, dtype), **self._cast(kwargs, dtype))

    def _in_float32(self, operation: Any, _: str, args: Any, kwargs: Any) -> Any:
        return operation(*self._cast(args, torch.float32), **self._cast(kwargs, torch.float32))

    def _with_float32_result(self, operation: Any, name: str, args: Any, kwargs: Any) -> Any:
        tensor = args[0] if args else None
        dtype_position = [one.name for one in operation._schema.arguments].index("dtype") if "norm.S" not in name else 0
        has_dtype = kwargs.get("dtype") is not None or (dtype_position and len(args) > dtype_position)
        is_low = isinstance(tensor, torch.Tensor) and tensor.dtype in (torch.float16, torch.bfloat16)
        if tensor is None or not is_low or has_dtype:
            return operation(*args, **kwargs)
        if name in _FUSED_SOFTMAX and tensor.dtype == torch.float16:
            return getattr(torch.ops.aten, _FUSED_SOFTMAX[name])(tensor, args[1], True)
        if "norm.S" in name:
            return operation(tensor.float(), *args[1:], **kwargs)
        return operation(*args[: dtype_position or None], **{**kwargs, "dtype": torch.float32})

    def _in_widest(self, operation: Any, _: str, args: Any, kwargs: Any) -> Any:
        found = [leaf.dtype for leaf in leaves((args, kwargs)) if self._is_eligible(leaf)]
        if len(set(found)) < 2:
            return operation(*args, **kwargs)
        widest = max(found, key=lambda dtype: dtype.itemsize)
        return operation(*self._cast(args, widest), **self._cast(kwargs, widest))

    def _is_eligible(self, value: Any) -> bool:
        return (
            isinstance(value, torch.Tensor)
            and value.device.type == self._device_type
            and value.is_floating_point()
            and value.dtype != torch.float64
        )

    def _cast(self, values: Any, dtype: torch.dtype) -> Any:
        return mapped(lambda value: self._cast_one(value, dtype), values)

    def _cast_one(self, value: Any, dtype: torch.dtype) -> Any:
        if not self._is_eligible(value) or value.dtype == dtype:
            return value
        is_weight = dtype.itemsize < 4 and value.dtype == torch.float32 and value.requires_grad and value.is_leaf
        if not (is_weight and torch.is_autocast_cache_enabled()):
            return value.to(dtype)
        if id(value) not in self._weights:
            self._weights[id(value)] = (value, value.to(dtype))
        return self._weights[id(value)][1]


def operation_named(name: str) -> Any | None:
    """The operation of this torch, or ``None`` if it has none of that name."""
    base, _, overload = name.partition(".")
    packet = getattr(torch.ops.aten, base, None)
    return None if packet is None else getattr(packet, overload or "default", None)


def _kernel(rule: Callable[..., Any], operation: Any, name: str) -> Callable[..., Any]:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        with _without_autocast():
            return rule(operation, name, args, kwargs)

    return kernel


@contextlib.contextmanager
def _without_autocast() -> Iterator[None]:
    keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, _KEY))
    with torch._C._ExcludeDispatchKeyGuard(keys):
        yield
