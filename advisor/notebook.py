"""An advice as a small HTML table: what a notebook shows when an advice is the last value of a cell.

The whole report is made by ``reports``, which the advisor does not import; this is its first page, so to
speak, made of the standard library alone.
"""

from html import escape
from typing import TYPE_CHECKING

from advisor.units import format_bytes, format_duration, format_lr

if TYPE_CHECKING:
    from collections.abc import Callable

    from advisor.records import Advice, Claim, Option

_HEAD = ("batch", "effective", "learning rate", "peak memory", "step time", "whole run", "verdict")


def advice_html(advice: "Advice") -> str:
    """The recommendation in one line, every option with its price, and the warnings."""
    best = advice.recommended
    title = (
        f"{best.micro_batch} × {best.accumulation} = {best.effective_batch}, learning rate {_plain(best.lr, format_lr)}"
    )
    head = "".join(f"<th>{name}</th>" for name in _HEAD)
    rows = "".join(_row(option, is_best=option.id == best.id) for option in advice.options)
    warnings = "".join(f"<li>{escape(note.text)}</li>" for note in advice.warnings)
    return (
        f"<p><b>{escape(title)}</b><br>{escape(advice.workload.name)}, {escape(advice.device.name)}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        + (f"<ul>{warnings}</ul>" if warnings else "")
    )  # fmt: skip


def _row(option: "Option", *, is_best: bool) -> str:
    cells = (
        f"{option.micro_batch} × {option.accumulation}",
        str(option.effective_batch),
        _claim(option.lr, format_lr),
        _claim(option.peak_reserved_bytes, format_bytes),
        _claim(option.step_s, format_duration),
        _claim(option.run_s, format_duration),
        option.verdict.replace("_", " "),
    )
    tag = "th" if is_best else "td"
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _plain(claim: "Claim", spell: "Callable[[float], str]") -> str:
    return "unknown" if claim.value is None else spell(claim.value)


def _claim(claim: "Claim", spell: "Callable[[float], str]") -> str:
    """The figure with its basis behind it, and its source where the pointer rests."""
    if claim.value is None:
        return "unknown"
    return f'<span title="{escape(claim.source)}">{escape(spell(claim.value))} <small>{claim.basis}</small></span>'
