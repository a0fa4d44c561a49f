"""Workloads on a CPU that has only so many bytes for tensors: a small device whose limit is known to the byte.

The limit is kept by counting the storages of all live tensors; whatever would go beyond ends in PyTorch's own
out-of-memory error, as on a card. Steps and errors are counted for whoever searches on it.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from advisor import Workload
from advisor.measure.memory import LiveTensors
from advisor.workload import synthetic

NETS = Path(__file__).resolve().parents[1] / "tests" / "fakes"


class LimitedDevice(LiveTensors):
    """Live tensors may take ``limit_bytes`` inside; what was alive before is not counted."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__("cpu")
        self.limit_bytes = limit_bytes
        self.num_errors = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        before_bytes, result = self.live_bytes, func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            self.add(leaf)
        if self.live_bytes > max(before_bytes, self.limit_bytes):
            self.num_errors += 1
            wanted_bytes = self.live_bytes - before_bytes
            del result, leaf  # the error holds this frame, and would hold them
            # A card's own words: other finders know an error by its text.
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {wanted_bytes} bytes. "
                f"The device has a total capacity of {self.limit_bytes} bytes."
            )
        return result


def make(device: torch.device, *, kind: str, limit_bytes: int, **parameters: Any) -> Workload:
    """The workload of this kind; limited on the CPU, and free where it is only traced."""
    if torch.device(device).type == "cpu" and limit_bytes:
        LimitedDevice(limit_bytes).__enter__()  # until the process ends
    return build(device, kind, **parameters)


def build(device: torch.device, kind: str, **parameters: Any) -> Workload:
    """``sized``: bytes known beforehand. ``unet``: the trainer's preset. ``transformer``, ``resnet``: small ones."""
    if kind == "sized":
        return synthetic.make(device, **parameters)
    if kind == "unet":
        from trainer.workload import make as make_preset

        return make_preset(device, **parameters)
    sys.path.append(str(NETS))
    import small_nets

    return small_nets.make(device, net=kind, **parameters)
