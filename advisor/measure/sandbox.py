"""The parent's side of a measurement: a child process that may crash, hang or talk nonsense.

Whatever happens to the child is a :class:`~advisor.measure.messages.Failure`, never an exception of
ours. The parent never imports torch, so it never holds memory on the device that it measures.
"""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, cast

from advisor import schema
from advisor.errors import UsageError
from advisor.measure.messages import BuildOrder, Built, Failure, Order, Reply, StepReport
from advisor.measure.oom import classify_exit

# Not `python -m`: that would look into the current folder first, where a user's own `trainer` may lie.
_START = "import sys; sys.path[0] = sys.argv.pop(1); from advisor.measure.worker import main; main()"
_PACKAGE_ROOT = str(Path(__file__).resolve().parent.parent.parent)
_TAIL_BYTES = 4000
_GRACE_S = 5.0


class Sandbox:
    """One child process. It starts (and imports torch) at once, so that several can start side by side."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the child, with these variables added to the environment."""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._failure: Failure | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, _PACKAGE_ROOT],
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

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def build(self, order: BuildOrder, *, timeout_s: float) -> Built | Failure:
        """Build the workload in the child."""
        reply = self._exchange(Order(action="build", build=order), timeout_s)
        return reply if isinstance(reply, Failure) else reply.built or self._nonsense("no description of the workload")

    def step(self, *, tracks_memory: bool, timeout_s: float) -> StepReport | Failure:
        """Run one optimizer step in the child."""
        reply = self._exchange(Order(action="step", tracks_memory=tracks_memory), timeout_s)
        return reply if isinstance(reply, Failure) else reply.step or self._nonsense("no report of the step")

    def close(self) -> None:
        """End the child and everything that it started. Closing twice does nothing."""
        if self._stderr.closed:
            return
        self._kill()
        self._reader.join(_GRACE_S)
        for pipe in (self._orders_pipe, self._replies_pipe):
            with contextlib.suppress(OSError):  # what was not yet sent to a dead child is not missed
                pipe.close()
        self._stderr.close()

    def _exchange(self, order: Order, timeout_s: float) -> Reply | Failure:
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
        return self._ended() if line is None else self._parse(line)

    def _send(self, order: Order) -> Failure | None:
        try:
            self._orders_pipe.write(" ".join(schema.to_json(order).split("\n")) + "\n")
            self._orders_pipe.flush()
        except OSError:  # the child is dead and its end of the pipe closed
            return self._ended()
        return None

    def _parse(self, line: str) -> Reply | Failure:
        try:
            reply = schema.from_json(Reply, line, where="the reply")
        except UsageError:
            return self._nonsense(repr(line[:80]))
        if reply.failure is not None:
            self._failure = reply.failure
            return reply.failure
        return reply

    def _nonsense(self, what: str) -> Failure:
        self._kill()
        self._failure = Failure(outcome="error", message=f"the process wrote something that is no reply: {what}")
        return self._failure

    def _ended(self) -> Failure:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        if self._process.returncode is None:
            return self._nonsense("it closed its output")
        tail = self._stderr_tail()
        outcome, message = classify_exit(self._process.returncode, tail)
        self._failure = Failure(outcome=outcome, message=message, traceback_text=tail or None)
        return self._failure

    def _stderr_tail(self) -> str:
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
