"""The ``cfgadvise`` command: global options, the commands, and one message with an exit code for each error."""

import sys
import traceback
from importlib import import_module
from typing import Annotated

import typer

import advisor
from advisor.cli import context
from advisor.cli.owners import require_own_packages
from advisor.errors import CfgadviseError, Interrupted, WorkloadError

# In the order in which a new user needs them.
COMMANDS = ("probe", "recommend", "refine", "train", "sample", "evaluate", "report", "gpus")

app = typer.Typer(
    name="cfgadvise",
    help="Which batch size, accumulation and learning rate? How long will it take? Measured on this machine.",
    epilog="Start with: cfgadvise train --auto",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run one command and leave with its exit code; see :mod:`advisor.errors` for the codes."""
    context.harden_streams()
    try:
        require_own_packages()
        app(prog_name="cfgadvise")
    except Interrupted as stop:
        context.print_error(str(stop))
        sys.exit(stop.exit_code)
    except CfgadviseError as error:
        if isinstance(error, WorkloadError):
            context.print_error(error.traceback_text.rstrip())
        context.print_error(f"error: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - the last door: whatever came through is a defect of ours
        traceback.print_exc()
        context.print_error(f"internal error: {str(error) or type(error).__name__} (please report the lines above)")
        sys.exit(1)


def _print_version(asked: bool) -> None:
    if asked:
        context.print_answer(f"cfgadvise {advisor.__version__}")
        raise typer.Exit


@app.callback()
def options(
    lang: Annotated[
        str | None, typer.Option(metavar="en|zh", help="Language of the answer; else CFGADVISE_LANG, else the locale.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="More progress on stderr.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Settings that stand before the command."""
    context.use_settings(context.Settings(lang=context.choose_lang(lang), quiet=quiet, verbose=verbose))


for _name in COMMANDS:
    app.command(_name)(getattr(import_module(f"advisor.cli.{_name}"), _name))
