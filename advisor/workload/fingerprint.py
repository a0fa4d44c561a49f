"""The code that a workload is made of, as one digest: its own file and whatever it imports from beside it.

Installed packages are not looked into; their versions are part of what a measurement depends on in another way.
What the code reads at run time (data, configuration files) cannot be seen from it.
"""

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

from advisor.workload.load import is_file_spec, split_spec

_INSTALLED = ("site-packages", "dist-packages")


def code_digest(spec: str) -> str | None:
    """SHA-256 over the workload's file and the local files that it imports, directly or not.

    ``None`` if there is no such file, or if it is no Python that can be read.
    """
    first, folders, only = _start(spec)
    if first is None:
        return None
    seen: dict[Path, bytes] = {}
    names: set[str] = set()  # dozens of files import the same ones
    waiting = [first.resolve()]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        try:
            seen[path] = path.read_bytes()
            imported = _imported(seen[path], _package_of(path, folders))
        except (OSError, SyntaxError, ValueError):
            return None
        for name in imported:
            if name not in names and (only is None or name.partition(".")[0] == only):
                names.add(name)
                waiting += (place.resolve() for place in _local_files(name, folders))
    digest = hashlib.sha256()
    for path in sorted(seen):
        digest.update(str(path).encode(errors="surrogateescape") + b"\0" + hashlib.sha256(seen[path]).digest())
    return digest.hexdigest()


def _start(spec: str) -> tuple[Path | None, list[Path], str | None]:
    """The first file, the folders in which imports are looked for, and the only package that counts there."""
    place, _ = split_spec(spec)
    if is_file_spec(spec):
        path = Path(place)
        return (path if path.is_file() else None), [path.resolve().parent, Path.cwd()], None
    try:
        found = importlib.util.find_spec(place)
    except (ImportError, ValueError, AttributeError):
        found = None
    if found is None or not found.origin or not found.origin.endswith(".py"):
        return _in_cwd(place)
    path, depth = Path(found.origin), place.count(".") + (Path(found.origin).name == "__init__.py")
    root = path.resolve().parents[depth]
    # Beside an installed package lie those of everybody else.
    return path, [root], place.partition(".")[0] if root.name in _INSTALLED else None


def _in_cwd(place: str) -> tuple[Path | None, list[Path], str | None]:
    """A module of the current folder, where a console script does not look by itself."""
    files = _local_files(place, [Path.cwd()])
    return (files[-1] if files else None), [Path.cwd()], None


def _package_of(path: Path, folders: Sequence[Path]) -> str:
    """Dotted name of the package that a file lies in, for its relative imports."""
    for folder in folders:
        if path.is_relative_to(folder.resolve()):
            return ".".join(path.relative_to(folder.resolve()).parent.parts)
    return ""


@functools.cache
def _imported(source: bytes, package: str) -> tuple[str, ...]:
    """Every module that the source may import, wherever in it; names imported from one may be modules too."""
    return tuple(_imported_names(source, package))


def _imported_names(source: bytes, package: str) -> Iterator[str]:
    for node in _statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".") if package else []
            base = parts[: len(parts) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield name
            yield from (f"{name}.{alias.name}" if name else alias.name for alias in node.names)


def _statements(block: ast.AST) -> Iterator[ast.AST]:
    """Every statement in a block, however deep; expressions hold none, and are most of a file."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for one in getattr(block, field, ()):
            yield one
            yield from _statements(one)


def _local_files(name: str, folders: Sequence[Path]) -> list[Path]:
    """The files that importing this name runs, if they lie in one of the folders: packages first."""
    parts = name.split(".")
    for folder in folders:
        found = []
        for depth in range(1, len(parts) + 1):
            place = folder.joinpath(*parts[:depth])
            found += [path for path in (place / "__init__.py", place.with_name(f"{place.name}.py")) if path.is_file()]
        if found:
            return found
    return []
