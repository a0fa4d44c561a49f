"""The recommended setting written into a user's own Python file, one number at a time.

A name that is given a number in two places is not guessed at: ``Config.train_lr`` says which one is meant,
``Trainer().train_lr`` the argument of a call. Everything else of the file stays as it is, byte for byte.
"""

import ast
import contextlib
import difflib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import libcst as cst

from advisor.errors import UsageError
from advisor.recommend.assignments import Number, NumberNode, Place, find_places, replace_numbers
from advisor.records import Advice, Option, record
from advisor.schema import nearest_name
from advisor.storage import storage_errors, write_atomically

Role = Literal["batch", "accumulation", "lr"]

ROLES: tuple[Role, ...] = get_args(Role)
_MAX_DEPTH = 500  # nodes within each other; Python's own limit on calls within calls is 1,000
DEFAULT_NAMES: dict[Role, str] = {
    "batch": "train_batch_size",
    "accumulation": "gradient_accumulate_every",
    "lr": "train_lr",
}


@record
class OwnSettings:
    """What a user's file says of batch, accumulation and learning rate; a role that it does not name is missing."""

    path: Path
    content: bytes
    module: cst.Module
    names: dict[Role, str]
    places: dict[Role, Place]

    def value(self, role: Role) -> Number | None:
        """The number in the file."""
        return self.places[role].value if role in self.places else None


@record
class Change:
    """A file as it would be, and the unified diff to how it is: empty if nothing has to change."""

    settings: OwnSettings
    content: bytes
    diff: str


def parse_names(text: str | None) -> dict[Role, str]:
    """The names to look for: ``batch=BATCH,accumulation=GRAD_ACC,lr=LR``, or the usual ones.

    Raises:
        UsageError: if it is not written like that.
    """
    names = dict(DEFAULT_NAMES)
    for part in text.split(",") if text is not None else ():
        role, _, name = (piece.strip() for piece in part.partition("="))
        known = next((one for one in ROLES if one == role), None)
        if known is None or not all(piece.removesuffix("()").isidentifier() for piece in name.split(".")):
            hint = nearest_name(role, ROLES) if known is None else ""
            raise UsageError(
                f"--apply-names: cannot read {part!r}{hint};"
                " write it like batch=BATCH,accumulation=GRAD_ACC,lr=Config.LR"
            )
        names[known] = name
    if len(set(names.values())) < len(names):
        raise UsageError("--apply-names: one name stands for two things; batch, accumulation and lr need a name each")
    return names


