"""A chart as inline SVG with real text: colours are the page's, so that it is light or dark with it.

matplotlib is imported when the first chart is drawn. It draws what a page cannot lay out, axes and
data; legend and title are the page's own text.
"""

import importlib.util
import io
import os
import re
import warnings
from typing import TYPE_CHECKING, Any

from advisor.units import format_count, format_lr
from reports.blocks import Chart, Role, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_INCHES, HEIGHT_INCHES = 5.0, 3.1
BAR_WIDTH = 0.62
CROWDED = 100  # points of a curve from which on a thick line would be a smear
_LOG_STEPS = (1, 1.5, 2, 3, 5, 7)
# Colours that no chart really has: each is written as the page's variable of that name afterwards.
INK, GRID = "#010101", "#020202"
COLORS: dict[Role, str] = {
    "weights": "#a10001", "gradients": "#a10002", "optimizer": "#a10003", "ema": "#a10004", "activations": "#a10005",
    "context": "#a10006", "rest": "#a10007", "main": "#a10008", "other": "#a10009", "limit": "#a1000a",
}  # fmt: skip
_VARIABLES = {INK: "ink-soft", GRID: "line", **{color: f"c-{role}" for role, color in COLORS.items()}}
_STYLE: Any = {  # matplotlib's type of it lists every key of one release
    "svg.fonttype": "none",
    "svg.hashsalt": "cfgadvise",
    "font.size": 10.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "axes.axisbelow": True,
}


def draw(chart: Chart, name: str) -> str:
    """The chart as an ``<svg>`` element; ``name`` keeps its ids apart from those of other charts."""
    _load_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    stream = io.StringIO()
    with rc_context(_STYLE), warnings.catch_warnings():
        # Chinese is drawn with the reader's fonts; matplotlib only misses it among its own, to measure with.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
        axes = figure.add_subplot()
        _fill(axes, chart)
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inlined(stream.getvalue(), name, chart.alt)


def _load_matplotlib() -> None:
    """Import it, also where the shell names a module to draw with that is not installed here.

    A notebook hands its ``MPLBACKEND`` on to the commands of its cells, which may live in another environment;
    an import that fails for it cannot be repeated in the same process.
    """
    named = os.environ.get("MPLBACKEND", "")
    package = named.removeprefix("module://").partition(".")[0]
    is_missing = named.startswith("module://") and importlib.util.find_spec(package) is None
    if is_missing:
        del os.environ["MPLBACKEND"]
    try:
        importlib.import_module("matplotlib")
    finally:
        if is_missing:
            os.environ["MPLBACKEND"] = named


def _fill(axes: "Axes", chart: Chart) -> None:
    categories = _categories(chart)
    _scale_x(axes, chart, categories)
    axes.set_yscale(chart.y_scale)
    axes.grid(axis="y", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    bottoms: dict[float, float] = {}
    for series in chart.series:
        _plot(axes, series, chart, categories, bottoms)
    if chart.y_scale == "linear" and chart.x_scale != "linear":
        axes.set_ylim(bottom=0)
    axes.set_xlabel(chart.x_title)
    axes.set_title(chart.y_title, loc="left", fontsize="medium")
    _label_y(axes, chart)


def _categories(chart: Chart) -> list[float]:
    """The places of a chart whose steps are even, whatever stands there."""
    if chart.x_scale != "category":
        return []
    return sorted({point.x for series in chart.series if series.form != "level" for point in series.points})


def _scale_x(axes: "Axes", chart: Chart, categories: list[float]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    if chart.x_scale == "category":
        axes.set_xticks(range(len(categories)), [f"{x:g}" for x in categories])
        axes.set_xlim(-0.6, len(categories) - 0.4)
    elif chart.x_scale == "log2":
        axes.set_xscale("log", base=2)
        ticks = sorted(
            {point.x for series in chart.series if series.form in ("points", "rings") for point in series.points}
        )
        axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: format_count(round(x))))


def _label_y(axes: "Axes", chart: Chart) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    if chart.y_scale == "log":
        axes.yaxis.set_major_locator(LogLocator(base=10, subs=_LOG_STEPS, numticks=12))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _tick(y)))


def _tick(value: float) -> str:
    if value and abs(value) < 1e-2:
        return format_lr(value)
    return f"{value:.6g}" if abs(value) < 1e4 else format_count(round(value))


def _plot(
    axes: "Axes", series: Series, chart: Chart, categories: list[float], bottoms: dict[float, float]
) -> None:  # fmt: skip
    known = [point for point in series.points if point.claim.value is not None]
    if not known:
        return
    color: Any = COLORS[series.role]
    xs = [categories.index(p.x) if categories and series.form != "level" else p.x for p in known]
    ys = [(p.claim.value or 0) / chart.per_unit for p in known]
    if series.form == "bars":
        starts = [bottoms.get(x, 0.0) for x in xs]
        axes.bar(xs, ys, BAR_WIDTH, bottom=starts, color=color)
        bottoms.update({x: start + y for x, start, y in zip(xs, starts, ys)})
    elif series.form == "level":
        axes.axhline(ys[0], color=color, linewidth=1.6, dashes=(6, 3))
    elif series.form == "upright":
        for x in xs:
            axes.axvline(x, color=color, linewidth=1, dashes=(2, 3))
    elif series.form == "band":
        low, high = _bounds(series, chart)
        axes.fill_between(xs, low, high, color=color, alpha=0.22, linewidth=0)
    else:
        _plot_values(axes, series, chart, (xs, ys), color)


def _plot_values(
    axes: "Axes", series: Series, chart: Chart, places: tuple[list[float], list[float]], color: str
) -> None:  # fmt: skip
    """Points with their intervals, a curve, or both."""
    xs, ys = places
    if series.form in ("points", "rings", "line"):
        low, high = _bounds(series, chart)
        errors = [[max(0.0, y - a) for y, a in zip(ys, low)], [max(0.0, b - y) for y, b in zip(ys, high)]]
        axes.errorbar(xs, ys, yerr=errors, fmt="none", ecolor=color, elinewidth=1.4, capsize=3)
        ring: Any = {"markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1.6}  # around a point that it meets
        style = ring if series.form == "rings" else {"markersize": 5}
        axes.plot(xs, ys, linestyle="none", marker="o", color=color, zorder=5, **style)
    if series.form in ("curve", "line"):
        axes.plot(xs, ys, color=color, linewidth=1.6 if len(xs) <= CROWDED else 0.9)


def _bounds(series: Series, chart: Chart) -> tuple[list[float], list[float]]:
    claims = [point.claim for point in series.points if point.claim.value is not None]
    low = [(c.value if c.low is None else c.low) or 0 for c in claims]
    high = [(c.value if c.high is None else c.high) or 0 for c in claims]
    return [y / chart.per_unit for y in low], [y / chart.per_unit for y in high]


def _inlined(svg: str, name: str, alt: str) -> str:
    """The element alone: no prologue, no metadata, no name space, ids of its own, colours of the page."""
    from html import escape

    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", svg)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var(--{variable})")
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: calc(\1 * var(--chart-text)) var(--font)", svg)
    size = re.compile(r'<svg[^>]*viewBox="([^"]+)"[^>]*>')
    return size.sub(lambda m: f'<svg viewBox="{m[1]}" role="img" aria-label="{escape(alt)}">', svg, count=1)
