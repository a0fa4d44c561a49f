"""What a card makes of half precision, for a step that computes in it."""

from advisor.recommend.reasons import note
from advisor.records import Device, Note
from advisor.workload.description import Built

TENSOR_CORES_FROM = 7.0  # compute capability of Volta, the first with tensor cores
BF16_FROM = 8.0  # Ampere, the first with bfloat16: CUDA C++ Programming Guide, "Arithmetic Instructions"


def precision_notes(built: Built | None, device: Device) -> list[Note]:
    """Why the step's half precision does not do on this card what it does on others; empty if it does."""
    if built is None or built.precision is None or device.compute_capability is None:
        return []
    capability, values = float(device.compute_capability), {"gpu": device.name, "cc": device.compute_capability}
    if built.precision == "bf16" and capability < BF16_FROM:
        return [note("bf16_emulated", **values)]
    if built.precision == "fp16" and capability < TENSOR_CORES_FROM:
        return [note("fp16_without_tensor_cores", **values)]
    return []
