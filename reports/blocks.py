"""What a report is made of: sections of typed blocks, in one language, for any renderer.

A figure never stands in a report as bare text: it is a :class:`Figure`, which keeps the
:class:`~advisor.records.Claim` it came from, so that every renderer can show its basis.
"""

import string
from collections.abc import Iterator
from typing import Literal

from advisor.records import Basis, Claim, record

Lang = Literal["en", "zh"]
Mark = Literal["+", "-", "!", "i", "todo", ""]


@record
class Figure:
    """A claim as it is printed: its value, its interval, and the claim itself for the basis.

    ``aside`` is the interval as a sentence has it, in the brackets of its language.
    """

    text: str
    interval: str = ""
    aside: str = ""
    claim: Claim
    marked: bool = True

    @property
    def shows_basis(self) -> bool:
        """Whether its basis is to be marked here: it has one, and no figure beside it shows the same."""
        return self.marked and self.is_known

    @property
    def is_known(self) -> bool:
        """Whether there is anything that could have a basis: a value, or a bound of it."""
        return not (self.claim.value is None and self.claim.low is None and self.claim.high is None)


Inline = str | Figure
Line = tuple[Inline, ...]


@record
class Paragraph:
    """One or more sentences."""

    line: Line


@record
class Bullet:
    """One item of a list: for, against, warning, remark, or something to tick off.

    ``command`` is a line of shell that mends what the item says.
    """

    mark: Mark = ""
    line: Line
    command: str = ""


@record
class Bullets:
    """A list of items."""

    items: tuple[Bullet, ...]


@record
class Code:
    """Lines to paste, or arithmetic to follow."""

    language: str
    text: str


@record
class Heading:
    """The title of a part of a section."""

    text: str


@record
class Column:
    """The head of a table's column; figures and counts are aligned to the right."""

    title: str
    numeric: bool = True


@record
class Table:
    """Rows of lines; ``chosen`` is the row that the reader should see first."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Line, ...], ...]
    chosen: int | None = None

    def column_basis(self, index: int) -> Basis | None:
        """The basis that all figures of a column share, so that it is marked once, in the head."""
        bases = {
            item.claim.basis for row in self.rows for item in row[index] if isinstance(item, Figure) and item.is_known
        }
        return bases.pop() if len(bases) == 1 else None


@record
class Picture:
    """A picture that lies beside the report, by relative path."""

    path: str
    caption: str


@record
class Point:
    """One value of a chart: where it stands, and the claim that it shows."""

    x: float
    claim: Claim


Form = Literal["bars", "points", "rings", "line", "curve", "band", "level", "upright"]
Role = Literal["weights", "gradients", "optimizer", "ema", "activations", "context", "rest", "main", "other", "limit"]


@record
class Series:
    """Values of a chart that belong together: drawn in one form, named once in the legend."""

    name: str
    form: Form
    role: Role
    points: tuple[Point, ...]


@record
class Chart:
    """Figures of the report as a picture. It repeats what stands in tables, so text renderers leave it out.

    ``per_unit`` is what a claim's value is divided by: the size of the unit that ``y_title`` names.
    """

    id: str
    title: str
    alt: str
    x_title: str
    y_title: str
    series: tuple[Series, ...]
    x_scale: Literal["category", "log2", "linear"] = "linear"
    y_scale: Literal["linear", "log"] = "linear"
    per_unit: float = 1.0
    remark: str = ""


Block = Paragraph | Bullets | Code | Heading | Table | Picture | Chart


@record
class Section:
    """A titled part of a report; ``id`` is the same in every language."""

    id: str
    title: str
    blocks: tuple[Block, ...]


@record
class Document:
    """A whole report in one language."""

    lang: Lang
    title: str
    subtitle: str
    legend: Line
    marks: dict[Basis, str]
    sections: tuple[Section, ...]

    def figures(self) -> Iterator[Figure]:
        """Every figure of the report, in reading order."""
        for section in self.sections:
            for block in section.blocks:
                for line in _lines(block):
                    yield from (item for item in line if isinstance(item, Figure))

    def charts(self) -> Iterator[Chart]:
        """Every chart of the report, in reading order."""
        for section in self.sections:
            yield from (block for block in section.blocks if isinstance(block, Chart))


def say(template: str, **values: Inline | Line | int) -> Line:
    """The template as a line, with figures kept whole where its placeholders were.

    Raises:
        KeyError: if the template names a value that is not given.
    """
    line: list[Inline] = []
    for literal, name, _, _ in string.Formatter().parse(template):
        if literal:
            line.append(literal)
        if name is None:
            continue
        value = values[name]
        if isinstance(value, tuple):
            line.extend(value)
        else:
            line.append(str(value) if isinstance(value, int) else value)
    return tuple(line)


def line_text(line: Line, marks: dict[Basis, str], *, intervals: bool = True, basis: bool = True) -> str:
    """The line as plain text: ``1.42 GiB (1.30-1.55 GiB) [P]``."""
    return "".join(
        item if isinstance(item, str) else figure_text(item, marks, interval=intervals, basis=basis) for item in line
    )


def figure_text(figure: Figure, marks: dict[Basis, str], *, interval: bool, basis: bool) -> str:
    """The figure as plain text, with the parts that are asked for."""
    said = f"{figure.text}{figure.aside}" if interval else figure.text
    return f"{said}{mark_gap(said)}{marks[figure.claim.basis]}" if basis and figure.shows_basis else said


def mark_gap(said: str) -> str:
    """What stands before a mark: nothing after a full-width bracket, which has its own."""
    return "" if said.endswith("）") else " "


def _lines(block: Block) -> Iterator[Line]:
    if isinstance(block, Paragraph):
        yield block.line
    elif isinstance(block, Bullets):
        yield from (item.line for item in block.items)
    elif isinstance(block, Table):
        for row in block.rows:
            yield from row
