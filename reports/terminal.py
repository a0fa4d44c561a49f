"""A report on a terminal: 80 columns are enough, in either language, with or without colour.

Nothing is drawn with characters that an ASCII or GBK stream lacks: tables have one rule of hyphens
under their head, and :func:`encodable` spells out what the stream cannot write.
"""

import io
from collections.abc import Iterable, Iterator
from typing import Literal

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from advisor.records import Basis, Probe
from reports.blocks import (
    Block,
    Bullet,
    Bullets,
    Chart,
    Code,
    Document,
    Figure,
    Heading,
    Lang,
    Line,
    Paragraph,
    Picture,
    Section,
    Table,
    figure_text,
)
from reports.commands import CommandLines

BASIS_STYLES: dict[Basis, str] = {"measured": "green", "predicted": "yellow", "rule": "cyan", "user": "magenta"}
_HEAD_RULE = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
_SIGNS = {
    "+": ("+", "green"), "-": ("-", "red"), "!": ("!", "yellow"), "todo": ("[ ]", ""), "i": ("*", ""), "": ("*", ""),
}  # fmt: skip
_FIGURE = "figure"  # not a style of rich, which leaves it alone: it marks what stays on one line
_HEAD_COLUMNS = 10
_GAP = 2  # columns between two cells
_CLOSING, _OPENING = "，。、：；！？）》”", "（《“"
_SPELLED = {
    "×": "x", "→": "->", "±": "+/-", "–": "-", "—": "-", "≈": "~", "≤": "<=", "≥": ">=", "√": "sqrt",
    "✓": "+", "✗": "x", "⚠": "!", "·": "-", "…": "...", "°": "deg", "“": '"', "”": '"', "’": "'",
}  # fmt: skip
_MAX_COLUMNS = 100


def encodable(text: str, encoding: str | None) -> str:
    """The text with every character that the encoding lacks spelled out, or ``?`` as the last resort."""
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        spelled = "".join(_SPELLED.get(c, c) if not _has(encoding, c) else c for c in text)
        return spelled.encode(encoding or "utf-8", "replace").decode(encoding or "utf-8")
    except LookupError:
        return text.encode("ascii", "replace").decode("ascii")
    return text


def render(document: Document) -> "TerminalReport":
    """The report as something that a rich console prints."""
    return TerminalReport(document)


def render_probe(probe: Probe, lang: Lang) -> "TerminalReport":
    """What ``cfgadvise probe`` found, as something that a rich console prints."""
    from reports.machines import build_probe_document

    return TerminalReport(build_probe_document(probe, lang))


class TerminalReport:
    """A document that knows how to draw itself on the console that it is printed to."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw at the console's width, at most 100 columns, in what its encoding can write."""
        painter = _Painter(self._document, options.encoding)
        narrow = options.update(width=min(options.max_width, _MAX_COLUMNS))
        for part in painter.parts():
            yield from console.render(part, narrow)


