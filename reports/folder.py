"""Files of a run folder as far as they can be read: what cannot is told, not raised."""

import json
import math
from pathlib import Path
from typing import Any, TypeVar

from advisor import schema
from advisor.errors import UsageError

R = TypeVar("R")


def read_log(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """The whole entries of a log; a damaged line is skipped and told."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(f"{path.name}: {error.strerror}")
        return []
    entries = []
    for line_number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if isinstance(entry, dict):
            entries.append(entry)
        else:
            problems.append(f"{path.name}: line {line_number} is damaged and was left out")
    return entries


def read_plain(path: Path, problems: list[str]) -> Any:
    """The JSON of a file; ``None`` if it is missing or, told in ``problems``, damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        problems.append(f"{path.name}: cannot be read ({error})")
        return None


def read_record(record_type: type[R], path: Path, problems: list[str]) -> R | None:
    """The record of a file; ``None`` if it is missing or, told in ``problems``, not such a record."""
    plain = read_plain(path, problems)
    if plain is None:
        return None
    try:
        return schema.from_plain(record_type, plain, where=path.name)
    except UsageError as error:
        problems.append(str(error))
        return None


def whole(value: Any) -> int | None:
    """The number as a whole one; ``None`` for anything else."""
    known = number(value)
    return None if known is None else int(known)


def number(value: Any) -> float | None:
    """The number if it is finite; ``None`` for anything else."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None
