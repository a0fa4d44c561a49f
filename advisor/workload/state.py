"""What a workload keeps from step to step: exact bytes by cause."""

from collections.abc import Iterable, Iterator

import torch

from advisor.records import Breakdown
from advisor.workload.protocol import Workload


def static_breakdown(workload: Workload) -> Breakdown:
    """Exact bytes of weights, gradients, optimizer state and EMA; each storage is counted once.

    To be read after an optimizer step, when all of them exist.
    """
    model, optimizer = workload.model, workload.optimizer
    seen: set[int] = set()
    weights_bytes = _storage_bytes([*model.parameters(), *model.buffers()], seen)
    gradients_bytes = _storage_bytes([p.grad for p in model.parameters() if p.grad is not None], seen)
    optimizer_bytes = _storage_bytes(_tensors_in(optimizer.state), seen)
    ema_bytes = _storage_bytes(_tensors_in(workload.ema), seen) if workload.ema is not None else 0
    return Breakdown(
        weights_bytes=weights_bytes,
        gradients_bytes=gradients_bytes,
        optimizer_bytes=optimizer_bytes,
        ema_bytes=ema_bytes,
    )


def _storage_bytes(tensors: Iterable[torch.Tensor], seen: set[int]) -> int:
    total_bytes = 0
    for tensor in tensors:
        storage = tensor.untyped_storage()
        if storage.nbytes() and storage._cdata not in seen:
            seen.add(storage._cdata)
            total_bytes += storage.nbytes()
    return total_bytes


def _tensors_in(value: object, depth: int = 6) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif depth and isinstance(value, torch.nn.Module):
        yield from (*value.parameters(), *value.buffers())
    elif depth and isinstance(value, dict):
        for item in value.values():
            yield from _tensors_in(item, depth - 1)
    elif depth and isinstance(value, (list, tuple, set)):
        for item in value:
            yield from _tensors_in(item, depth - 1)
    elif depth and hasattr(value, "__dict__") and not isinstance(value, type):
        yield from _tensors_in(vars(value), depth - 1)
