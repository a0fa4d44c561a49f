"""``cfgadvise report``: a run folder or an advice as a report for people."""

from pathlib import Path
from typing import Annotated, Literal

import typer

FORMATS = ("terminal", "md", "json")
LANGS: dict[str, tuple[Literal["en", "zh"], ...]] = {"en": ("en",), "zh": ("zh",), "both": ("zh", "en")}


def report(
    source: Annotated[Path, typer.Argument(metavar="RUN|ADVICE.json", help="A run folder, or an advice.json.")],
    form: Annotated[str, typer.Option("--format", metavar="terminal|md|json", help="How to write it.")] = "terminal",
    lang: Annotated[
        str | None, typer.Option(metavar="zh|en|both", help="Language of the report; else that of the program.")
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to this file instead of stdout.")] = None,
) -> None:
    """Report an advice, or a run with what was predicted beside what happened."""
    from advisor.cli.context import current_settings, print_answer, print_progress
    from advisor.errors import UsageError
    from advisor.storage import write_atomically
    from reports import markdown, terminal
    from reports.document import build_document
    from reports.run import read_source, source_json

    if form not in FORMATS:
        raise UsageError(f"--format: {form!r} is none of {', '.join(FORMATS)}")
    if lang is not None and lang not in LANGS:
        raise UsageError(f"--lang: {lang!r} is none of {', '.join(LANGS)}")
    advice, run = read_source(source)
    chosen = lang or current_settings().lang
    documents = [build_document(advice, run, one) for one in LANGS[chosen]]
    if form == "terminal" and output is None:
        for document in documents:
            print_answer(terminal.render(document))
        return
    if form == "json":
        text = source_json(advice, run) + "\n"
    elif form == "md":
        text = "\n---\n\n".join(map(markdown.render, documents))
    else:
        text = terminal.printed(map(terminal.render, documents))
    if output is None:
        print_answer(text.rstrip("\n"))
    else:
        write_atomically(output, text)
        print_progress(f"wrote {output}")
