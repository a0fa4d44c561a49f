"""Sentences of an advice: an English template, found by its id, and the values that fill it.

Values are numbers in base units; the template says how they are written: ``{peak_bytes:bytes}``,
``{step_s:duration}``, ``{lr:lr}``, ``{num_items:count}``, ``{share:percent}``, ``{ratio:ratio}``.
Another language needs only its own templates and :func:`fill`.
"""

import string
from collections.abc import Callable
from typing import Any

from advisor.recommend.note_texts import NOTES
from advisor.recommend.reason_texts import REASONS
from advisor.records import Note, Reason, Sign, Value
from advisor.units import format_bytes, format_count, format_duration, format_lr


class _Writer(string.Formatter):
    """Writes a value as its unit is written; ``None`` as "unknown"."""

    def __init__(self, unknown: str) -> None:
        self._unknown = unknown

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None:
            return self._unknown
        if format_spec in _FORMATS:
            return _FORMATS[format_spec](value)
        return format(value, format_spec)


_FORMATS: dict[str, Callable[[Any], str]] = {
    "bytes": format_bytes,
    "duration": format_duration,
    "lr": format_lr,
    "count": lambda value: format_count(round(value)) if value >= 10 else f"{value:.3g}",
    "percent": lambda share: f"{100 * share:.3g} %",
    "ratio": lambda ratio: f"{ratio:.2f}",
}


def fill(template: str, values: dict[str, Value], *, unknown: str = "unknown") -> str:
    """The sentence, with every value in its unit."""
    return _Writer(unknown).vformat(template, (), values)


def reason(sign: Sign, reason_id: str, **values: Value) -> Reason:
    """A reason of the catalogue, with its English sentence."""
    return Reason(sign=sign, id=reason_id, text=fill(REASONS[reason_id], values), values=values)


def note(note_id: str, **values: Value) -> Note:
    """A warning or a hint for monitoring of the catalogue, with its English sentence."""
    return Note(id=note_id, text=fill(NOTES[note_id], values), values=values)
