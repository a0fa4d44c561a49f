"""What a CUDA card takes besides tensors, measured in a process of its own: context, library workspaces, rounding.

    python -m benchmarks.gpu_constants [--uuid UUID]     one JSON object as the last line

``recalibrated_terms`` is what :func:`advisor.predict.terms.recalibrated` makes of the figures beside it: what
``terms_of`` should answer for cards of this capability, once several runs agree. Two assumptions have no such function
yet and are to be compared by hand: the context (``context_bytes`` of ``advisor/predict/cards.py`` with
``context.after_training_bytes``) and the share of the memory on the box that is visible (``card_of`` with
``total_bytes``).
"""

import argparse
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - as everybody writes it

from advisor.hardware.nvml import Nvml, open_nvml
from advisor.predict.allocator import segment_bytes
from advisor.predict.terms import Workspaces, num_bytes, recalibrated, terms_of
from advisor.predict.trace import rounded
from advisor.schema import to_plain
from advisor.units import MIB
from advisor.workload.step import TrainingStep

DEVICE = torch.device("cuda", 0)
PROBED_SIZES = (1, 512, 513, MIB, MIB + 1, 5 * MIB, 10 * MIB - 512, 10 * MIB, 10 * MIB + 1, 33 * MIB + 1)
CONVOLUTIONS = ((32, 64, 64, 3), (32, 256, 16, 3), (16, 128, 32, 3), (32, 256, 16, 1))  # batch, channels, side, kernel
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MATRIX = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uuid")
    options = parser.parse_args()
    with open_nvml() as nvml:
        found = Constants(nvml, options.uuid).measure()
    print(json.dumps(found))


class Constants:
    """The order matters: everything here is taken the first time that it is needed."""

    def __init__(self, nvml: Nvml, uuid: str | None) -> None:
        self._nvml = nvml
        by_uuid = nvml.read("nvmlDeviceGetHandleByUUID", uuid) if uuid else nvml.read("nvmlDeviceGetHandleByIndex", 0)
        self._handle = by_uuid.value
        self._free_before_bytes = self._free_bytes()

    def measure(self) -> dict[str, Any]:
        torch.zeros(1, device=DEVICE)
        torch.cuda.synchronize()
        context = {"after_first_allocation_bytes": self._outside_bytes(), "of_this_process": self._own_bytes()}
        capability = float(".".join(str(part) for part in torch.cuda.get_device_capability(DEVICE)))
        total_bytes = torch.cuda.get_device_properties(DEVICE).total_memory
        found: dict[str, Any] = {"compute_capability": capability, "total_bytes": total_bytes, "context": context}
        found["allocator"] = {"settings": _allocator_settings(), "sizes": list(_sizes())}
        found["cublas"] = _cublas(capability)
        context["after_products_bytes"] = self._outside_bytes()
        found["convolutions"] = list(_convolutions(capability))
        context["after_convolutions_bytes"] = self._outside_bytes()
        found["recalibrated_terms"] = _recalibrated(capability, found["cublas"], found["convolutions"])
        _train()
        context["after_training_bytes"] = self._outside_bytes()
        context["of_this_process_at_end"] = self._own_bytes()
        return found

    def _free_bytes(self) -> int | None:
        if self._handle is None:
            return None
        return self._nvml.read("nvmlDeviceGetMemoryInfo", self._handle).then(lambda memory: int(memory.free)).value

    def _outside_bytes(self) -> int | None:
        """What left the card since before CUDA started, apart from the allocator's: right if nobody else took any."""
        torch.cuda.synchronize()
        free_bytes = self._free_bytes()
        if free_bytes is None or self._free_before_bytes is None:
            return None
        return self._free_before_bytes - free_bytes - torch.cuda.memory_reserved(DEVICE)

    def _own_bytes(self) -> int | None:
        """What NVML counts for this process; ``None`` where it sees other process numbers, as in a container."""
        processes = self._nvml.read("nvmlDeviceGetComputeRunningProcesses", self._handle).value or ()
        return next((one.usedGpuMemory for one in processes if one.pid == os.getpid()), None)


def _allocator_settings() -> dict[str, Any] | None:
    """How this torch was told to allocate; private, so it may be missing."""
    snapshot = getattr(torch.cuda.memory, "_snapshot", None)
    settings = snapshot().get("allocator_settings") if snapshot else None
    return {key: str(value) for key, value in settings.items()} if settings else None


def _sizes() -> Iterator[dict[str, Any]]:
    """By how much the allocator rounds a tensor up, and what it takes from the card for it."""
    for size in PROBED_SIZES:
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(DEVICE), torch.cuda.memory_reserved(DEVICE)
        tensor = torch.empty(size, dtype=torch.uint8, device=DEVICE)
        allocated_bytes = torch.cuda.memory_allocated(DEVICE) - before[0]
        reserved_bytes = torch.cuda.memory_reserved(DEVICE) - before[1]
        del tensor
        yield {
            "asked_bytes": size,
            "allocated_bytes": allocated_bytes,
            "reserved_bytes": reserved_bytes,  # 0 where a segment that is in use had room
            "predicted_allocated_bytes": rounded(size),
            "predicted_segment_bytes": segment_bytes(rounded(size)),
        }


