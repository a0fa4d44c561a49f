"""Which kernel CUDA takes for scaled dot-product attention: it decides whether the scores are stored.

Source: ``aten/src/ATen/native/transformers/cuda/sdp_utils.cpp`` (order: flash, memory-efficient, math).
"""

from typing import Any

import torch

_FLASH_MIN_CAPABILITY = 8.0
_FLASH_MAX_HEAD = 256
_EFFICIENT_MIN_CAPABILITY = 5.0


def choose_kernel(
    compute_capability: float, dtype: torch.dtype, head_dims: tuple[int, int], *, has_mask: bool, needs_mask_grad: bool
) -> str:
    """``flash``, ``efficient`` or ``math``.

    ``head_dims`` are those of the query and of the value.
    """
    is_low = dtype in (torch.float16, torch.bfloat16)
    same_heads = head_dims[0] == head_dims[1]
    fits_flash = is_low and same_heads and head_dims[0] <= _FLASH_MAX_HEAD and not has_mask
    if fits_flash and compute_capability >= _FLASH_MIN_CAPABILITY:
        return "flash"
    known = is_low or dtype == torch.float32
    if dtype == torch.bfloat16 and compute_capability < _FLASH_MIN_CAPABILITY:
        known = False
    aligned = all(dim % _alignment(compute_capability, dtype) == 0 for dim in head_dims)
    if known and aligned and compute_capability >= _EFFICIENT_MIN_CAPABILITY and not needs_mask_grad:
        return "efficient"
    return "math"


def _alignment(compute_capability: float, dtype: torch.dtype) -> int:
    if compute_capability >= 8.0:
        return 4 if dtype == torch.float32 else 8
    if compute_capability >= 7.0:
        return 1 if dtype == torch.float32 else 4
    return 1


class CudaAttention:
    """``scaled_dot_product_attention`` of the simulated device."""

    def __init__(self) -> None:
        self.compute_capability = 0.0
        self._library: torch.library.Library | None = None

    def install(self) -> None:
        """Register the kernel; it lasts as long as this object."""
        self._library = torch.library.Library("aten", "IMPL")
        for key in ("AutogradPrivateUse1", "PrivateUse1"):
            self._library.impl("scaled_dot_product_attention", self._attend, key)

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        aten: Any = torch.ops.aten
        four_dims = query.dim() == key.dim() == value.dim() == 4
        kernel = choose_kernel(
            self.compute_capability,
            query.dtype,
            (query.shape[-1], value.shape[-1]),
            has_mask=attn_mask is not None,
            needs_mask_grad=attn_mask is not None and attn_mask.requires_grad,
        )
        if not four_dims or (enable_gqa and kernel == "efficient"):
            kernel = "math"
        if kernel == "flash":
            padded = [pad_last(one, 8) for one in (query, key, value)]
            scale = query.shape[-1] ** -0.5 if scale is None else scale
            result = aten._scaled_dot_product_flash_attention(*padded, dropout_p, is_causal, scale=scale)[0]
            return result[..., : query.shape[-1]] if padded[0] is not query else result  # type: ignore[no-any-return]
        if kernel == "efficient":
            bias = _as_bias(attn_mask, query, key)
            keeps = torch.is_grad_enabled() and any(one.requires_grad for one in (query, key, value))
            return aten._scaled_dot_product_efficient_attention(  # type: ignore[no-any-return]
                query, key, value, bias, keeps, dropout_p, is_causal, scale=scale
            )[0]
        return aten._scaled_dot_product_attention_math(  # type: ignore[no-any-return]
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )[0]


def pad_last(tensor: torch.Tensor, multiple: int) -> torch.Tensor:
    """The tensor with its last dimension filled up to a multiple."""
    missing = -tensor.shape[-1] % multiple
    return torch.nn.functional.pad(tensor, (0, missing)) if missing else tensor


def _as_bias(mask: torch.Tensor | None, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor | None:
    """An additive mask of the query's type, expanded as the kernel wants it."""
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(mask.logical_not(), float("-inf"))
    return mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])
