"""SIGINT and SIGTERM as requests: training stops between two steps, everything else at once."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

from advisor.errors import Interrupted


class StopRequest:
    """Notes the first signal while training defers it; a second signal leaves at once, unsaved.

    Outside :meth:`deferred` a signal raises :class:`Interrupted` where it arrives: all writes are
    atomic, so there is nothing to finish first.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._deferring = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """While inside, a first signal is only noted in ``signal_number``."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self.signal_number is not None:
            os._exit(128 + number)
        self.signal_number = number
        if not self._deferring:
            raise Interrupted(f"stopped by {signal.Signals(number).name}; the same command goes on from here", number)
