"""The charts of an advice: speed against the micro-batch, learning rate against the effective batch."""

from advisor.records import Advice, Claim, Option
from reports.blocks import Block, Chart
from reports.points import rate_claim
from reports.series import alt_text, series_of
from reports.wording import Wording

_CURVE_POINTS = 40


def speed(advice: Advice, w: Wording) -> list[Block]:
    """Samples a second against the micro-batch, without accumulation and with it, and the fit through them."""
    m, rates = w.messages, _rates(advice)
    alone = [(batch, claim) for (batch, accumulation), claim in sorted(rates.items()) if accumulation == 1]
    accumulated = [(batch, claim) for (batch, accumulation), claim in sorted(rates.items()) if accumulation > 1]
    if len(alone) < 2:
        return []
    is_measured = bool(advice.measurements)
    title = m.chart_speed if is_measured else m.chart_speed_predicted
    series = [
        series_of(m.chart_fit, "curve", "other", _fitted_rates(advice, alone[0][0], alone[-1][0])),
        series_of(m.basis_measured if is_measured else m.basis_predicted, "points", "main", alone),
        series_of(m.chart_accumulated, "rings", "limit", accumulated),
        series_of(m.chart_knee, "upright", "rest", _knee(advice, alone[0][0], alone[-1][0])),
    ]
    return [
        Chart(
            id="speed",
            title=title,
            alt=alt_text(title, alone, lambda claim: w.rate(claim).text),
            x_title=m.column_micro_batch,
            y_title=m.column_samples_per_s,
            series=tuple(one for one in series if one.points),
            x_scale="log2",
        )
    ]


def _rates(advice: Advice) -> dict[tuple[int, int], Claim]:
    """Samples a second by micro-batch and accumulation: as measured, or as predicted for a card that is not here."""
    if advice.measurements:
        timed = (one for one in advice.measurements if one.step_s is not None)
        return {(one.micro_batch, one.accumulation): rate_claim(one) for one in timed}
    known = (one for one in advice.options if one.samples_per_s.value is not None)
    return {(one.micro_batch, one.accumulation): one.samples_per_s for one in known}


def _knee(advice: Advice, smallest: int, largest: int) -> list[tuple[float, Claim]]:
    knee = advice.speed.knee_micro_batch
    if knee is None or not smallest <= knee <= largest:
        return []
    return [(knee, Claim(value=knee, basis="predicted", source="speed.knee_micro_batch"))]


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
            alt=alt_text(m.chart_lr, points, lambda claim: w.lr(claim).text),
            x_title=m.chart_effective,
            y_title=m.name_lr,
            series=(
                series_of(m.column_interval, "band", "other", rule),
                series_of(m.chart_rule, "curve", "other", rule),
                series_of(m.chart_options, "points", "main", points),
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
