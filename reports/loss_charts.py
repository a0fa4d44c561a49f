"""The charts of a run's losses, drawn from what its logs say."""

import math

from advisor.records import Claim
from reports.blocks import Block, Chart
from reports.series import alt_text, series_of
from reports.view import RunView, TrainPoint
from reports.wording import Wording

MAX_POINTS = 300


def losses(run: RunView, w: Wording) -> list[Block]:
    """Training and validation loss against samples, and where the sample grids were drawn."""
    m = w.messages
    train: list[tuple[float, Claim]] = [
        (one.samples, _logged(one.loss, "train")) for one in thinned(run.train) if one.loss is not None
    ]
    validation = _validations(run)
    if len(train) + len(validation) < 3:
        return []
    series = [
        series_of(m.chart_train, "curve", "rest", train),
        series_of(m.chart_validation, "line", "main", validation),
    ]
    grids = [(one.samples, _logged(float(one.samples), "sample")) for one in run.grids if one.samples]
    series.append(series_of(m.chart_grids, "upright", "other", grids))
    return [
        Chart(
            id="loss",
            title=m.chart_loss,
            alt=alt_text(
                m.chart_loss, [*validation[:1], *validation[-1:]] or train[-1:], lambda claim: w.loss(claim).text
            ),
            x_title=m.column_samples,
            y_title=m.live_loss,
            series=tuple(one for one in series if one.points),
            y_scale="log" if _is_wide([*train, *validation]) else "linear",
        )
    ]


def two_losses(first: RunView, second: RunView, w: Wording) -> list[Block]:
    """The validation losses of two runs against samples."""
    m = w.messages
    a, b = _validations(first), _validations(second)
    if len(a) < 2 or len(b) < 2:
        return []
    return [
        Chart(
            id="losses",
            title=m.column_validation_loss,
            alt=alt_text(m.column_validation_loss, [a[-1], b[-1]], lambda claim: w.loss(claim).text),
            x_title=m.column_samples,
            y_title=m.live_loss,
            series=(series_of("A", "line", "main", a), series_of("B", "line", "other", b)),
            y_scale="log" if _is_wide([*a, *b]) else "linear",
        )
    ]


def _validations(run: RunView) -> list[tuple[float, Claim]]:
    return [(samples, _logged(loss, "validation")) for samples, loss in run.validation_curve]


def _is_wide(points: list[tuple[float, Claim]]) -> bool:
    """Whether a linear axis would flatten the end of the curve; a loss may be negative, and then has no logarithm."""
    known = [claim.value for _, claim in points if claim.value is not None]
    return bool(known) and min(known) > 0 and max(known) > 5 * min(known)


def validation_loss(loss: float | None, ema_loss: float | None) -> float | None:
    """The loss of the averaged weights, or of the raw ones where only they were tried."""
    return loss if ema_loss is None else ema_loss


def thinned(points: tuple[TrainPoint, ...]) -> tuple[TrainPoint, ...]:
    """At most so many points as a chart can show, evenly spread."""
    if len(points) <= MAX_POINTS:
        return points
    every = (len(points) - 1) / (MAX_POINTS - 1)
    return tuple(points[round(k * every)] for k in range(MAX_POINTS))


def _logged(value: float | None, kind: str) -> Claim:
    known = value if value is not None and math.isfinite(value) else None
    return Claim(value=known, basis="measured", source=f"metrics.jsonl: {kind}")