def read_settings(path: Path, names: Mapping[Role, str]) -> OwnSettings:
    """What the file says now.

    Raises:
        UsageError: if it cannot be read or is no Python, has none of the names, or gives one a number twice.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"--apply {path}: {error.strerror}") from None
    with _within_depth(path):
        module = _parse(path, content)
        given = find_places(module)
    found = {role: _only(path, role, name, given) for role, name in names.items()}
    places = {role: place for role, place in found.items() if place is not None}
    if not places:
        raise UsageError(
            f"--apply {path}: none of {', '.join(names.values())} is given a number there;"
            " --apply-names batch=NAME,accumulation=NAME,lr=NAME says what they are called"
        )
    _require_whole(path, places)
    return OwnSettings(path=path, content=content, module=module, names=dict(names), places=places)


def propose(settings: OwnSettings, advice: Advice) -> Change:
    """The file with the recommended numbers, and the unified diff.

    Raises:
        UsageError: if a number would have to change whose name the file does not have: half a change is none.
    """
    wanted, present = _numbers(advice.recommended), _numbers(advice.present)
    _require_places(settings, wanted, present)
    with _within_depth(settings.path):
        changed = replace_numbers(settings.module, _replacements(settings, wanted))
        name = settings.path.as_posix()
        old_lines, new_lines = (_lines(one.code) for one in (settings.module, changed))
        diff = "".join(_ended(line) for line in difflib.unified_diff(old_lines, new_lines, name, name))
    return Change(settings=settings, content=changed.bytes, diff=diff.rstrip("\n"))


def write_change(change: Change) -> None:
    """Replace the file as a whole, through links, with its permissions.

    Raises:
        UsageError: if somebody changed the file in the meantime.
        StorageError: if it cannot be written; then it is as it was.
    """
    path = change.settings.path.resolve()
    with storage_errors(path, "read"):
        mode, content = path.stat().st_mode, path.read_bytes()
    if content != change.settings.content:
        raise UsageError(f"{path} was changed while this ran, so nothing was written: run the same command again")
    write_atomically(path, change.content)
    with storage_errors(path, "set the permissions of"):
        path.chmod(mode & 0o7777)


# ---- what is to be written ----------------------------------------------------------------------


def _numbers(option: Option) -> dict[Role, str | None]:
    lr = option.lr.value
    return {
        "batch": str(option.micro_batch),
        "accumulation": str(option.accumulation),
        "lr": None if lr is None else f"{lr:.6g}",
    }


def _replacements(settings: OwnSettings, wanted: Mapping[Role, str | None]) -> list[tuple[NumberNode, str]]:
    found = [(place.number, wanted[role]) for role, place in settings.places.items()]
    return [
        (number, text)
        for number, text in found
        if number is not None and text is not None and text != f"{number.evaluated_value:.6g}"
    ]


def _require_places(
    settings: OwnSettings, wanted: Mapping[Role, str | None], present: Mapping[Role, str | None]
) -> None:
    missing = [role for role in ROLES if role not in settings.places and wanted[role] != present[role]]
    if missing:
        lines = ", ".join(f"{settings.names[role]} = {wanted[role]}" for role in missing)
        raise UsageError(
            f"{settings.path}: the advice also needs {lines}, which is given no number there; nothing was written."
            f" Say what it is called with --apply-names {missing[0]}=NAME, or change the file by hand"
        )


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)  # str.splitlines would also split at a form feed


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


# ---- reading ------------------------------------------------------------------------------------


def _parse(path: Path, content: bytes) -> cst.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _require_shallow(ast.parse(content))
        module = cst.parse_module(content)
    except (SyntaxError, ValueError, cst.ParserSyntaxError) as error:
        line = getattr(error, "lineno", None) or getattr(error, "raw_line", None)
        where = f", line {line}" if line else ""
        reason = " ".join(str(getattr(error, "msg", error)).split())
        raise UsageError(f"--apply {path}{where}: not valid Python ({reason}); nothing was written") from None
    if module.bytes != content:
        raise UsageError(f"--apply {path}: its text would not survive an edit; change it by hand")
    return module


def _require_shallow(tree: ast.AST) -> None:
    """LibCST's own parser overflows the stack, and ends the process, where Python's only says that it is too deep.

    Python keeps ``a and b and c`` as one flat node, LibCST as nested ones: such a chain counts with its length.

    Raises:
        RecursionError: if LibCST would nest deeper than its visitors can follow.
    """
    waiting: list[tuple[ast.AST, int]] = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        depth += len(node.values) if isinstance(node, ast.BoolOp) else 1
        if depth > _MAX_DEPTH:
            raise RecursionError
        waiting += [(child, depth) for child in ast.iter_child_nodes(node)]


@contextlib.contextmanager
def _within_depth(path: Path) -> Iterator[None]:
    try:
        yield
    except (RecursionError, MemoryError):  # how Python's parser says it, too
        raise UsageError(f"--apply {path}: nested too deeply to be edited; change it by hand") from None


def _only(path: Path, role: Role, name: str, given: Sequence[Place]) -> Place | None:
    """The one place where the name is given a number, or ``None`` if there is no such name at all."""
    named = [place for place in given if f".{place.path}".endswith(f".{name}")]
    numbers = [place for place in named if place.number is not None]
    if not named:
        return None
    if not numbers:
        raise UsageError(f"--apply {path}: {name} is not a plain number ({_listed(named)}); change it by hand")
    if len(numbers) > 1:
        raise UsageError(
            f"--apply {path}: {name} is given a number in {len(numbers)} places ({_listed(numbers)});"
            f" say which one is meant, as in --apply-names {role}={numbers[0].path}"
        )
    computed = [place for place in named if place.path == numbers[0].path and place.is_computed]
    if computed:
        raise UsageError(f"--apply {path}: {name} is also computed ({_listed(computed)}); change it by hand")
    return numbers[0]


def _listed(places: Sequence[Place]) -> str:
    return ", ".join(f"line {place.line}: {place.path}" for place in places)


def _require_whole(path: Path, places: Mapping[Role, Place]) -> None:
    for role, place in places.items():
        if role != "lr" and not isinstance(place.value, int):
            raise UsageError(f"--apply {path}: {place.path} must be a whole number, found {place.value}")
