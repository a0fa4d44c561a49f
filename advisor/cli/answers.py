"""What ``recommend`` answers with: a report, lines to paste or JSON on stdout, and files."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.cli.context import current_settings, print_progress, require_choice
from advisor.errors import UsageError

if TYPE_CHECKING:
    from advisor.records import Advice

FORMATS = ("python", "toml", "accelerate", "lightning")
_REPORT_SUFFIXES = (".md", ".html", ".json")


def emitter(emit: str | None, *, as_json: bool) -> Callable[["Advice"], Any]:
    """What turns advice into the answer: lines to paste, or the report."""
    if emit is None:
        return _report
    from advisor.recommend.emit import EMITTERS

    require_choice("--emit", emit, FORMATS)
    if as_json:
        raise UsageError("--emit and --json exclude each other: stdout holds one answer")
    return EMITTERS[emit]


def _report(advice: "Advice") -> Any:
    from reports import terminal
    from reports.document import build_document

    return terminal.render(build_document(advice, None, current_settings().lang))


def report_files(reports: list[Path], out: Path | None) -> list[Path]:
    """Every file to write, each checked before anything is measured."""
    from advisor.storage import require_writable

    for path in reports:
        if path.suffix not in _REPORT_SUFFIXES:
            raise UsageError(f"--report {path}: the name must end in {' or '.join(_REPORT_SUFFIXES)}")
    files = [*reports, *([out / "advice.json", out / "report.md"] if out else [])]
    for folder in {path.parent for path in files}:
        require_writable(folder)
    return files


def write_report(path: Path, advice: "Advice") -> None:
    """Write the advice as its name's suffix says."""
    from advisor.storage import write_atomically
    from reports import markdown
    from reports.document import build_document

    lang = current_settings().lang
    if path.suffix == ".json":
        text = advice.to_json()
    elif path.suffix == ".html":
        from reports.html import whole_page

        text = whole_page(advice, None, lang)
    else:
        text = markdown.render(build_document(advice, None, lang))
    write_atomically(path, text.rstrip("\n") + "\n")
    print_progress(f"wrote {path}")
