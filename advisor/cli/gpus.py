"""``cfgadvise gpus``: the table of cards, with the source of every figure."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from advisor.hardware.gpus import Gpu

_COLUMNS = ("GPU", "CC", "GB", "GB/s", "fp32", "tf32", "fp16", "bf16", "W")
_TITLES = {
    "en": "Dense TFLOP/s with float32 accumulation, stated or derived (sources: with a name, or --json)",
    "zh": "稠密算力（TFLOP/s，float32 累加），标称值或推算值（来源：加上名称或 --json）",
}
_SOURCES = {"en": "Sources", "zh": "来源"}


def gpus(
    name: Annotated[str | None, typer.Argument(help="Only cards of this name, such as 'RTX 4090' or P100.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of the table.")] = False,
) -> None:
    """Show the table of GPUs that predictions are made from, with the source of every figure."""
    from advisor import schema
    from advisor.cli import context
    from advisor.hardware.gpus import named, read_table

    found = read_table() if name is None else named(name)
    if as_json:
        context.print_answer(schema.to_json({"schema": "cfgadvise.gpus/1", "gpus": found}))
        return
    lang = context.current_settings().lang
    context.print_answer(_table(found, lang))
    if name is not None:
        context.print_answer("\n".join([f"{_SOURCES[lang]}:", *(f"  {gpu.name}: {gpu.source}" for gpu in found)]))


def _table(found: "tuple[Gpu, ...]", lang: str) -> "Table":
    from rich.table import Table

    table = Table(title=_TITLES[lang], title_justify="left", box=None, pad_edge=False)
    for position, title in enumerate(_COLUMNS):
        table.add_column(title, justify="left" if position == 0 else "right", no_wrap=position > 0, overflow="fold")
    for gpu in found:
        rates = (gpu.fp32_tflops, gpu.tf32_tflops, gpu.fp16_tflops, gpu.bf16_tflops, gpu.tdp_w)
        figures = (gpu.memory_gb, gpu.bandwidth_gb_s, *rates)
        shown = ("-" if figure is None else _figure(figure) for figure in figures)
        table.add_row(gpu.name.removeprefix("NVIDIA "), gpu.compute_capability or "-", *shown)
    return table


def _figure(figure: float) -> str:
    """At most one digit behind the point, none from a hundred on; JSON has them all."""
    return f"{figure:.0f}" if figure >= 100 else f"{figure:.1f}".removesuffix(".0")
