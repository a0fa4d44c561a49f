"""A card that is not here, as its name says: memory, capability, and what PyTorch takes of it at its start."""

from advisor.errors import DeviceError
from advisor.hardware.gpus import Gpu, named
from advisor.records import record
from advisor.units import GIB, MIB

# Share of the memory on the box that PyTorch sees. Known from benchmarks/data/xmem.csv: 12 622 168 064 bytes on an
# RTX 3060 (12 GB, 0.98) and 8 318 222 336 on an RTX 4060 (8 GB, 0.968). Assumed: others are alike, and cards that
# keep their error correction in GDDR memory lose a sixteenth more. Not yet compared with such cards.
_VISIBLE_FRAC = 0.979
_VISIBLE_FRAC_ECC = 0.92
_GDDR_WITH_ECC = ("Tesla T4", "NVIDIA A10", "NVIDIA A10G", "NVIDIA A40", "NVIDIA L4", "NVIDIA L40", "NVIDIA L40S")

# CUDA context and loaded kernels. Reports for recent drivers with lazy loading: about 300 MiB on cards of 2016 to
# 2020, 400 to 550 MiB on data-centre cards from Ampere on (pytorch issues 28113, 107667). The upper ends are taken.
_CONTEXT_BYTES = ((9.0, 600 * MIB), (8.0, 500 * MIB), (0.0, 400 * MIB))
_SAFETY_BYTES = 256 * MIB  # what is kept free on a card that is there, too
_SAFETY_FRAC = 0.02


@record
class Card:
    """What of a card the memory of a step depends on."""

    name: str
    compute_capability: float
    total_bytes: int
    context_bytes: int

    @property
    def usable_bytes(self) -> int:
        """What PyTorch's allocator may take: without the context and a reserve."""
        reserve = max(_SAFETY_BYTES, round(_SAFETY_FRAC * self.total_bytes))
        return self.total_bytes - self.context_bytes - reserve


def card_named(name: str) -> Card:
    """The card of this name; where several bear it, the one with the least memory.

    Raises:
        UsageError: if there is none of that name.
        DeviceError: if it is no CUDA card.
    """
    gpu = min(named(name), key=lambda one: one.memory_gb)
    if gpu.vendor != "NVIDIA" or gpu.compute_capability is None:
        raise DeviceError(f"{gpu.name} is not a CUDA card: only those are simulated")
    return card_of(gpu)


def card_of(gpu: Gpu) -> Card:
    """The card of a row of the table."""
    capability = float(gpu.compute_capability or 0)
    visible_frac = _VISIBLE_FRAC_ECC if gpu.name in _GDDR_WITH_ECC else _VISIBLE_FRAC
    return Card(
        name=gpu.name,
        compute_capability=capability,
        total_bytes=round(gpu.memory_gb * GIB * visible_frac),
        context_bytes=context_bytes(capability),
    )


def context_bytes(compute_capability: float) -> int:
    """Bytes of the CUDA context and of loaded kernels, outside of PyTorch's allocator."""
    return next(num_bytes for least, num_bytes in _CONTEXT_BYTES if compute_capability >= least)
