"""Where a training run stands, while it runs: a screen on a terminal, plain lines in a log."""

import os
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from advisor import units
from advisor.records import Note, Progress
from reports.blocks import Lang, line_text
from reports.messages.catalogue import messages_in
from reports.terminal import encodable
from reports.wording import Wording

COLUMNS = 80
NUM_NOTES_SHOWN = 2


class Screen:
    """Shows progress on a stream: use it as a context, give it every frame; it decides what to print.

    On a terminal the screen has a fixed height and never scrolls. Elsewhere one line is printed at
    most every ``interval_s`` seconds, and the last frame when the context ends, so that logs stay small.
    """

    def __init__(
        self,
        lang: Lang,
        stream: TextIO,
        *,
        device_kind: str = "cpu",
        interval_s: float = 30,
        clock: Callable[[], float] = time.monotonic,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._lang: Lang = lang
        self._wording = Wording(lang, device_kind)
        self._m = messages_in(lang)
        self._stream = stream
        self._interval_s, self._clock = interval_s, clock
        self._console = Console(file=stream, soft_wrap=False)
        self._repaints = self._console.is_terminal and not self._console.is_dumb_terminal and not in_cell(environment)
        self._live: Live | None = None
        self._notes: list[str] = []
        self._latest: Progress | None = None
        self._printed: Progress | None = None
        self._printed_at: float | None = None

    def __enter__(self) -> "Screen":
        if self._repaints:
            self._live = Live(console=self._console, refresh_per_second=4, transient=False)
            self._live.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        elif self._latest is not None and self._latest is not self._printed:
            self._print_line(self._latest)

    def update(self, progress: Progress) -> None:
        """Show this frame, or keep it until the next line is due."""
        self._latest = progress
        if self._live is not None:
            self._live.update(self._frame(progress))
        elif self._printed_at is None or self._clock() - self._printed_at >= self._interval_s:
            self._print_line(progress)

    def note(self, note: Note) -> None:
        """Show a remark: on the screen's last lines, or as a line of its own at once."""
        text = line_text(self._wording.note(note), self._wording.marks, intervals=False, basis=False)
        if self._live is None:
            self._write(f"! {text}")
            return
        self._notes = [*self._notes, text][-NUM_NOTES_SHOWN:]
        if self._latest is not None:
            self._live.update(self._frame(self._latest))

    def _print_line(self, progress: Progress) -> None:
        self._printed, self._printed_at = progress, self._clock()
        self._write(self.plain_line(progress))

    def _write(self, text: str) -> None:
        self._stream.write(encodable(text, getattr(self._stream, "encoding", None)) + "\n")
        self._stream.flush()

    def plain_line(self, p: Progress) -> str:
        """One line of a log: the same words as on the screen."""
        m = self._m
        parts = [
            f"{m.live_step} {p.step}/{p.total_steps}",
            f"{m.live_samples} {p.samples}/{p.total_samples}",
            f"{m.live_epoch} {p.epoch:.1f}",
            f"{m.live_loss} {_loss(p.loss)}",
            f"{m.live_validation_loss} {_loss(p.validation_loss)}",
            f"{m.live_lr} {units.format_lr(p.lr)}",
            f"{_rate(p.samples_per_s)} {m.live_samples_per_s}",
            f"{m.live_memory} {_bytes(p.peak_reserved_bytes)}",
            f"{m.live_remaining} {self._remaining(p)}",
            *([f"{m.live_health} {self._health(p)}"] if p.num_alarms is not None else []),
        ]
        return "  ".join(parts)

    def _frame(self, p: Progress) -> Group:
        m = self._m
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(no_wrap=True, width=COLUMNS - 16)
        done = p.samples / p.total_samples if p.total_samples else 0.0
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            ProgressBar(total=1.0, completed=done, width=30), f"{100 * done:.1f} %", f"{m.live_epoch} {p.epoch:.1f}"
        )
        rows = [
            (m.live_step, f"{units.format_count(p.step)} / {units.format_count(p.total_steps)}"),
            (m.live_samples, f"{units.format_count(p.samples)} / {units.format_count(p.total_samples)}"),
            (m.live_loss, f"{_loss(p.loss)}   {m.live_validation_loss} {_loss(p.validation_loss)}"),
            (m.live_lr, units.format_lr(p.lr)),
            (m.live_speed, f"{_rate(p.samples_per_s)} {m.live_samples_per_s}"),
            (m.live_memory, _bytes(p.peak_reserved_bytes)),
            (m.live_remaining, f"{self._remaining(p)}   {m.live_elapsed} {units.format_clock(p.elapsed_s)}"),
            (m.live_next, self._next(p)),
            (m.live_health, self._health(p)),
        ]
        grid.add_row(m.live_done, bar)
        for name, value in rows:
            grid.add_row(self._text(name), self._text(value))
        notes = [self._text(f"! {note}") for note in self._notes] or []
        blank = [Text("")] * (NUM_NOTES_SHOWN - len(notes))
        return Group(self._title(p), grid, *notes, *blank)

    def _title(self, p: Progress) -> Text:
        effective_batch = p.micro_batch * p.accumulation
        title = f"{p.run_name}   {p.device_name}   {p.micro_batch} x {p.accumulation} = {effective_batch}"
        return self._text(f"{title}   {self._m.live_interrupt}", style="bold")

    def _text(self, text: str, style: str = "") -> Text:
        return Text(encodable(text, self._console.encoding), style=style, no_wrap=True, overflow="crop")

    def _remaining(self, p: Progress) -> str:
        remaining = p.remaining_s
        if remaining.value is None:
            return self._m.unknown
        text = units.format_clock(remaining.value)
        if remaining.low is None or remaining.high is None:
            return text
        return f"{text} ({units.format_clock(remaining.low)} - {units.format_clock(remaining.high)})"

    def _health(self, p: Progress) -> str:
        if p.num_alarms is None:
            return self._m.unknown
        return self._m.live_alarms.format(count=p.num_alarms) if p.num_alarms else self._m.live_healthy

    def _next(self, p: Progress) -> str:
        if p.next_milestone_samples is None:
            return self._m.live_no_milestone
        return f"{units.format_count(p.next_milestone_samples)} {self._m.live_samples}"


def in_cell(environment: Mapping[str, str]) -> bool:
    """Whether this is a ``!command`` in a notebook: a terminal to the program, but no frame is ever taken back there.

    Jupyter's launcher names itself to its kernels, but not to its own terminals; other launchers are known
    by what the kernel itself sets (``ZMQInteractiveShell.init_environment`` of ipykernel).
    """
    if "JPY_PARENT_PID" in environment:
        return True
    return environment.get("CLICOLOR") == "1" and environment.get("PAGER") == environment.get("GIT_PAGER") == "cat"


def _loss(loss: float | None) -> str:
    return "-" if loss is None else f"{loss:.4f}"


def _rate(samples_per_s: float | None) -> str:
    return "-" if samples_per_s is None else f"{samples_per_s:.1f}"


def _bytes(num_bytes: int | None) -> str:
    return "-" if num_bytes is None else units.format_bytes(num_bytes)