def _cublas(capability: float) -> dict[str, Any]:
    """What stays allocated after the first product of this thread, and after the first of the backward pass's."""
    before_bytes = torch.cuda.memory_allocated(DEVICE)
    kept: dict[str, Any] = {}
    for name, dtype in DTYPES.items():
        a = torch.randn(MATRIX, MATRIX, device=DEVICE, dtype=dtype)
        product = a @ a
        torch.cuda.synchronize()
        del a, product
        kept[f"after_{name}_bytes"] = torch.cuda.memory_allocated(DEVICE) - before_bytes
    forward_bytes = torch.cuda.memory_allocated(DEVICE) - before_bytes
    a = torch.randn(MATRIX, MATRIX, device=DEVICE, requires_grad=True)
    (a @ a).sum().backward()
    torch.cuda.synchronize()
    del a
    both_bytes = torch.cuda.memory_allocated(DEVICE) - before_bytes
    predicted_bytes = sum(Workspaces(capability).kept_by(torch.ops.aten.mm.default))
    return {
        **kept,
        "forward_bytes": forward_bytes,
        "backward_bytes": both_bytes - forward_bytes,
        "predicted_bytes": predicted_bytes,
        "config": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    }


def _convolutions(capability: float) -> Iterator[dict[str, Any]]:
    """What convolutions take for a moment beside their result: by type, shape, layout, and with cuDNN's trials."""
    for trials in (False, True):
        torch.backends.cudnn.benchmark = trials
        for name, dtype in DTYPES.items():
            for shape in CONVOLUTIONS:
                for layout in (torch.contiguous_format, torch.channels_last):
                    yield {
                        "precision": name,
                        "shape": shape,
                        "layout": str(layout).removeprefix("torch."),
                        "cudnn_benchmark": trials,
                        **_convolution(capability, dtype, shape, layout),
                    }
    torch.backends.cudnn.benchmark = False


def _convolution(
    capability: float, dtype: torch.dtype, shape: tuple[int, int, int, int], layout: torch.memory_format
) -> dict[str, Any]:
    batch, channels, side, kernel = shape
    x = torch.randn(batch, channels, side, side, device=DEVICE, dtype=dtype).to(memory_format=layout)
    weight = torch.randn(channels, channels, kernel, kernel, device=DEVICE, dtype=dtype)
    place, func = [kernel // 2] * 2, torch.ops.aten.convolution.default

    def run() -> torch.Tensor:
        return F.conv2d(x, weight, padding=kernel // 2)

    first_bytes, _ = _beside_result(run)
    moment_bytes, result = _beside_result(run)  # the second time nothing is tried out any more
    arguments = (x, weight, None, [1, 1], place, [1, 1], False, [0, 0], 1)
    return {
        "first_bytes": first_bytes,
        "bytes": moment_bytes,
        "tensors_bytes": num_bytes(x) + num_bytes(weight) + num_bytes(result),
        "predicted_bytes": sum(Workspaces(capability).needed_by(func, arguments, result)),
    }


def _beside_result(run: Callable[[], torch.Tensor]) -> tuple[int, torch.Tensor]:
    torch.cuda.synchronize()
    before_bytes = torch.cuda.memory_allocated(DEVICE)
    torch.cuda.reset_peak_memory_stats(DEVICE)
    result = run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated(DEVICE) - before_bytes - rounded(num_bytes(result)), result


def _recalibrated(
    capability: float, cublas: dict[str, Any], convolutions: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """The terms set right, by convolutions as training runs them: channels first, without cuDNN's trials."""
    usual = [
        one
        for one in convolutions
        if one["layout"] == "contiguous_format" and not one["cudnn_benchmark"] and one["predicted_bytes"]
    ]
    measured = {"cublas_workspace": cublas["forward_bytes"]}
    predicted = {"cublas_workspace": cublas["predicted_bytes"]}
    if usual:
        measured["convolution_layouts"] = sum(one["bytes"] for one in usual)
        predicted["convolution_layouts"] = sum(one["predicted_bytes"] for one in usual)
    terms = terms_of(capability)
    return {
        "assumed": to_plain(terms),
        "measured_bytes": measured,
        "predicted_bytes": predicted,
        "terms": to_plain(recalibrated(terms, measured, predicted)),
    }


def _train() -> None:
    """Two steps of the seed's network, for the kernels that they load."""
    from benchmarks.gpu_workloads import make

    workload = make(DEVICE, net="unet", precision="fp16")
    step = TrainingStep(workload, DEVICE, 16, 1, lambda _: contextlib.nullcontext())
    for _ in range(2):
        step.run()
    if workload.eval_step is not None:
        with torch.no_grad():
            workload.eval_step()


if __name__ == "__main__":
    main()
