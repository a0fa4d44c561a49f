"""A configuration as TOML: read from ``--set`` and from files, written with comments that say why."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
import tomlkit.exceptions

from advisor import schema
from advisor.errors import UsageError
from trainer.config import SECTIONS, TrainConfig


def parse_overrides(assignments: list[str]) -> dict[str, Any]:
    """Values of ``--set key=value``, read as TOML values; a bare word is a text.

    Raises:
        UsageError: for an unknown key (naming the nearest) or a missing ``=``.
    """
    known = {f.name for f in dataclasses.fields(TrainConfig)}
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        name = key.strip().rpartition(".")[2]
        if not equals or name not in known:
            why = "write --set key=value" if not equals else f"unknown key{schema.nearest_name(name, known)}"
            raise UsageError(f"--set {assignment}: {why}")
        try:
            values[name] = tomlkit.value(text.strip()).unwrap()
        except tomlkit.exceptions.TOMLKitError:
            values[name] = text.strip()
    return values


def read_values(path: Path) -> dict[str, Any]:
    """The keys of a configuration file, flat; sections are for people only.

    Raises:
        UsageError: if the file is missing, is not TOML or holds an unknown section.
    """
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")).unwrap()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (tomlkit.exceptions.TOMLKitError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML ({error})") from None
    values: dict[str, Any] = {}
    for section, content in document.items():
        if not isinstance(content, dict):
            values[section] = content
        elif section in SECTIONS:
            values.update(content)
        else:
            raise UsageError(f"{path}: unknown section [{section}]{schema.nearest_name(section, SECTIONS)}")
    return values


def to_toml(config: TrainConfig, why: Mapping[str, str]) -> str:
    """The configuration as TOML, with a comment on each line that says why it has this value."""
    document = tomlkit.document()
    plain = schema.to_plain(config)
    for section, names in SECTIONS.items():
        table = tomlkit.table()
        for name in names:
            item = tomlkit.item(plain[name])
            if name in why:
                item.comment(why[name])
            table.add(name, item)
        document.add(section, table)
    return tomlkit.dumps(document)


def updated_toml(text: str, config: TrainConfig) -> str:
    """A configuration file with new values; its comments and layout stay."""
    document, plain = tomlkit.parse(text), schema.to_plain(config)
    for section, names in SECTIONS.items():
        table = document.setdefault(section, tomlkit.table())
        for name in names:
            if table.get(name) != plain[name]:
                table[name] = plain[name]
    return tomlkit.dumps(document)
