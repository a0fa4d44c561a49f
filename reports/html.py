"""A report as one HTML page that needs nothing else: no script, no network, no file beside it.

Every language that is given is in the page; which one shows is two radio buttons and CSS. The page's
own policy forbids it to load anything.
"""

import html
import itertools
import json
import re
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from advisor.records import Advice
from reports.blocks import Block, Chart, Document, Figure, Lang, Picture, Section, Table
from reports.figures import draw
from reports.messages.catalogue import Messages, messages_in
from reports.pictures import data_url
from reports.run import source_json
from reports.view import RunView

PICTURES_BYTES = 1_600_000
MAX_LOG_LINES = 60
LANGUAGE_NAMES = {"en": "English", "zh": "中文"}
_TAGS = {"en": "en", "zh": "zh-Hans"}
_FRAME_HEIGHT = 720


def render(documents: Sequence[Document], *, pictures: Path | None = None, records: str | None = None) -> str:
    """The reports as one page, the first one shown; ``pictures`` is where their relative paths start.

    ``records`` is the JSON behind them, folded at the end.
    """
    page = _template().render(
        documents=documents,
        language_names=LANGUAGE_NAMES,
        tags=_TAGS,
        css=Markup(_asset("page.css")),  # noqa: S704 - our own file
        messages={one.lang: messages_in(one.lang) for one in documents},
        records=None if records is None else _foldable(records),
        chart=_drawn,
        picture=_Embedded(documents, pictures),
    )
    return page.strip() + "\n"


def whole_page(advice: Advice | None, run: RunView | None, lang: Lang) -> str:
    """The report of an advice, of a run or of both, in both languages; it opens in ``lang``."""
    from reports.document import build_document

    other: Lang = "zh" if lang == "en" else "en"
    documents = [build_document(advice, run, one) for one in (lang, other)]
    return render(documents, pictures=run.folder if run else None, records=source_json(advice, run))


def framed_report(run: RunView) -> str:
    """The report of a run in both languages, in a frame for a notebook's cell."""
    page = html.escape(whole_page(run.advice, run, "en"), quote=True)
    style = f"width:100%;height:{_FRAME_HEIGHT}px;border:0"
    return f'<iframe title="{html.escape(run.name)}" style="{style}" srcdoc="{page}"></iframe>'


class _Embedded:
    """Gives the pictures of a page their share of the size that all of them may have together."""

    def __init__(self, documents: Sequence[Document], folder: Path | None) -> None:
        shown = [block for one in documents for part in one.sections for block in part.blocks]
        num_pictures = sum(isinstance(block, Picture) for block in shown)
        self._limit_bytes = PICTURES_BYTES // max(num_pictures, 1)
        self._folder = folder

    def __call__(self, picture: Picture) -> str | None:
        return data_url(picture, self._folder, self._limit_bytes)


def _drawn(chart: Chart, lang: str) -> Markup:
    return Markup(draw(chart, f"{lang}-{chart.id}"))  # noqa: S704 - drawn here, its text escaped


def _foldable(records: str) -> dict[str, Any]:
    """The records as text, with long logs thinned out: a page is read, a log is searched."""
    plain = json.loads(records)
    is_thinned = False
    for name in ("train", "validation"):
        entries = (plain.get("run") or {}).get(name) or []
        if len(entries) > MAX_LOG_LINES:
            is_thinned = True
            every = (len(entries) - 1) / (MAX_LOG_LINES - 1)
            plain["run"][name] = [entries[round(k * every)] for k in range(MAX_LOG_LINES)]
    return {"text": json.dumps(plain, ensure_ascii=False, indent=1), "is_thinned": is_thinned}


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(kind=_kind, letter=lambda mark: mark.strip("[]"), whole=_whole)
    environment.globals.update(
        bases=_bases, groups=_groups, is_figure=lambda item: isinstance(item, Figure), source=_source
    )
    return environment.from_string(_asset("page.html"))


def _asset(name: str) -> str:
    return resources.files("reports").joinpath(name).read_text(encoding="utf-8")


def _kind(block: Block) -> str:
    return type(block).__name__


def _whole(text: str) -> Markup:
    """The text with each number and each option kept on one line: ``40 000`` must not be read as two."""
    numbers = re.sub(r"(?<=\d) (?=\d{3}(?!\d))", "\u00a0", text)
    return Markup(re.sub(r"--[a-z][\w-]*", r'<span class="whole">\g<0></span>', str(escape(numbers))))  # noqa: S704


def _groups(section: Section) -> list[tuple[str, list[Block]]]:
    """The section's blocks, with neighbours of one kind together: charts stand side by side."""
    return [(kind, list(blocks)) for kind, blocks in itertools.groupby(section.blocks, _kind)]


def _bases(table: Table) -> list[str | None]:
    return [table.column_basis(index) for index in range(len(table.columns))]


def _source(figure: Figure, messages: Messages) -> str:
    """What a figure says when the pointer rests on it."""
    names = {
        "measured": messages.basis_measured,
        "predicted": messages.basis_predicted,
        "rule": messages.basis_rule,
        "user": messages.basis_user,
    }
    return f"{names[figure.claim.basis]}: {messages.source(figure.claim.source)}"
