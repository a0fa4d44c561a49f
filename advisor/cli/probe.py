"""``cfgadvise probe``: what is there, what is usable for training now, what is wrong, and what mends it."""

from typing import Annotated

import typer

_STRICT_EXIT_CODE = 10


def probe(
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda:N|UUID", help="Only this device; auto shows all of them.")
    ] = "auto",
    bench: Annotated[
        bool, typer.Option("--bench", help="Also measure each device's speed; takes some seconds.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help=f"Leave with exit code {_STRICT_EXIT_CODE} if something blocks training.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of the table.")] = False,
) -> None:
    """Show this machine's devices, what is usable on them now, and what is wrong."""
    from advisor import schema
    from advisor.cli import context
    from advisor.hardware.choice import only_device
    from advisor.hardware.probe import probe as probe_machine

    found = probe_machine()
    if device != "auto":
        found = only_device(found, device)
    if bench:
        from advisor.hardware.bench import with_benchmarks

        found = with_benchmarks(found, context.print_progress)
    if as_json:
        context.print_answer(schema.to_json(found))
    else:
        from reports.terminal import render_probe

        context.print_answer(render_probe(found, context.current_settings().lang))
    if strict and any(check.severity == "blocker" for check in found.checks):
        raise typer.Exit(_STRICT_EXIT_CODE)
