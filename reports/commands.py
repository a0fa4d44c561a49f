"""A line of shell that can be copied from a narrow terminal and pasted whole."""

import re
from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

_COMMENT = re.compile(r"\s{2,}#\s*")
_WORD = re.compile(r"""(?:"[^"]*"|'[^']*'|[^\s"'])+""")
_INDENT = 4


def is_command(fix: str) -> bool:
    """Whether a fix in English is a command and not a sentence: commands begin in lower case or set a variable."""
    return re.match(r"[a-z]|[A-Z_]+=", fix) is not None


class CommandLines:
    """A command on lines of its own, broken between words with a backslash; its comment on lines with ``#``."""

    def __init__(self, fix: str) -> None:
        self._command, *comment = _COMMENT.split(fix, maxsplit=1)
        self._comment = comment[0] if comment else ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines, moved in; a word that is wider than the terminal is folded, so that nothing is lost."""
        columns = options.max_width - _INDENT
        lines = list(_broken(self._command, columns - 2))
        commands = [f"{line} \\" for line in lines[:-1]] + lines[-1:]
        comments = [f"# {line}" for line in _filled(self._comment, columns - 2)]
        for line, style in [*((line, "bold") for line in commands), *((line, "dim") for line in comments)]:
            yield Text(" " * _INDENT + line, style=style, overflow="fold")


def _broken(command: str, columns: int) -> Iterator[str]:
    if cell_len(command) <= columns + 2:
        yield command
        return
    yield from _joined(_WORD.findall(command), " ", columns, "  ")


def _filled(comment: str, columns: int) -> Iterator[str]:
    """The comment in lines; Chinese may break after each of its characters."""
    pieces = re.findall(r"[\u3000-\u9fff\uff00-\uffef][，。；：、）]*|[^\s\u3000-\u9fff\uff00-\uffef]+\s*|\s+", comment)
    yield from (line.strip() for line in _joined(pieces, "", columns, ""))


def _joined(pieces: list[str], between: str, columns: int, indent: str) -> Iterator[str]:
    line = ""
    for piece in pieces:
        longer = f"{line}{between}{piece}" if line.strip() else f"{line}{piece}"
        if line.strip() and cell_len(longer.rstrip()) > columns:
            yield line
            line = indent + piece
        else:
            line = longer
    if line.strip():
        yield line
