"""What the charts of a report show: series of claims, drawn from the same records as the tables."""

import math
from collections.abc import Callable, Iterable

from advisor import units
from advisor.records import Advice, Basis, Claim, Measurement, Option
from reports.blocks import Block, Chart, Form, Point, Role, Series
from reports.points import memory_claim, rate_claim
from reports.view import RunView, TrainPoint
from reports.wording import Wording

FAR_ABOVE = 3.0
MAX_POINTS = 300
_CURVE_POINTS = 40


def memory(advice: Advice, w: Wording) -> list[Block]:
    """Peak memory against the micro-batch: stacked by cause, with what was measured, predicted and allowed."""
    peaks = _peaks(advice.measurements)
    m, predicted = w.messages, _predictions(advice)
    shown = peaks or predicted
    if not shown:
        return []
    largest = max(claim.high or claim.value or 0 for claim in (*peaks.values(), *predicted.values()))
    unit, per_unit = ("GiB", units.GIB) if largest >= units.GIB else ("MiB", units.MIB)
    series = _causes(advice, shown, w)
    if peaks:
        series.append(_series(m.basis_measured, "points", "main", peaks.items()))
    if predicted:
        series.append(_series(m.basis_predicted, "line", "other", predicted.items()))
    budget, remark = advice.memory.budget_bytes, ""
    if budget and budget > FAR_ABOVE * largest:
        remark = m.chart_budget_above.format(budget=units.format_bytes(budget), times=f"{budget / largest:.3g}")
    elif budget:
        claim = Claim(value=budget, basis="rule", source="memory.budget_bytes")
        series.append(_series(m.chart_budget, "level", "limit", [(0, claim)]))
    title = m.chart_memory.format(memory=w.memory)
    return [
        Chart(
            id="memory",
            title=title,
            alt=_alt(title, shown.items(), lambda claim: w.bytes(claim).text),
            x_title=m.column_micro_batch,
            y_title=unit,
            series=tuple(series),
            x_scale="category",
            per_unit=per_unit,
            remark=remark,
        )
    ]


def _peaks(measurements: Iterable[Measurement]) -> dict[int, Claim]:
    """The largest measured peak of each micro-batch, in order."""
    found: dict[int, Claim] = {}
    for one in sorted(measurements, key=lambda each: (each.micro_batch, each.peak_reserved_bytes or 0)):
        if one.outcome == "ok" and one.peak_reserved_bytes is not None:
            found[one.micro_batch] = memory_claim(one)
    return found


def _causes(advice: Advice, peaks: dict[int, Claim], w: Wording) -> list[Series]:
    """One bar a cause and micro-batch; what no cause explains is a cause of its own, not spread over the others."""
    m, parts = w.messages, advice.memory.breakdown
    fixed: list[tuple[str, Role, int | None]] = [
        (m.part_weights, "weights", parts.weights_bytes),
        (m.part_gradients, "gradients", parts.gradients_bytes),
        (m.part_optimizer, "optimizer", parts.optimizer_bytes),
        (m.part_ema, "ema", parts.ema_bytes),
        (m.part_context, "context", parts.context_bytes),
    ]
    each_sample = parts.activations_bytes_per_sample
    stacked: list[tuple[str, Role, dict[int, int]]] = [
        (name, role, dict.fromkeys(peaks, size)) for name, role, size in fixed if size
    ]
    if each_sample:
        stacked.append((m.chart_activations, "activations", {batch: each_sample * batch for batch in peaks}))
    rest = _left_over(stacked, peaks)
    if min(rest.values()) < 0:  # an allocator's peak does not count the device's context
        stacked = [one for one in stacked if one[1] != "context"]
        rest = _left_over(stacked, peaks)
    if not stacked or min(rest.values()) < 0:
        return []
    stacked.append((m.chart_rest, "rest", rest))
    basis = next(iter(peaks.values())).basis
    return [_series(name, "bars", role, _sizes(one, basis)) for name, role, one in stacked]


def _left_over(stacked: list[tuple[str, Role, dict[int, int]]], peaks: dict[int, Claim]) -> dict[int, int]:
    """What of each peak no cause explains; below zero where the causes do not stand side by side."""
    return {batch: round(peak.value or 0) - sum(one[batch] for _, _, one in stacked) for batch, peak in peaks.items()}


def _sizes(size_bytes: dict[int, int], basis: Basis) -> list[tuple[float, Claim]]:
    source = "memory.breakdown"
    return [(batch, Claim(value=size, basis=basis, source=source)) for batch, size in size_bytes.items()]


