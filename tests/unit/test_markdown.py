"""Markdown that pastes: headings in order, whole tables, fenced code, pictures by relative path."""

import itertools
import re
from pathlib import Path

import pytest
from sample_advice import sample_advice, write_sample_run

from reports import markdown
from reports.blocks import Document, Figure, Lang, Paragraph, Section, Table
from reports.document import build_document
from reports.run import read_run


@pytest.fixture(params=["en", "zh"])
def text(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    run = read_run(write_sample_run(tmp_path / "run-01"))
    lang: Lang = request.param
    return markdown.render(build_document(sample_advice(), run, lang))


def test_headings_are_in_order(text: str) -> None:
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    levels = [len(marks) for marks in re.findall(r"^(#+) ", prose, flags=re.MULTILINE)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(deeper - shallower <= 1 for shallower, deeper in itertools.pairwise(levels))


def test_every_table_row_has_as_many_cells_as_its_head(text: str) -> None:
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(tables) > 8
    for table in tables:
        counts = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(counts) == 1, table


def test_code_fences_are_closed_and_todo_items_can_be_ticked(text: str) -> None:
    assert len(re.findall(r"^```", text, flags=re.MULTILINE)) % 2 == 0
    assert "- [ ] " in text


def test_sample_grids_are_relative_paths(text: str) -> None:
    assert re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text) == [
        "evaluation/real.png",
        "samples/sample-1.png",
        "samples/sample-2.png",
        "evaluation/pairs-1600-1.png",
        "evaluation/pairs-1600-2.png",
    ]


def test_every_figure_carries_its_basis_or_stands_in_a_column_that_does(text: str) -> None:
    lang: Lang = "zh" if "结论" in text else "en"
    document = build_document(sample_advice(), None, lang)
    paragraphs = [block for one in document.sections for block in one.blocks if isinstance(block, Paragraph)]
    for figure in (item for block in paragraphs for item in block.line if isinstance(item, Figure)):
        assert f"{figure.text}" in text
        assert document.marks[figure.claim.basis] in text
    legend = text.splitlines()[4]
    assert all(mark in legend for mark in document.marks.values())


def test_a_basis_that_a_whole_column_shares_is_marked_once_in_its_head() -> None:
    document = build_document(sample_advice(), None, "en")
    tables = [block for one in document.sections for block in one.blocks if isinstance(block, Table)]
    measured = next(table for table in tables if table.column_basis(1) == "measured")
    rendered = markdown.render(Document(
        lang="en", title="t", subtitle="s", legend=(), marks=document.marks,
        sections=(Section(id="x", title="x", blocks=(measured,)),),
    ))  # fmt: skip
    head, *rows = [line for line in rendered.splitlines() if line.startswith("|")]
    assert "Peak GPU memory [M]" in head
    assert not any("[M]" in row for row in rows)


def test_characters_of_markdown_are_taken_literally() -> None:
    block = Paragraph(line=("a*b* <tag> _x_ drop_last 3 ~ 4",))
    document = Document(
        lang="en", title="t", subtitle="s", legend=(), marks={}, sections=(Section(id="x", title="x", blocks=(block,)),)
    )
    assert r"a\*b\* \<tag> \_x\_ drop_last 3 ~ 4" in markdown.render(document)
