"""Calls into other people's code, one after another on a thread of their own: what hangs there holds up nothing."""

import queue
import threading
from collections.abc import Callable


class Aside:
    """Makes calls in order until one of them fails; those after it are dropped."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)  # a program may end while it hangs
        self._thread.start()

    def __call__(self, call: Callable[[], object]) -> None:
        """Have this called some time; returns at once."""
        self._calls.put(call)

    def end(self, patience_s: float) -> bool:
        """Whether everything was called, or has failed, within this time."""
        self._calls.put(None)
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        for call in iter(self._calls.get, None):
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - also SystemExit, which ends a thread without a word
                self.problem = str(error).strip().partition("\n")[0] or type(error).__name__
                return
