"""The live screen keeps its height; a log gets few lines, each complete."""

import dataclasses
import io
import re

import pytest
from rich.cells import cell_len
from sample_advice import GIB

from advisor.records import Claim, Note, Progress
from reports.blocks import Lang
from reports.live import Screen
from trainer.notes import note

PROGRESS = Progress(
    run_name="run-01", device_name="Tesla P100-PCIE-16GB", micro_batch=16, accumulation=1, samples=16_000,
    total_samples=2_400_000, step=1000, total_steps=150_000, epoch=10.3, loss=0.0418, validation_loss=None, lr=1e-4,
    samples_per_s=100.0, elapsed_s=160.0, peak_reserved_bytes=GIB, next_milestone_samples=24_000,
    remaining_s=Claim(value=23_840, low=23_000, high=24_500, basis="predicted", source="test data"),
)  # fmt: skip


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "40")


def at(step: int) -> Progress:
    return dataclasses.replace(PROGRESS, step=step, samples=16 * step)


def logged(lang: Lang, steps_at_s: list[tuple[int, float]]) -> list[str]:
    stream, now = io.StringIO(), [0.0]
    with Screen(lang, stream, clock=lambda: now[0]) as screen:
        for step, now[0] in steps_at_s:
            screen.update(at(step))
    return stream.getvalue().splitlines()


def test_a_log_gets_a_line_at_most_every_30_seconds() -> None:
    lines = logged("en", [(step, float(step)) for step in range(1, 101)])
    assert [line.split()[1] for line in lines] == ["1/150000", "31/150000", "61/150000", "91/150000", "100/150000"]


def test_the_last_frame_is_printed_once() -> None:
    assert len(logged("en", [(1, 0.0)])) == 1
    assert len(logged("en", [(1, 0.0), (2, 1.0)])) == 2


def test_alarms_are_counted_in_the_log_and_on_the_screen() -> None:
    for num_alarms, shown in ((0, "no alarm"), (2, "alarms: 2")):
        progress = dataclasses.replace(PROGRESS, num_alarms=num_alarms)
        assert shown in "\n".join(last_frame("en", progress, ()))
        assert shown in Screen("en", io.StringIO()).plain_line(progress)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_log_line_says_everything_and_draws_nothing(lang: Lang) -> None:
    (line,) = logged(lang, [(1000, 0.0)])
    for said in ("1000/150000", "16000/2400000", "0.0418", "1e-4", "100.0", "1.00 GiB", "6:37:20", "6:23:20"):
        assert said in line
    assert "\x1b" not in line and not set(line) & set("━─│█╸")


def said(text: str) -> Note:
    """A note that no catalogue knows."""
    return Note(id="", text=text)


def test_a_run_s_notes_are_said_in_the_reader_s_language() -> None:
    stream = io.StringIO()
    with Screen("zh", stream, device_kind="cuda") as screen:
        screen.note(note("micro_batch_halved", before=8, after=4))
    assert stream.getvalue() == "! 显存不足 (OOM)：单次批量由 8 减为 4，有效批量不变。\n"


def test_a_note_is_printed_at_once() -> None:
    stream = io.StringIO()
    with Screen("en", stream) as screen:
        screen.note(said("loss rose"))
        assert stream.getvalue() == "! loss rose\n"


def test_a_stream_that_lacks_the_characters_gets_a_line_all_the_same() -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii", errors="strict")
    with Screen("zh", stream) as screen:
        screen.update(PROGRESS)
    assert b"1000/150000" in buffer.getvalue()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_frame_of_the_screen_has_the_same_height_and_fits(lang: Lang) -> None:
    heights = set()
    frames = (
        (PROGRESS, ()),
        (dataclasses.replace(PROGRESS, loss=None, samples_per_s=None, next_milestone_samples=None), ()),
        (dataclasses.replace(PROGRESS, device_name="a very long name of a device " * 5), ("a note " * 40,)),
        (PROGRESS, ("one", "two", "three")),
    )
    for progress, notes in frames:
        lines = last_frame(lang, progress, notes)
        assert all(cell_len(line) <= 80 for line in lines)
        heights.add(len(lines))
    assert len(heights) == 1


def last_frame(lang: Lang, progress: Progress, notes: tuple[str, ...]) -> list[str]:
    """The screen as it stands at the end, without the codes that draw it."""
    stream = Terminal()
    with Screen(lang, stream) as screen:
        for note in notes:
            screen.note(said(note))
        screen.update(progress)
    frame = re.split(r"(?:\x1b\[2K|\x1b\[1A)+", stream.getvalue())[-1]
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", frame).replace("\r", "").removesuffix("\n").split("\n")


def test_the_screen_shows_the_interval_and_the_last_two_notes() -> None:
    shown = "\n".join(last_frame("en", PROGRESS, ("one", "two", "three")))
    assert "6:37:20 (6:23:20 - 6:48:20)" in shown
    assert "! two" in shown and "! three" in shown and "! one" not in shown


def test_an_exception_leaves_the_terminal_usable() -> None:
    stream = Terminal()
    with pytest.raises(KeyboardInterrupt), Screen("en", stream) as screen:
        screen.update(PROGRESS)
        raise KeyboardInterrupt
    assert stream.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is shown again


@pytest.mark.parametrize(
    "environment",
    [{"JPY_PARENT_PID": "41"}, {"CLICOLOR": "1", "PAGER": "cat", "GIT_PAGER": "cat", "TERM": "xterm-color"}],
)
def test_a_cell_of_a_notebook_gets_the_lines_of_a_log(environment: dict[str, str]) -> None:
    stream, now = Terminal(), [0.0]
    with Screen("en", stream, clock=lambda: now[0], environment=environment) as screen:
        for step in range(1, 101):
            now[0] = float(step)
            screen.update(at(step))
    assert len(stream.getvalue().splitlines()) == 5
    assert "\x1b[1A" not in stream.getvalue()


def test_a_pager_alone_is_no_notebook() -> None:
    stream = Terminal()
    with Screen("en", stream, environment={"PAGER": "cat"}) as screen:
        screen.update(at(1))
    assert "\x1b[" in stream.getvalue()
