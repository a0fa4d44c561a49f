"""The chart of peak memory against the micro-batch, drawn from the same records as its tables."""

from collections.abc import Iterable

from advisor import units
from advisor.records import Advice, Basis, Claim, Measurement
from reports.blocks import Block, Chart, Role, Series
from reports.points import memory_claim
from reports.series import alt_text, series_of
from reports.wording import Wording

FAR_ABOVE = 3.0


def memory(advice: Advice, w: Wording) -> list[Block]:
    """Peak memory against the micro-batch: stacked by cause, with what was measured, predicted and allowed."""
    peaks, predicted = _peaks(advice.measurements), _predictions(advice)
    if not (peaks or predicted):
        return []
    beyond = _far_largest({**predicted, **peaks})
    peaks.pop(beyond, None)
    predicted.pop(beyond, None)
    shown = peaks or predicted
    largest = max(claim.high or claim.value or 0 for claim in (*peaks.values(), *predicted.values()))
    unit, per_unit = ("GiB", units.GIB) if largest >= units.GIB else ("MiB", units.MIB)
    title = w.messages.chart_memory.format(memory=w.memory)
    return [
        Chart(
            id="memory",
            title=title,
            alt=alt_text(title, shown.items(), lambda claim: w.bytes(claim).text),
            x_title=w.messages.column_micro_batch,
            y_title=unit,
            series=(*_causes(advice, shown, w), *_totals(peaks, predicted, w), *_budget(advice, largest, w)),
            x_scale="category",
            per_unit=per_unit,
            remark=_beside(advice, beyond, largest, w),
        )
    ]


def _far_largest(claims: dict[int, Claim]) -> int:
    """The largest micro-batch, if beside it all others would be flat; 0, which none is, if there is no such."""
    *others, last = sorted(claims)
    highest = max((claims[batch].value or 0 for batch in others), default=0)
    return last if len(others) > 1 and (claims[last].value or 0) > FAR_ABOVE * highest else 0


def _totals(peaks: dict[int, Claim], predicted: dict[int, Claim], w: Wording) -> list[Series]:
    m = w.messages
    found = [series_of(m.basis_measured, "points", "main", peaks.items())] if peaks else []
    return found + ([series_of(m.basis_predicted, "line", "other", predicted.items())] if predicted else [])


def _is_above(budget: int, largest: float) -> bool:
    """Whether a line at the budget would leave the rest of the chart flat."""
    return budget > FAR_ABOVE * largest


def _budget(advice: Advice, largest: float, w: Wording) -> list[Series]:
    budget = advice.memory.budget_bytes
    if not budget or _is_above(budget, largest):
        return []
    claim = Claim(value=budget, basis="rule", source="memory.budget_bytes")
    return [series_of(w.messages.chart_budget, "level", "limit", [(0, claim)])]


def _beside(advice: Advice, beyond: int, largest: float, w: Wording) -> str:
    """What is too far above the chart to be drawn in it."""
    m, budget, said = w.messages, advice.memory.budget_bytes, []
    if beyond:
        said.append(m.chart_beyond.format(micro_batch=beyond))
    if budget and _is_above(budget, largest):
        times = f"{budget / largest:.3g}"
        said.append(m.chart_budget_above.format(budget=units.format_bytes(budget), times=times))
    return m.sentence_gap.join(said)


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
    return [series_of(name, "bars", role, _sizes(one, basis)) for name, role, one in stacked]


def _left_over(stacked: list[tuple[str, Role, dict[int, int]]], peaks: dict[int, Claim]) -> dict[int, int]:
    """What of each peak no cause explains; below zero where the causes do not stand side by side."""
    return {batch: round(peak.value or 0) - sum(one[batch] for _, _, one in stacked) for batch, peak in peaks.items()}


def _sizes(size_bytes: dict[int, int], basis: Basis) -> list[tuple[float, Claim]]:
    source = "memory.breakdown"
    return [(batch, Claim(value=size, basis=basis, source=source)) for batch, size in size_bytes.items()]


def _predictions(advice: Advice) -> dict[int, Claim]:
    """The predicted peak of each micro-batch, in order."""
    ordered = sorted(advice.memory.predicted, key=lambda one: one.micro_batch)
    return {
        one.micro_batch: Claim(
            value=one.reserved_bytes, low=one.low, high=one.high, basis="predicted", source="memory.predicted"
        )
        for one in ordered
    }
