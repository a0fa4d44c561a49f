"""Strict JSON for frozen dataclasses: what is written can be read back, and nothing else is accepted.

No value is converted: ``"16"`` and ``true`` are not the integer 16. An unknown key is an error that
names the nearest known one, so that a typing mistake never becomes a silently ignored setting.
"""

import dataclasses
import difflib
import json
import math
import re
import reprlib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from advisor.errors import UsageError

T = TypeVar("T")

_LARGEST_INT = 2**63 - 1  # what every reader of JSON can hold


def to_plain(value: Any) -> Any:
    """The dataclass, tuple or scalar as dicts, lists and scalars that ``json`` can write."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def to_json(value: Any) -> str:
    """The value as indented JSON text, without NaN (which JSON does not have)."""
    return json_text(to_plain(value), indent=2)


def json_text(plain: Any, *, indent: int | None = None) -> str:
    """JSON text that can always be encoded as UTF-8.

    Chinese stays readable. Half a surrogate pair, which stands for the bytes of an undecodable file
    name, is escaped, and so comes back as it was.

    Raises:
        ValueError: if there is a NaN or an infinity in it.
    """
    text = json.dumps(plain, indent=indent, ensure_ascii=False, allow_nan=False)
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def from_json(record_type: type[T], text: str, *, where: str) -> T:
    """Read one record from JSON text.

    Args:
        record_type: the dataclass to build.
        text: the JSON.
        where: what is being read, for messages: a path or an option's name.

    Raises:
        UsageError: naming all problems at once: bad JSON, unknown, missing or wrongly typed keys.
    """
    try:
        plain = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not valid JSON ({error})") from None
    return from_plain(record_type, plain, where=where)


def from_plain(record_type: type[T], plain: Any, *, where: str) -> T:
    """Build one record from dicts, lists and scalars; see :func:`from_json`."""
    problems: list[str] = []
    value = _read(record_type, plain, "", problems)
    if problems:
        raise UsageError(f"{where}: " + "; ".join(problems))
    return typing.cast("T", value)


def nearest_name(name: str, known: typing.Iterable[str]) -> str:
    """``" (did you mean 'x'?)"`` for the closest known name, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)  # swapped letters in a short name count
    return f" (did you mean {close[0]!r}?)" if close else ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} stands twice in one object")
    return plain


def _read(annotation: Any, plain: Any, path: str, problems: list[str]) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return plain
    if origin in (typing.Union, types.UnionType):
        return _read_union(arguments, plain, path, problems)
    if origin is typing.Literal:
        if plain not in arguments:
            problems.append(f"{_at(path)}{reprlib.repr(plain)} is none of {', '.join(map(str, arguments))}")
        return plain
    if dataclasses.is_dataclass(annotation):
        return _read_record(typing.cast("type", annotation), plain, path, problems)
    if origin is tuple:
        return _read_tuple(arguments, plain, path, problems)
    if origin in (dict, Mapping):
        return _read_mapping(arguments[1], plain, path, problems)
    return _read_scalar(annotation, plain, path, problems)


def _read_record(record_type: type, plain: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(plain, dict):
        problems.append(f"{_at(path)}expected an object, found {_kind(plain)}")
        return None
    hints = get_type_hints(record_type)
    fields = {f.name: f for f in dataclasses.fields(record_type)}
    for key in plain.keys() - fields.keys():
        problems.append(f"unknown key {_join(path, str(key))!r}{nearest_name(str(key), fields)}")
    values, before = {}, len(problems)
    for name, field in fields.items():
        if name in plain:
            values[name] = _read(hints[name], plain[name], _join(path, name), problems)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"missing key {_join(path, name)!r}")
    if len(problems) > before:
        return None
    try:
        return record_type(**values)
    except ValueError as error:  # a record's own check of ranges
        problems.append(f"{_at(path)}{error}")
        return None


def _read_union(options: tuple[Any, ...], plain: Any, path: str, problems: list[str]) -> Any:
    if plain is None and type(None) in options:
        return None
    attempts: list[list[str]] = []
    for option in sorted(options, key=lambda option: option is not type(plain)):  # 16 stays an int in `float | int`
        if option is type(None):
            continue
        found: list[str] = []
        value = _read(option, plain, path, found)
        if not found:
            return value
        attempts.append(found)
    nearest: list[str] = min(attempts, key=len)
    problems.extend(nearest)
    return None


def _read_tuple(items: tuple[Any, ...], plain: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(plain, (list, tuple)):
        problems.append(f"{_at(path)}expected a list, found {_kind(plain)}")
        return None
    any_length = len(items) == 2 and items[1] is Ellipsis
    if not any_length and len(plain) != len(items):
        problems.append(f"{_at(path)}expected {len(items)} values, found {len(plain)}")
        return None
    hints = [items[0]] * len(plain) if any_length else list(items)
    return tuple(_read(hint, item, f"{path}[{k}]", problems) for k, (hint, item) in enumerate(zip(hints, plain)))


def _read_mapping(item_type: Any, plain: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(plain, dict):
        problems.append(f"{_at(path)}expected an object, found {_kind(plain)}")
        return None
    return {key: _read(item_type, item, _join(path, key), problems) for key, item in plain.items()}


def _read_scalar(scalar: type, plain: Any, path: str, problems: list[str]) -> Any:
    is_number = isinstance(plain, (int, float)) and not isinstance(plain, bool)
    if isinstance(plain, int) and abs(plain) > _LARGEST_INT:
        problems.append(f"{_at(path)}a number of {plain.bit_length()} bits is out of range")
        return plain
    if scalar is float and is_number:
        if not math.isfinite(plain):
            problems.append(f"{_at(path)}must be a finite number, found {plain}")
        return float(plain)
    if type(plain) is not scalar:
        problems.append(f"{_at(path)}expected {_NAMES.get(scalar, scalar.__name__)}, found {_kind(plain)}")
    return plain


_NAMES: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    type(None): "null",
    dict: "an object",
    list: "a list",
}


def _kind(plain: Any) -> str:
    shown = isinstance(plain, (int, float, str)) and not isinstance(plain, bool)
    return _NAMES.get(type(plain), type(plain).__name__) + (f" {reprlib.repr(plain)}" if shown else "")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _at(path: str) -> str:
    return f"{path}: " if path else ""