def speed(advice: Advice, w: Wording) -> list[Block]:
    """Samples a second against the micro-batch, without accumulation and with it, and the fit through them."""
    m = w.messages
    rates = {
        (one.micro_batch, one.accumulation): rate_claim(one) for one in advice.measurements if one.step_s is not None
    }
    alone = [(batch, claim) for (batch, accumulation), claim in sorted(rates.items()) if accumulation == 1]
    accumulated = [(batch, claim) for (batch, accumulation), claim in sorted(rates.items()) if accumulation > 1]
    if len(alone) < 2:
        return []
    series = []
    fitted = _fitted_rates(advice, alone[0][0], alone[-1][0])
    if fitted:
        series.append(_series(m.chart_fit, "curve", "other", fitted))
    series.append(_series(m.basis_measured, "points", "main", alone))
    if accumulated:
        series.append(_series(m.chart_accumulated, "points", "limit", accumulated))
    knee = advice.speed.knee_micro_batch
    if knee is not None and alone[0][0] <= knee <= alone[-1][0]:
        claim = Claim(value=knee, basis="predicted", source="speed.knee_micro_batch")
        series.append(_series(m.chart_knee, "upright", "rest", [(knee, claim)]))
    return [
        Chart(
            id="speed",
            title=m.chart_speed,
            alt=_alt(m.chart_speed, alone, lambda claim: w.rate(claim).text),
            x_title=m.column_micro_batch,
            y_title=m.column_samples_per_s,
            series=tuple(series),
            x_scale="log2",
        )
    ]


def _fitted_rates(advice: Advice, smallest: int, largest: int) -> list[tuple[float, Claim]]:
    alpha, beta, gamma = advice.speed.alpha_s, advice.speed.beta_s, advice.speed.gamma_s
    if alpha is None or beta is None or gamma is None or largest <= smallest:
        return []
    batches = [smallest * (largest / smallest) ** (k / _CURVE_POINTS) for k in range(_CURVE_POINTS + 1)]
    times = [(batch, alpha + beta * batch + gamma) for batch in batches]
    return [(b, Claim(value=b / t, basis="predicted", source="speed: alpha, beta, gamma")) for b, t in times if t > 0]


def learning_rate(advice: Advice, w: Wording) -> list[Block]:
    """The rule's line through the present setting, its interval, and the options."""
    m, present = w.messages, advice.present
    options = {one.effective_batch: one for one in reversed(advice.options) if _is_ruled(one, present)}
    if present.lr.value is None or len(options) < 2:
        return []
    batches, base = sorted(options), present.lr.value
    span = [batches[0] * (batches[-1] / batches[0]) ** (k / _CURVE_POINTS) for k in range(_CURVE_POINTS + 1)]
    source = "lr x kappa^0.5, kappa^0.25 to kappa^0.75"
    rule = []
    for batch in span:
        kappa = batch / present.effective_batch
        low, high = sorted((base * kappa**0.25, base * kappa**0.75))
        rule.append((batch, Claim(value=base * kappa**0.5, low=low, high=high, basis="rule", source=source)))
    points = [(batch, options[batch].lr) for batch in batches]
    return [
        Chart(
            id="learning_rate",
            title=m.chart_lr,
            alt=_alt(m.chart_lr, points, lambda claim: w.lr(claim).text),
            x_title=m.chart_effective,
            y_title=m.name_lr,
            series=(
                _series(m.column_interval, "band", "other", rule),
                _series(m.chart_rule, "curve", "other", rule),
                _series(m.chart_options, "points", "main", points),
            ),
            x_scale="log2",
            y_scale="log",
        )
    ]


def _is_ruled(option: Option, present: Option) -> bool:
    """Whether the learning rate is the rule's, and not one of the ladder for the same batch."""
    if option.lr.value is None or present.lr.value is None:
        return False
    return option.effective_batch != present.effective_batch or option.lr.value == present.lr.value


# ---- a run --------------------------------------------------------------------------------------


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
        _series(m.chart_train, "curve", "rest", train),
        _series(m.chart_validation, "line", "main", validation),
    ]
    grids = [(one.samples, _logged(float(one.samples), "sample")) for one in run.grids if one.samples]
    series.append(_series(m.chart_grids, "upright", "other", grids))
    return [
        Chart(
            id="loss",
            title=m.chart_loss,
            alt=_alt(m.chart_loss, [*validation[:1], *validation[-1:]] or train[-1:], lambda claim: w.loss(claim).text),
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
            alt=_alt(m.column_validation_loss, [a[-1], b[-1]], lambda claim: w.loss(claim).text),
            x_title=m.column_samples,
            y_title=m.live_loss,
            series=(_series("A", "line", "main", a), _series("B", "line", "other", b)),
            y_scale="log" if _is_wide([*a, *b]) else "linear",
        )
    ]


def _validations(run: RunView) -> list[tuple[float, Claim]]:
    held_out = {one.samples: validation_loss(one.loss, one.ema_loss) for one in run.validation}
    return [(samples, _logged(loss, "validation")) for samples, loss in sorted(held_out.items()) if loss is not None]


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


def _predictions(advice: Advice) -> dict[int, Claim]:
    """The predicted peak of each micro-batch, in order."""
    ordered = sorted(advice.memory.predicted, key=lambda one: one.micro_batch)
    return {
        one.micro_batch: Claim(
            value=one.reserved_bytes, low=one.low, high=one.high, basis="predicted", source="memory.predicted"
        )
        for one in ordered
    }


def _series(name: str, form: Form, role: Role, points: Iterable[tuple[float, Claim]]) -> Series:
    return Series(name=name, form=form, role=role, points=tuple(Point(x=x, claim=claim) for x, claim in points))


def _alt(title: str, points: Iterable[tuple[float, Claim]], spell: Callable[[Claim], str]) -> str:
    """What the chart says, for those who cannot see it."""
    return f"{title}: " + "; ".join(f"{x:g}: {spell(claim)}" for x, claim in points)