class _Painter:
    def __init__(self, document: Document, encoding: str) -> None:
        self._document, self._encoding = document, encoding
        self._marks = {basis: encodable(mark, encoding) for basis, mark in document.marks.items()}

    def parts(self) -> "Iterator[Wrapped | FittedTable | CommandLines]":
        document = self._document
        yield Wrapped(self._text(document.title, "bold"))
        yield Wrapped(self._text(document.subtitle, "dim"))
        if document.legend:
            yield Wrapped(self._legend())
        for number, section in enumerate(document.sections, start=1):
            yield from self._section(number, section)

    def _section(self, number: int, section: Section) -> "Iterator[Wrapped | FittedTable | CommandLines]":
        yield Wrapped(Text(""))
        yield Wrapped(self._text(f"{number}. {section.title}", "bold underline"))
        before: Block | None = None
        for block in (one for one in section.blocks if not isinstance(one, Chart)):
            if before is not None and _is_apart(before, block):
                yield Wrapped(Text(""))
            yield from self._block(block)
            before = block

    def _block(self, block: Block) -> "Iterator[Wrapped | FittedTable | CommandLines]":
        if isinstance(block, Paragraph):
            yield Wrapped(self._line(block.line))
        elif isinstance(block, Bullets):
            for item in block.items:
                yield self._bullet(item)
                if item.command:
                    yield CommandLines(encodable(item.command, self._encoding))
        elif isinstance(block, Code):
            yield from self._code(block)
        elif isinstance(block, Heading):
            yield Wrapped(self._text(block.text, "bold"))
        elif isinstance(block, Table):
            yield self._table(block)
        elif isinstance(block, Picture):
            named = f"  {block.path}" if block.caption == block.path else f"  {block.path}  {block.caption}"
            yield Wrapped(self._text(named))

    def _code(self, code: Code) -> "Iterator[Wrapped]":
        for line in code.text.splitlines():
            yield Wrapped(self._text(f"    {line}", "" if code.language == "text" else "bold"), indent=8)

    def _bullet(self, item: Bullet) -> "Wrapped":
        sign, style = _SIGNS[item.mark]
        text = Text(f"{sign} ", style="")
        text.stylize(style, 0, len(sign))
        text.append_text(self._line(item.line))
        return Wrapped(text, indent=len(sign) + 1)

    def _table(self, table: Table) -> "FittedTable":
        bases = [table.column_basis(index) for index in range(len(table.columns))]
        heads = [self._head(column.title, basis) for column, basis in zip(table.columns, bases)]
        rows = [
            [self._line(line, marked=bases[k] is None, interval=False) for k, line in enumerate(row)]
            for row in table.rows
        ]
        return FittedTable(heads, rows, [column.numeric for column in table.columns], table.chosen)

    def _head(self, title: str, basis: Basis | None) -> Text:
        """The title on as many lines as keep it narrow, with the mark of its column at the end."""
        mark = self._marks[basis] if basis else ""
        lines = [""]
        for word in [*encodable(title, self._encoding).split(), *([mark] if mark else [])]:
            joined = f"{lines[-1]} {word}".strip()
            if lines[-1] and cell_len(joined) > _HEAD_COLUMNS:
                lines.append(word)
            else:
                lines[-1] = joined
        head = Text("\n".join(lines))
        if basis:
            head.stylize(BASIS_STYLES[basis], len(head) - len(mark))
        return head

    def _line(self, line: Line, *, marked: bool = True, interval: bool = True) -> Text:
        text = Text()
        for item in line:
            if isinstance(item, Figure):
                start = len(text)
                bare = figure_text(item, self._marks, interval=interval, basis=False)
                text.append(encodable(bare, self._encoding))
                if marked and item.shows_basis:
                    text.append(f" {self._marks[item.claim.basis]}", BASIS_STYLES[item.claim.basis])
                text.stylize(_FIGURE, start)
            else:
                text.append(encodable(item, self._encoding))
        return text

    def _legend(self) -> Text:
        text = self._text("".join(item for item in self._document.legend if isinstance(item, str)), "dim")
        for basis, mark in self._marks.items():
            text.highlight_words([mark], BASIS_STYLES[basis])
        return text

    def _text(self, text: str, style: str = "") -> Text:
        return Text(encodable(text, self._encoding), style=style)


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
            yield self._drawn(columns)

    def _parts(self, width: int) -> list[list[int]]:
        parts, part = [], [0]
        for column in range(1, len(self._heads)):
            if len(part) > 1 and self._narrowest([*part, column]) > width:
                parts.append(part)
                part = [0]
            part.append(column)
        return [*parts, part]

    def _narrowest(self, columns: list[int]) -> int:
        widths = [self._width(column) for column in columns]
        for k in (0, len(columns) - 1):
            if not self._numeric[columns[k]]:
                widths[k] = min(widths[k], max(_HEAD_COLUMNS, self._head_width(columns[k])))
        return sum(widths) + _GAP * (len(columns) - 1)

    def _width(self, column: int) -> int:
        return max([self._head_width(column), *(cell_len(row[column].plain) for row in self._rows)])

    def _head_width(self, column: int) -> int:
        return max(map(cell_len, self._heads[column].plain.split("\n")))

    def _drawn(self, columns: list[int]) -> RichTable:
        drawn = RichTable(box=_HEAD_RULE, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", show_edge=False)
        may_fold = {column for column in (columns[0], columns[-1]) if not self._numeric[column]}
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
        return Measurement(min(_HEAD_COLUMNS, columns), min(columns, options.max_width))


def _breaks(text: Text, columns: int, indent: int) -> list[int]:
    """Offsets at which new lines begin: as late as each line allows."""
    plain, breaks, used = text.plain, [], 0
    figures = [(span.start, span.end) for span in text.spans if span.style == _FIGURE]
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


def _is_apart(before: Block, block: Block) -> bool:
    """Whether an empty line stands between two blocks: not within prose, and not under a heading."""
    if isinstance(before, Heading):
        return False
    return not (isinstance(before, Paragraph) and isinstance(block, Paragraph))


def _has(encoding: str | None, character: str) -> bool:
    try:
        character.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def printed(renderables: Iterable[TerminalReport], *, columns: int = 80, encoding: str = "utf-8") -> str:
    """The reports as plain text of that width, without colour: what a file should hold."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    console = Console(width=columns, color_system=None, force_terminal=False, file=stream)
    for renderable in renderables:
        console.print(renderable)
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)
