"""Claims, notes and checks as a reader of one language sees them."""

import dataclasses
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from advisor import units
from advisor.records import Basis, Check, Claim, Device, Note, Reason, Value
from reports.blocks import Figure, Inline, Lang, Line
from reports.messages.catalogue import Messages, messages_in

ARITHMETIC = "arithmetic"
RULED = Claim(value=None, basis="rule", source="advice.json")


class Wording:
    """Turns records into words and figures of one language.

    The memory of a graphics card and that of the computer have different names in Chinese; which one
    is meant follows from the device.
    """

    def __init__(self, lang: Lang, device_kind: str = "cpu") -> None:
        self.lang: Lang = lang
        self.messages: Messages = messages_in(lang)
        has_own_memory = device_kind in ("cuda", "xpu")
        self.memory = self.messages.word_vram if has_own_memory else self.messages.word_memory

    @classmethod
    def for_device(cls, lang: Lang, device: Device) -> "Wording":
        """The wording for reports about a device."""
        return cls(lang, device.kind)

    @property
    def marks(self) -> dict[Basis, str]:
        """The mark behind a figure, by basis."""
        m = self.messages
        return {"measured": m.mark_measured, "predicted": m.mark_predicted, "rule": m.mark_rule, "user": m.mark_user}

    @property
    def basis_names(self) -> dict[Basis, str]:
        """What the marks stand for."""
        m = self.messages
        return {
            "measured": m.basis_measured,
            "predicted": m.basis_predicted,
            "rule": m.basis_rule,
            "user": m.basis_user,
        }

    def legend(self) -> Line:
        """One line that explains the marks."""
        names = self.basis_names
        parts = [f"{mark} {names[basis]}" for basis, mark in self.marks.items()]
        return (f"{self.messages.legend}{self.messages.list_separator.join(parts)}",)

    # ---- figures --------------------------------------------------------------------------------

    def bytes(self, claim: Claim) -> Figure:
        """``1.42 GiB``."""
        return self._figure(claim, units.format_bytes)

    def duration(self, claim: Claim) -> Figure:
        """``2 h 05 min`` or ``2 小时 05 分``."""
        return self._figure(claim, lambda value: units.format_duration(value, self.lang))

    def lr(self, claim: Claim) -> Figure:
        """``1.41e-4``."""
        return self._figure(claim, units.format_lr)

    def count(self, claim: Claim) -> Figure:
        """``150 000``."""
        return self._figure(claim, lambda value: units.format_count(round(value)))

    def number(self, claim: Claim) -> Figure:
        """``0.9950``: as many digits as the value has, at most six."""
        return self._figure(claim, lambda value: f"{value:.6g}")

    def loss(self, claim: Claim) -> Figure:
        """``0.1859``: four digits, as in the log."""
        return self._figure(claim, lambda value: f"{value:.4g}")

    def kid(self, claim: Claim) -> Figure:
        """``-0.00885``: three digits, for its interval is far wider than the fourth."""
        return self._figure(claim, lambda value: f"{value:.3g}")

    def money(self, claim: Claim) -> Figure:
        """``0.85``: hundredths, or two digits of what is less than a tenth."""
        return self._figure(claim, lambda value: f"{value:.2f}" if value >= 0.1 else f"{value:.2g}")

    def rate(self, claim: Claim) -> Figure:
        """``321``: samples in a second, three digits."""
        return self._figure(claim, spelled_count)

    def percent(self, claim: Claim) -> Figure:
        """``1.03 %`` or ``1.03%``, from a ratio of 0 to 1."""
        return self._figure(claim, self.percent_text)

    def points(self, claim: Claim) -> Figure:
        """``+0.60``: a difference of two ratios in percentage points."""
        return self._figure(claim, lambda difference: f"{100 * difference:+.2f}")

    def margin(self, claim: Claim) -> Figure:
        """``±0.60``: how far chance may carry a difference, in percentage points."""
        return self._figure(claim, lambda difference: f"±{100 * difference:.2f}")

    def percent_text(self, ratio: float) -> str:
        """A ratio as a percentage with three digits; Chinese puts no space before the sign."""
        percentage = 100 * ratio
        spelled = f"{percentage:.3g}" if abs(percentage) < 999.5 else f"{percentage:.0f}"
        return f"{spelled}{self.messages.percent_sign}"

    def _figure(self, claim: Claim, spell: Callable[[float], str]) -> Figure:
        text = self.messages.unknown if claim.value is None else spell(claim.value)
        if claim.low is None and claim.high is None:
            return Figure(text=text, claim=claim)
        low, high = (spell(bound) if bound is not None else "" for bound in (claim.low, claim.high))
        if low == text == high:
            return Figure(text=text, claim=claim)
        interval = self._interval(low, high)
        if claim.value is None:
            return Figure(text=interval, claim=claim)
        aside = self.messages.aside.format(interval=interval)
        return Figure(text=text, interval=interval, aside=aside, claim=claim)

    def _interval(self, low: str, high: str) -> str:
        if not low:
            return f"<= {high}"
        if not high:
            return f">= {low}"
        unit = (
            low[low.find(" ") :] if " " in low and low.count(" ") == 1 and high.endswith(low[low.find(" ") :]) else ""
        )
        return f"{low.removesuffix(unit)}{self.messages.range_sign}{high}"

    # ---- notes and checks -----------------------------------------------------------------------

    def note(self, note: Note | Reason, claims: Mapping[str, Claim] | None = None) -> Line:
        """The note's sentence; its own English text where this language does not know its id.

        A figure in it takes basis and source from the claim of its name; without one it is a rule.
        """
        known = self.messages.reasons if isinstance(note, Reason) else self.messages.notes
        return self._filled(known.get(note.id), note.values, claims or {}) or (note.text,)

    def check(self, check: Check) -> tuple[str, str | None]:
        """A check's message and the line that mends it."""
        message, fix = self.messages.checks.get(check.id, (None, None))
        said = _plain(self._filled(message, check.values, {})) or check.message
        mended = _plain(self._filled(fix, check.values, {})) or check.fix if check.fix is not None else None
        return said, mended

    def _filled(self, template: str | None, values: Mapping[str, Value], claims: Mapping[str, Claim]) -> Line | None:
        if template is None:
            return None
        try:
            return _marked_once(self._parts(template, {"memory": self.memory, **values}, claims))
        except (KeyError, ValueError, TypeError):  # written for other values: the English text is right
            return None

    def _parts(self, template: str, values: Mapping[str, Value], claims: Mapping[str, Claim]) -> Iterator[Inline]:
        for literal, name, unit, _ in string.Formatter().parse(template):
            if literal:
                yield literal
            if name is None:
                continue
            value, spell = values[name], self._spellers().get(unit or "")
            if value is None:
                yield self.messages.unknown
            elif isinstance(value, str) or not unit:
                yield format(value, unit or "")
            else:
                known = claims.get(name, RULED)
                claim = Claim(value=value, basis=known.basis, source=known.source)
                yield Figure(text=spell(value) if spell else format(value, unit), claim=claim)

    def _spellers(self) -> dict[str, Callable[[float], str]]:
        return {
            "bytes": units.format_bytes,
            "duration": lambda duration_s: units.format_duration(duration_s, self.lang),
            "lr": units.format_lr,
            "count": spelled_count,
            "percent": self.percent_text,
            "ratio": lambda ratio: f"{ratio:.2f}",
        }


