"""Bytes, seconds and counts as people write and read them. The only place that knows 2**30."""

import math
import re
from typing import Literal

from advisor.errors import UsageError

KIB = 2**10
MIB = 2**20
GIB = 2**30
_LARGEST_BYTES = 2**63

_BYTES_PER_UNIT = {
    "b": 1,
    "kib": KIB, "mib": MIB, "gib": GIB, "tib": 2**40,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
}  # fmt: skip
_SECONDS_PER_UNIT = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_DURATION_UNITS = {"en": ("d", "h", "min", "s"), "zh": ("天", "小时", "分", "秒")}


def parse_bytes(text: str) -> int:
    """Number of bytes in a text like ``"14GiB"``, ``"512 MB"`` or ``"1073741824"``.

    Raises:
        UsageError: if the text is not a positive amount with a known unit.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    unit = match.group(2).lower() or "b" if match else ""
    if not match or unit not in _BYTES_PER_UNIT:
        raise UsageError(f"{text!r} is not an amount of memory; write it like 14GiB or 512MiB")
    num_bytes = float(match.group(1)) * _BYTES_PER_UNIT[unit]
    if not 1 <= num_bytes < _LARGEST_BYTES:
        raise UsageError(f"{text!r}: an amount of memory must be at least one byte and below 8 EiB")
    return int(num_bytes)


def parse_duration_s(text: str) -> float:
    """Seconds in a text like ``"2h"``, ``"90min"`` or ``"1h30m"``.

    Raises:
        UsageError: if the text is not a positive duration with known units.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip().lower())
    spelled_s = sum(float(value) * _SECONDS_PER_UNIT.get(unit, math.nan) for value, unit in parts)
    rest = re.sub(r"(\d+(?:\.\d+)?)\s*([a-z]+)", "", text.strip().lower()).strip()
    if rest or not parts or not 0 < spelled_s < math.inf:
        raise UsageError(f"{text!r} is not a duration; write it like 2h, 90min or 1h30m")
    return spelled_s


def format_bytes(num_bytes: float) -> str:
    """``"1.42 GiB"``, ``"17.0 MiB"``, ``"812 B"``: three significant digits, binary units."""
    for unit, size in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if abs(num_bytes) >= size - size / KIB / 2:  # 1023.7 MiB would be rounded to 1024 MiB
            return f"{_three_digits(num_bytes / size)} {unit}"
    return f"{num_bytes:.0f} B"


def format_duration(duration_s: float, lang: Literal["en", "zh"] = "en") -> str:
    """``"2 h 05 min"``, ``"3 min 12 s"``, ``"4.21 s"``, ``"46.0 ms"``; in Chinese ``"2 小时 05 分"``."""
    d, h, m, s = _DURATION_UNITS[lang]
    if duration_s == 0:
        return f"0 {s}"
    if duration_s < 0.9995:  # each bound is where the smaller unit would be rounded up to a whole larger one
        return f"{_three_digits(duration_s * 1000)} ms"
    if duration_s < 59.95:
        return f"{_three_digits(duration_s)} {s}"
    minutes, seconds = divmod(round(duration_s), 60)
    if minutes < 60:
        return f"{minutes} {m} {seconds:02d} {s}"
    hours, minutes = divmod(round(duration_s / 60), 60)
    if hours < 48:
        return f"{hours} {h} {minutes:02d} {m}"
    days, hours = divmod(round(duration_s / 3600), 24)
    return f"{days} {d} {hours:02d} {h}"


def format_clock(duration_s: float) -> str:
    """``"1:02:28"`` or ``"2:05"``: the form of counters on a live screen."""
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def format_count(count: int) -> str:
    """``"20 000"``: groups of three, separated by a space that both languages accept."""
    return f"{count:,}".replace(",", " ")


def format_lr(lr: float) -> str:
    """``"1.41e-4"``: the form in which learning rates are written in configurations."""
    if lr == 0 or not math.isfinite(lr):
        return f"{lr:g}"
    mantissa, exponent = f"{lr:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def _three_digits(value: float) -> str:
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{decimals}f}"
