"""A report as Markdown that GitHub, notebooks and chats show alike."""

import re
from collections.abc import Callable

from reports.blocks import (
    Block,
    Bullet,
    Bullets,
    Chart,
    Code,
    Document,
    Figure,
    Heading,
    Line,
    Paragraph,
    Picture,
    Table,
    figure_text,
    line_text,
)

_SIGNS = {"+": "✓ ", "-": "✗ ", "!": "⚠️ ", "i": "", "": ""}


def render(document: Document) -> str:
    """The whole report as one Markdown text, ending in a newline."""
    parts = [f"# {document.title}", document.subtitle, f"> {line_text(document.legend, document.marks)}"]
    for number, section in enumerate(document.sections, start=1):
        parts.append(f"## {number}. {section.title}")
        parts += [_block(block, document) for block in section.blocks if not isinstance(block, Chart)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(block: Block, document: Document) -> str:
    renderers: dict[type, Callable[..., str]] = {
        Paragraph: _paragraph,
        Bullets: _bullets,
        Code: _code,
        Heading: lambda heading, _: f"### {heading.text}",
        Table: _table,
        Picture: lambda picture, _: f"![{picture.caption}]({picture.path})\n\n*{picture.caption}*",
    }
    return renderers[type(block)](block, document)


def _paragraph(paragraph: Paragraph, document: Document) -> str:
    return _escaped(line_text(paragraph.line, document.marks))


def _bullets(bullets: Bullets, document: Document) -> str:
    return "\n".join(_bullet(item, document) for item in bullets.items)


def _bullet(item: Bullet, document: Document) -> str:
    text = _escaped(line_text(item.line, document.marks))
    command = f"\n  `{item.command}`" if item.command else ""
    return f"- [ ] {text}{command}" if item.mark == "todo" else f"- {_SIGNS[item.mark]}{text}{command}"


def _code(code: Code, _: Document) -> str:
    return f"```{code.language}\n{code.text}\n```"


def _table(table: Table, document: Document) -> str:
    bases = [table.column_basis(index) for index in range(len(table.columns))]
    titles = [
        f"{column.title} {document.marks[basis]}" if basis else column.title
        for column, basis in zip(table.columns, bases)
    ]
    rules = ["---:" if column.numeric else ":---" for column in table.columns]
    rows = [
        [_cell(line, document, marked=bases[k] is None, bold=index == table.chosen) for k, line in enumerate(row)]
        for index, row in enumerate(table.rows)
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, rules, *rows))


def _cell(line: Line, document: Document, *, marked: bool, bold: bool) -> str:
    text = "".join(
        figure_text(item, document.marks, interval=False, basis=marked) if isinstance(item, Figure) else item
        for item in line
    )
    text = _escaped(text).replace("|", "\\|")
    return f"**{text}**" if bold and text else text


def _escaped(text: str) -> str:
    """Characters that Markdown would take for its own, where our texts have them."""
    return re.sub(r"[*<`]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)
