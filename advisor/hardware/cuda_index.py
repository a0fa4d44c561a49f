"""Which card is ``cuda:0``? The number that a training script uses, for every card that NVML shows.

NVML counts cards along the PCI bus; CUDA puts the fastest first, and ``CUDA_VISIBLE_DEVICES`` hides
and reorders them. The CUDA driver's own answer is taken where a child process can get one (it
initialises the driver without creating a context). Otherwise the variable is parsed by CUDA's rules.
"""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence

from advisor.hardware.nvml import Reading
from advisor.records import record

_ASK_DRIVER = """
import ctypes, sys
cuda = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
code, count, device = cuda.cuInit(0), ctypes.c_int(0), ctypes.c_int(0)
if code not in (0, 100) or code == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)): sys.exit(1)
uuid_of = getattr(cuda, "cuDeviceGetUuid_v2", None) or cuda.cuDeviceGetUuid
for ordinal in range(count.value):
    uuid = (ctypes.c_ubyte * 16)()
    if cuda.cuDeviceGet(ctypes.byref(device), ordinal) or uuid_of(uuid, device): sys.exit(1)
    print(bytes(uuid).hex())
print("end")
"""


@record
class Candidate:
    """A card or MIG slice that CUDA may number: what the numbering depends on."""

    uuid: str
    name: str
    parent_uuid: str | None = None


@record
class Numbering:
    """CUDA's number of each visible card by its UUID; ``certain`` is false where the order is a guess."""

    index_by_uuid: dict[str, int]
    certain: bool


def number_cards(candidates: Sequence[Candidate], environ: Mapping[str, str]) -> Numbering:
    """CUDA's numbering of the cards, in NVML's order, under this environment."""
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if len(candidates) == 1 and visible is None:
        return Numbering(index_by_uuid={candidates[0].uuid: 0}, certain=True)
    answer = ask_driver(environ) if candidates else Reading(reason="no_card")
    if answer.value is not None:
        by_digits = {_digits(candidate.uuid): candidate.uuid for candidate in candidates}
        numbered = {by_digits[digits]: k for k, digits in enumerate(answer.value) if digits in by_digits}
        return Numbering(index_by_uuid=numbered, certain=True)
    return parse_visible(candidates, visible, environ.get("CUDA_DEVICE_ORDER"))


def ask_driver(environ: Mapping[str, str], timeout_s: float = 20) -> Reading[tuple[str, ...]]:
    """UUIDs, as 32 hexadecimal digits, in the order in which CUDA itself numbers the visible cards."""
    command = [sys.executable, "-I", "-S", "-c", _ASK_DRIVER]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, env=dict(environ), check=True
        ).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return Reading(reason="no_cuda_driver")
    return Reading(tuple(answer[:-1])) if answer[-1:] == ["end"] else Reading(reason="no_cuda_driver")


def parse_visible(candidates: Sequence[Candidate], visible: str | None, order: str | None) -> Numbering:
    """The numbering by the rules of ``CUDA_VISIBLE_DEVICES``, without the driver.

    Numbers are read as ``strtoul`` does (``1gpu2`` is 1); UUIDs may be cut short where that stays
    unique; the first invalid entry ends the list; a repeated one empties it; one MIG slice at most.
    """
    cards = [candidate for candidate in candidates if candidate.parent_uuid is None]
    certain = order == "PCI_BUS_ID" or len({card.name for card in cards}) <= 1
    if visible is None:
        chosen = _default_order(candidates)
    else:
        chosen = []
        for entry in visible.split(","):
            match = _candidate_of(entry.strip(), candidates)
            if match is None:
                break
            if match in chosen:
                return Numbering(index_by_uuid={}, certain=True)
            chosen.append(match)
        certain = certain or not re.search(r"(?:^|,)\s*\d", visible)  # UUIDs do not depend on the order
    slices = [candidate for candidate in chosen if candidate.parent_uuid is not None]
    chosen = slices[:1] or chosen  # CUDA shows a MIG slice alone
    return Numbering(index_by_uuid={card.uuid: k for k, card in enumerate(chosen)}, certain=certain)


def _default_order(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Cards without slices, and the first slice of a divided card in its place."""
    divided = {candidate.parent_uuid for candidate in candidates if candidate.parent_uuid}
    return [candidate for candidate in candidates if candidate.uuid not in divided]


def _candidate_of(entry: str, candidates: Sequence[Candidate]) -> Candidate | None:
    number = re.match(r"\+?(\d+)", entry)
    if number:
        cards = [candidate for candidate in candidates if candidate.parent_uuid is None]
        position = int(number.group(1))
        if position >= len(cards):
            return None
        slices = [candidate for candidate in candidates if candidate.parent_uuid == cards[position].uuid]
        return slices[0] if slices else cards[position]
    if not re.match(r"(?:GPU|MIG)-.", entry):
        return None
    matching = [candidate for candidate in candidates if candidate.uuid.lower().startswith(entry.lower())]
    return matching[0] if len(matching) == 1 else None


def _digits(uuid: str) -> str:
    return re.sub(r"^(?:GPU|MIG)-|-", "", uuid).lower()
