"""A child process for the user's code: it may crash, hang or talk nonsense, and none of that is ours.

Parent and child exchange lines of JSON over private pipes: the user's own prints go to stderr, the user's reads
find an empty stdin, and the child ends when its parent does. Whatever happens to the child is a
:class:`Failure`, never an exception of ours. The parent never imports torch, so it holds no device memory.
"""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, cast

from advisor.records import Outcome, record
from advisor.workload.oom import classify_exit

# Not `python -m`: that would look into the current folder first, where a user's own `trainer` may lie.
_START = """
import sys
sys.path[0] = sys.argv.pop(1)
from advisor.imports import quick_imports, set_imports_aside
with quick_imports():
    from {module} import main
set_imports_aside()
main(*sys.argv[1:])
"""
_PACKAGE_ROOT = str(Path(__file__).resolve().parent.parent.parent)
_TAIL_BYTES = 4000
_GRACE_S = 5.0


@record
class Failure:
    """Why there is no result.

    ``usage_error``: the workload cannot be used as it was named or built. ``is_size_limit``: a kernel cannot do so
    many elements at once, however much memory there is.
    """

    outcome: Outcome
    message: str
    traceback_text: str | None = None
    usage_error: bool = False
    is_size_limit: bool = False


class Child:
    """One child process. It starts (and imports torch) at once, so that several can start side by side."""

    def __init__(self, module: str, environment: Mapping[str, str] | None = None, *arguments: str) -> None:
        """Start ``main(*arguments)`` of this module of ours, with these variables added to the environment."""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._closing = threading.Lock()  # its number may be another file's by the time that it is read
        self._failure: Failure | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START.format(module=module), _PACKAGE_ROOT, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, **(environment or {})},
            encoding="utf-8",
            errors="replace",
            start_new_session=os.name != "nt",  # so that the child's own children can be ended with it
        )
        self._orders_pipe = cast("IO[str]", self._process.stdin)
        self._replies_pipe = cast("IO[str]", self._process.stdout)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, order: str, *, timeout_s: float) -> str | Failure:
        """Send an order, a line, and wait for the reply to it. After a failure every answer is that failure."""
        if self._failure is None:
            self._failure = self._send(order)
        if self._failure is not None:
            return self._failure
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            self._kill()
            self._failure = Failure(outcome="timeout", message=f"no answer within {timeout_s:.0f} s")
            return self._failure
        return self._ended() if line is None else line

    def fail(self, failure: Failure) -> Failure:
        """Let every further answer be this failure."""
        self._failure = failure
        return failure

    def fail_for_nonsense(self, what: str) -> Failure:
        """End a child that does not speak as agreed."""
        self._kill()
        return self.fail(Failure(outcome="error", message=f"the process wrote something that is no reply: {what}"))

    def close(self) -> None:
        """End the child and everything that it started. Closing twice does nothing."""
        if self._stderr.closed:
            return
        self._kill()
        self._reader.join(_GRACE_S)
        for pipe in (self._orders_pipe, self._replies_pipe):
            with contextlib.suppress(OSError):  # what was not yet sent to a dead child is not missed
                pipe.close()
        with self._closing:
            self._stderr.close()

    def _send(self, order: str) -> Failure | None:
        try:
            self._orders_pipe.write(one_line(order))
            self._orders_pipe.flush()
        except OSError:  # the child is dead and its end of the pipe closed
            return self._ended()
        return None

    def _ended(self) -> Failure:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        if self._process.returncode is None:
            return self.fail_for_nonsense("it closed its output")
        tail = self._stderr_tail()
        outcome, message = classify_exit(self._process.returncode, tail)
        return self.fail(Failure(outcome=outcome, message=message, traceback_text=tail or None))

    def _stderr_tail(self) -> str:
        with self._closing:
            if self._stderr.closed:
                return ""
            self._stderr.seek(0, os.SEEK_END)
            self._stderr.seek(max(0, self._stderr.tell() - _TAIL_BYTES))
            return self._stderr.read().decode(errors="replace").strip()

    def _read(self) -> None:
        with contextlib.suppress(ValueError, OSError):  # the pipe is closed under our feet in close()
            for line in self._replies_pipe:
                self._lines.put(line)
        self._lines.put(None)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended by itself
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def one_line(text: str) -> str:
    """JSON of several lines as one."""
    return " ".join(text.split("\n")) + "\n"


# ---- the child's side ---------------------------------------------------------------------------


def answer_orders(answer: Callable[[str], str], *, prepare: Callable[[], object] = lambda: None) -> None:
    """In the child: answer every order until the parent closes the pipe, which ends the process.

    ``prepare`` is called before the first one comes.
    """
    orders_pipe, replies_pipe = _take_over_streams()
    orders: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read_orders, args=(orders_pipe, orders), daemon=True).start()
    prepare()
    while True:
        replies_pipe.write(one_line(answer(orders.get())))
        replies_pipe.flush()


def _take_over_streams() -> tuple[IO[str], IO[str]]:
    """Private copies of stdin and stdout; the public ones become empty and stderr."""
    orders_pipe = os.fdopen(os.dup(0), encoding="utf-8")
    replies_pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return orders_pipe, replies_pipe


def _read_orders(orders_pipe: IO[str], orders: "queue.Queue[str]") -> None:
    for line in orders_pipe:
        orders.put(line)
    os._exit(0)  # the parent is gone: end even in the middle of the user's endless loop
