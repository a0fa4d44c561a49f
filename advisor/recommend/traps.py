"""What to say of a network in which accumulation is not the same as a larger batch."""

from advisor.recommend.reasons import note
from advisor.records import Note
from advisor.workload.description import Built


def trap_notes(built: Built | None) -> list[Note]:
    """One warning for each kind of trap that the network has."""
    traps = built.traps if built is not None else ()
    return [note(f"trap_{trap.id}", count=trap.count, first=trap.first) for trap in traps]
