"""Memory that runs out in mid-run: the same work is done in smaller pieces or left out, and the run goes on.

Nothing that is drawn depends on how work is cut, for noise, times and labels are made for all items first.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, TypeVar

import torch

from advisor.errors import DeviceError
from advisor.records import Note, record
from advisor.workload.oom import classify_error
from trainer.notes import note

Work = Literal["encoding", "validation", "sampling", "decoding"]
MORE_ROOM = (
    "free memory that other programs use and try again, or choose a smaller preset or image_size in another --out"
)
T = TypeVar("T")


class NoRoomError(DeviceError):
    """Not even the smallest piece of something fits into memory."""


@record
class TooLarge:
    """Why something did not fit."""

    reason: str


def attempt(action: Callable[[], T]) -> T | TooLarge:
    """What the action returns, or why there was no memory for it.

    The error itself is not handed on: it holds the frames, and they hold the memory.
    """
    try:
        return action()
    except NoRoomError as error:
        return TooLarge(reason=str(error))
    except (RuntimeError, MemoryError) as error:
        reason = _reason(error)
        if reason is None:
            raise
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    return TooLarge(reason=reason)


def _reason(error: Exception) -> str | None:
    """The first line of an error that means out of memory; ``None`` for any other."""
    name, text = type(error).__name__, str(error)
    if classify_error(name, text) != "oom":
        return None
    return text.partition("\n")[0] or name


@contextlib.contextmanager
def or_no_room() -> Iterator[None]:
    """Turn memory that runs out in here, where nothing can be made smaller, into an error that says what to do."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        reason = _reason(error)
        if reason is None:
            raise
        raise NoRoomError(f"out of memory ({reason}); {MORE_ROOM}") from None


class Pieces:
    """How many items each kind of work takes at once: as planned, until memory runs out; then half, for good."""

    def __init__(self, *, may_shrink: bool = True) -> None:
        self.may_shrink = may_shrink
        self._size: dict[Work, int] = {}
        self._told_size: dict[Work, int] = {}

    def __call__(self, work: Work, size: int, action: Callable[..., T], *items_N: Any) -> list[T]:
        """Results of the action on one piece of the items after the other.

        Args:
            work: whose size is remembered.
            size: items in a piece as long as memory suffices.
            action: called with a piece of each of ``items_N``.
            items_N: tensors or arrays of equal length.

        Raises:
            NoRoomError: if not even one item fits, or nothing may be made smaller.
        """
        done: list[T] = []
        first, total = 0, len(items_N[0])
        while first < total:
            end = min(total, first + min(size, self._size.get(work, size)))
            found = attempt(partial(action, *(items[first:end] for items in items_N)))
            if isinstance(found, TooLarge):
                self._halve(work, end - first, found.reason)
            else:
                done.append(found)
                first = end
        return done

    def _halve(self, work: Work, size: int, reason: str) -> None:
        if size == 1 or not self.may_shrink:
            raise NoRoomError(reason)
        self._told_size.setdefault(work, size)
        self._size[work] = size // 2

    def take_notes(self) -> list[Note]:
        """Which work has become smaller since this was asked last."""
        changed = [(work, size) for work, size in self._size.items() if size != self._told_size[work]]
        notes = [note(f"{work}_in_pieces", before=self._told_size[work], after=size) for work, size in changed]
        self._told_size |= changed
        return notes
