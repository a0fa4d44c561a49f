"""What a terminal is too narrow for: tables that go on below themselves, texts that break as both languages break."""

from typing import Literal

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

HEAD_COLUMNS = 10
WHOLE = "whole"  # not a style of rich, which leaves it alone: it marks what stays on one line
_NAME_COLUMNS = 24  # a first column up to here is names, which stay whole
_GAP = 2  # columns between two cells
_HEAD_RULE = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
_CLOSING, _OPENING = "，。、：；！？）》”", "（《“"


class FittedTable:
    """A table that loses nothing where it is too wide: texts at its sides fold, then it goes on below itself.

    What goes on below repeats the first column, so that every part can be read alone.
    """

    def __init__(self, heads: list[Text], rows: list[list[Text]], numeric: list[bool], chosen: int | None) -> None:
        self._heads, self._rows, self._numeric, self._chosen = heads, rows, numeric, chosen

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One table, or as many as the width asks for."""
        for number, columns in enumerate(self._parts(options.max_width)):
            if number:
                yield Text("")
            yield self._drawn(columns, options.max_width)

    def _parts(self, width: int) -> list[list[int]]:
        parts, part = [], [0]
        for column in range(1, len(self._heads)):
            if len(part) > 1 and self._narrowest([*part, column], width) > width:
                parts.append(part)
                part = [0]
            part.append(column)
        return [*parts, part]

    def _narrowest(self, columns: list[int], width: int) -> int:
        widths = [self._width(column) for column in columns]
        for k in (0, len(columns) - 1):
            if self._may_fold(columns, k, width):
                widths[k] = min(widths[k], max(HEAD_COLUMNS, self._head_width(columns[k])))
        return sum(widths) + _GAP * (len(columns) - 1)

    def _may_fold(self, columns: list[int], k: int, width: int) -> bool:
        """Whether the cells at this place may be broken: texts at either side, but not names at the first."""
        is_at_side = k in (0, len(columns) - 1) and not self._numeric[columns[k]]
        return is_at_side and not (k == 0 and self._has_whole_names(width))

    def _has_whole_names(self, width: int) -> bool:
        """Whether the first column is names, and each column of figures has room beside them."""
        figures = [self._width(column) for column, is_numeric in enumerate(self._numeric) if column and is_numeric]
        names = self._width(0)
        return names <= _NAME_COLUMNS and names + _GAP + max(figures, default=0) <= width

    def _width(self, column: int) -> int:
        return max([self._head_width(column), *(cell_len(row[column].plain) for row in self._rows)])

    def _head_width(self, column: int) -> int:
        return max(map(cell_len, self._heads[column].plain.split("\n")))

    def _drawn(self, columns: list[int], width: int) -> RichTable:
        drawn = RichTable(box=_HEAD_RULE, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", show_edge=False)
        may_fold = {column for k, column in enumerate(columns) if self._may_fold(columns, k, width)}
        for column in columns:
            justify: Literal["left", "right"] = "right" if self._numeric[column] else "left"
            drawn.add_column(self._heads[column], justify=justify, no_wrap=column not in may_fold, overflow="fold")
        for index, row in enumerate(self._rows):
            cells = (Wrapped(row[column]) if column in may_fold else row[column] for column in columns)
            drawn.add_row(*cells, style="bold" if index == self._chosen else "")
        return drawn


class Wrapped:
    """A text broken into lines as both languages break: between words, and between Chinese characters.

    No line begins with a closing mark, and a figure stays together with its interval and its mark.
    """

    def __init__(self, text: Text, indent: int = 0) -> None:
        self._text, self._indent = text, indent

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines, the second and later ones moved in by ``indent``."""
        breaks = _breaks(self._text, options.max_width, self._indent)
        for number, line in enumerate(self._text.divide(breaks)):
            line.rstrip()
            shown = Text(" " * self._indent if number else "").append_text(line)
            shown.no_wrap, shown.overflow = True, "ignore"
            yield shown

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """At least a few words wide, at most the whole text."""
        columns = cell_len(self._text.plain)
        return Measurement(min(HEAD_COLUMNS, columns), min(columns, options.max_width))


def _breaks(text: Text, columns: int, indent: int) -> list[int]:
    """Offsets at which new lines begin: as late as each line allows."""
    plain, breaks, used = text.plain, [], 0
    figures = [(span.start, span.end) for span in text.spans if span.style == WHOLE]
    allowed = [k for k in range(1, len(plain)) if _may_break(plain, k, figures)]
    for start, end in zip([0, *allowed], [*allowed, len(plain)]):
        piece = plain[start:end]
        if start and used + cell_len(piece.rstrip(" ")) > columns:
            breaks.append(start)
            used = indent
        used += cell_len(piece)
    return breaks


def _may_break(plain: str, offset: int, figures: list[tuple[int, int]]) -> bool:
    before, after = plain[offset - 1], plain[offset]
    if after == " " or after in _CLOSING or before in _OPENING:
        return False
    if any(start < offset < end for start, end in figures):
        return False
    return before == " " or cell_len(before) == 2 or cell_len(after) == 2