def _marked_once(parts: Iterable[Inline]) -> Line:
    """The sentence with a mark behind the last of neighbouring figures that share a basis, not behind each."""
    line: list[Inline] = []
    later: Basis | None = None
    for part in reversed(list(parts)):
        if isinstance(part, str):
            line.append(part)
            continue
        line.append(dataclasses.replace(part, marked=part.claim.basis != later))
        later = part.claim.basis
    return tuple(reversed(line))


def _plain(line: Line | None) -> str:
    return "".join(item if isinstance(item, str) else item.text for item in line or ())


def spelled_count(count: float) -> str:
    """``150 000``; three digits where a count is small enough to have a fraction."""
    return units.format_count(round(count)) if count >= 100 else f"{count:.3g}"


def spelled_epoch(epoch: float) -> str:
    """``24.7``; from a hundred on without a fraction: ``1 548``."""
    return units.format_count(round(epoch)) if epoch >= 100 else f"{epoch:.1f}"


def exact(value: float, source: str = ARITHMETIC) -> Claim:
    """A figure that follows from others by arithmetic alone."""
    return Claim(value=value, basis="rule", source=source)


def all_as(basis: Basis, source: str, values: Mapping[str, Value]) -> dict[str, Claim]:
    """The numbers of a note as claims of one basis."""
    return {
        name: Claim(value=value, basis=basis, source=source)
        for name, value in values.items()
        if isinstance(value, (int, float))
    }


def day(created_at_utc: str) -> str:
    """``2026-11-23 08:00 UTC`` from an ISO time; the text itself if it is none."""
    try:
        return datetime.fromisoformat(created_at_utc.replace("Z", "+00:00")).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return created_at_utc
