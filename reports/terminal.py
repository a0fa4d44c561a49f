"""A report on a terminal: 80 columns are enough, in either language, with or without colour.

Nothing is drawn with characters that an ASCII or GBK stream lacks: tables have one rule of hyphens
under their head, and :func:`encodable` spells out what the stream cannot write.
"""

import io
from collections.abc import Iterable, Iterator

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
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
    mark_gap,
)
from reports.commands import CommandLines
from reports.fitting import HEAD_COLUMNS, WHOLE, FittedTable, Wrapped

BASIS_STYLES: dict[Basis, str] = {"measured": "green", "predicted": "yellow", "rule": "cyan", "user": "magenta"}
_SIGNS = {
    "+": ("+", "green"), "-": ("-", "red"), "!": ("!", "yellow"), "todo": ("[ ]", ""), "i": ("*", ""), "": ("*", ""),
}  # fmt: skip
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
            if lines[-1] and cell_len(joined) > HEAD_COLUMNS:
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
                    text.append(f"{mark_gap(bare)}{self._marks[item.claim.basis]}", BASIS_STYLES[item.claim.basis])
                text.stylize(WHOLE, start)
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
