"""What a run can do without is left out where memory does not suffice: a grid of samples must not end a night."""

from collections.abc import Callable
from typing import TypeVar

from trainer.notes import note
from trainer.oom import NoRoomError, Pieces, TooLarge, attempt
from trainer.remarks import Remarks

T = TypeVar("T")


class IfItFits:
    """Does what a run can do without: what does not fit is left out, unless the user wants the run to stop then."""

    def __init__(self, pieces: Pieces, remarks: Remarks) -> None:
        self.pieces, self._remarks = pieces, remarks
        self._said: set[str] = set()

    def __call__(self, left_out: str, action: Callable[[], T]) -> T | None:
        """What the action returns, or ``None`` and the note ``left_out``, which is said once and always written down.

        Raises:
            NoRoomError: if memory ran out and the run is to stop then.
        """
        found = attempt(action)
        for said in self.pieces.take_notes():
            self._remarks.warn(said)
        if not isinstance(found, TooLarge):
            return found
        if not self.pieces.may_shrink:
            raise NoRoomError(f"out of memory ({found.reason}); --on-oom shrink takes smaller pieces, or leaves it out")
        self._remarks.warn(note(left_out, problem=found.reason), is_new=left_out not in self._said)
        self._said.add(left_out)
        return None
