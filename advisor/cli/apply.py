"""``recommend --apply FILE.py``: the present setting read from a user's file, the recommended one written into it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.cli.context import print_answer, print_progress
from advisor.errors import UsageError

if TYPE_CHECKING:
    from advisor.recommend.apply import OwnSettings, Role
    from advisor.records import Advice

_OPTIONS: "dict[Role, tuple[str, str]]" = {
    "batch": ("micro_batch", "--batch-size"),
    "accumulation": ("accumulation", "--accumulation"),
    "lr": ("lr", "--lr"),
}


def read_own_settings(
    path: Path | None, names: str | None, *, write: bool, other_answers: Mapping[str, bool]
) -> "OwnSettings | None":
    """What ``--apply FILE.py`` names, read before anything is measured.

    Raises:
        UsageError: if it cannot be edited, or the options exclude each other.
    """
    if path is None:
        if write or names is not None:
            raise UsageError("--write and --apply-names belong to --apply FILE.py: which file is meant?")
        return None
    for option in (option for option, is_given in other_answers.items() if is_given):
        raise UsageError(f"--apply and {option} exclude each other: stdout holds one answer")
    from advisor.recommend.apply import parse_names, read_settings

    settings = read_settings(path, parse_names(names))
    missing = [name for role, name in settings.names.items() if role not in settings.places]
    if missing:
        print_progress(f"{path}: not found: {', '.join(missing)}")
    return settings


def complete_from_file(settings: "OwnSettings | None", given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given on the command line, completed from the user's file.

    Raises:
        UsageError: if the two contradict each other.
    """
    present = dict(given)
    for role, (key, option) in _OPTIONS.items() if settings is not None else ():
        place = settings.places.get(role) if settings is not None else None
        if settings is None or place is None:
            continue
        if present[key] is not None and present[key] != place.value:
            raise UsageError(
                f"{settings.path} line {place.line} has {settings.names[role]} = {place.value}, and {option} is"
                f" {present[key]}: leave {option} out, or the change would start from another setting"
            )
        present[key] = place.value
    return present


def show_change(settings: "OwnSettings", advice: "Advice", *, write: bool) -> None:
    """Print the diff, and write the file if asked to."""
    from advisor.recommend.apply import propose, write_change

    change = propose(settings, advice)
    if not change.diff:
        print_answer(f"{settings.path}: nothing to change, this is the recommended setting")
        return
    if write:
        write_change(change)
    print_answer(change.diff)
    print_progress(f"wrote {settings.path}" if write else "nothing was written; --write does it")
