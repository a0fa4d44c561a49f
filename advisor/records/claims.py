"""Figures with their basis, and remarks that can be said in any language."""

import dataclasses
import math
from typing import Literal

from advisor.records.frozen import record

Basis = Literal["measured", "predicted", "rule", "user"]
Sign = Literal["+", "-", "!"]
Value = bool | int | float | str | None


@record
class Claim:
    """One figure, the interval around it, and why anyone should believe it.

    ``measured`` is the point that was run; ``predicted`` comes from a model, with an interval;
    ``rule`` from a named law; ``user`` was given. ``value`` may be unknown while its bounds are not.
    """

    value: float | int | None
    low: float | int | None = None
    high: float | int | None = None
    basis: Basis
    source: str

    def __post_init__(self) -> None:
        present = [x for x in (self.low, self.value, self.high) if x is not None]
        if not all(math.isfinite(x) for x in present):
            raise ValueError("a figure must be finite; write null where it is unknown")
        if present != sorted(present):
            raise ValueError(f"expected low <= value <= high, found {self.low}, {self.value}, {self.high}")


@record
class Note:
    """A remark with an identity, so that it can be said in any language.

    ``text`` is the English sentence; ``id`` and ``values`` are what a catalogue needs to say it anew.
    """

    id: str
    text: str
    values: dict[str, Value] = dataclasses.field(default_factory=dict)


@record
class Reason:
    """A :class:`Note` that speaks for (``+``), against (``-``) or warns about (``!``) an option."""

    sign: Sign
    text: str
    id: str
    values: dict[str, Value] = dataclasses.field(default_factory=dict)
