"""What every command shares: the language, how much to say, and the two streams to say it on.

stdout is the answer, stderr is the progress. Neither stream may fail for want of a character.
"""

import io
import locale
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from advisor.errors import StorageError, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

Lang = Literal["en", "zh"]

_LOCALE_VARIABLES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
_WIDTH_WITHOUT_TERMINAL = 120


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The global options of this call."""

    lang: Lang = "en"
    quiet: bool = False
    verbose: bool = False


_current: Settings | None = None


def current_settings() -> Settings:
    """The global options of this call; from the environment alone outside of one."""
    return _current or Settings(lang=choose_lang(None))


def use_settings(settings: Settings) -> None:
    """Make these the settings of this call."""
    global _current
    _current = settings


def choose_lang(option: str | None, environment: Mapping[str, str] = os.environ) -> Lang:
    """The language to answer in: ``--lang``, ``CFGADVISE_LANG``, the locale, else English.

    Raises:
        UsageError: if the option or ``CFGADVISE_LANG`` is neither ``en`` nor ``zh``.
    """
    for source, asked in (("--lang", option), ("CFGADVISE_LANG", environment.get("CFGADVISE_LANG"))):
        if asked:
            if asked not in ("en", "zh"):
                raise UsageError(f"{source}: {asked!r} is not a language of this program; choose en or zh")
            return cast("Lang", asked)
    spoken = next((environment[name] for name in _LOCALE_VARIABLES if environment.get(name)), "")
    if not spoken and sys.platform == "win32":
        spoken = locale.getlocale()[0] or ""
    first = spoken.split(":")[0].lower()  # LANGUAGE is a list, best first
    return "zh" if first.startswith(("zh", "chinese")) else "en"


def print_answer(answer: "str | RenderableType") -> None:
    """Write the answer to stdout: a text exactly as it is, anything else as rich draws it.

    Raises:
        StorageError: if stdout is a file on a full disk; an answer must not be lost unnoticed.
        BrokenPipeError: if the reader went away, as ``head`` does; typer then leaves quietly.
    """
    try:
        if isinstance(answer, str):
            print(answer, flush=True)
        else:
            _draw(answer)
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries again, and fails, on leaving
        raise StorageError(f"cannot write the answer to stdout: {error.strerror}; nothing else is wrong") from error


def _draw(answer: "RenderableType") -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDTH_WITHOUT_TERMINAL  # a file or a pipe has no width that could cut a table
    console.print(answer)
    sys.stdout.flush()


def print_progress(text: str) -> None:
    """Write one line to stderr; nothing with ``--quiet``."""
    if not current_settings().quiet:
        print(text, file=sys.stderr, flush=True)


def print_error(text: str) -> None:
    """Write to stderr, also with ``--quiet``."""
    print(text, file=sys.stderr, flush=True)


def harden_streams() -> None:
    """Let stdout and stderr escape what their encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def require_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Whether an option holds one of its values.

    Raises:
        UsageError: if not, naming the nearest.
    """
    if value not in choices:
        from advisor.schema import nearest_name

        raise UsageError(f"{option}: {value!r} is none of {', '.join(choices)}{nearest_name(value, choices)}")
