"""``cfgadvise report``: a run folder or an advice as a report for people, or two of them side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from reports.blocks import Document

FORMATS = ("terminal", "md", "html", "json")
LANGS: dict[str, tuple[Literal["en", "zh"], ...]] = {"en": ("en",), "zh": ("zh",), "both": ("zh", "en")}


def report(
    source: Annotated[Path, typer.Argument(metavar="RUN|ADVICE.json", help="A run folder, or an advice.json.")],
    other: Annotated[
        Path | None, typer.Argument(metavar="OTHER", help="A second one, to compare the first with.")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="terminal|md|html|json", help="How to write it; else by the name of FILE."),
    ] = None,
    lang: Annotated[
        str | None, typer.Option(metavar="zh|en|both", help="Language of the report; else that of the program.")
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to this file instead of stdout.")] = None,
) -> None:
    """Report an advice, or a run with what was predicted beside what happened; or compare two of them."""
    from advisor.cli.context import current_settings, print_answer, print_progress
    from advisor.errors import UsageError
    from advisor.storage import write_atomically
    from reports import terminal

    chosen_form = form or _form_of(output)
    if chosen_form not in FORMATS:
        raise UsageError(f"--format: {chosen_form!r} is none of {', '.join(FORMATS)}")
    if lang is not None and lang not in LANGS:
        raise UsageError(f"--lang: {lang!r} is none of {', '.join(LANGS)}")
    documents, records, pictures = _documents(source, other, LANGS[lang or current_settings().lang])
    if chosen_form == "terminal" and output is None:
        for document in documents:
            print_answer(terminal.render(document))
        return
    text = _text(chosen_form, documents, records, pictures)
    if output is None:
        print_answer(text.rstrip("\n"))
    else:
        write_atomically(output, text)
        print_progress(f"wrote {output}")


def _form_of(output: Path | None) -> str:
    return {".md": "md", ".html": "html", ".json": "json"}.get(output.suffix if output else "", "terminal")


def _documents(
    source: Path, other: Path | None, langs: tuple[Literal["en", "zh"], ...]
) -> tuple[list["Document"], str, Path | None]:
    """The report in each language, the records behind it as JSON, and where its pictures are."""
    from reports.compare import build_comparison, comparison_json
    from reports.document import build_document
    from reports.run import read_source, source_json

    advice, run = read_source(source)
    if other is None:
        documents = [build_document(advice, run, one) for one in langs]
        return documents, source_json(advice, run), run.folder if run else None
    sources = (source.name, advice, run), (other.name, *read_source(other))
    return [build_comparison(*sources, one) for one in langs], comparison_json(*sources), None


def _text(form: str, documents: list["Document"], records: str, pictures: Path | None) -> str:
    from reports import markdown, terminal

    if form == "json":
        return records + "\n"
    if form == "md":
        return "\n---\n\n".join(map(markdown.render, documents))
    if form == "html":
        from reports import html

        return html.render(documents, pictures=pictures, records=records)
    return terminal.printed(map(terminal.render, documents))
