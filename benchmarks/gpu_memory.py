"""Memory of whole steps on the card against the simulated card, and whether real allocation histories are affine."""

from typing import Any

from advisor.errors import CfgadviseError
from advisor.measure.attempts import Attempt, Plan
from advisor.predict.affine import Fit, NotAffineError, fit_two
from advisor.predict.allocator import replay
from advisor.predict.memory import MemoryModel
from advisor.predict.trace import phase_peaks
from benchmarks.gpu_frame import Box, error_frac
from benchmarks.gpu_ground import Forecasts, Ground, attempt_all, side_by_side, subject

NUM_STEPS = 2  # the first makes the optimizer's state, the second is like all others
MULTIPLES = (1, 2, 4, 8)  # of the smallest micro-batch: two to fit, two to judge


def memory(
    ground: Ground,
    forecasts: Forecasts,
    box: Box,
    nets: tuple[tuple[str, str], ...],
    micro_batches: tuple[int, ...],
) -> None:
    """Peak bytes of two steps and an evaluation, measured and predicted: a row for each net and micro-batch."""
    plans = [Plan(micro_batch=one, num_steps=NUM_STEPS, checks=True) for one in micro_batches]

    def work(net: str, precision: str) -> None:
        attempts = attempt_all(ground, subject(net, precision), plans, box)
        for one in attempts:  # before the forecast is waited for: what was measured is not to be lost
            box.add("measured", {"net": net, "precision": precision, **_measured(one)})
        model, problem = None, None
        try:
            model = forecasts.of(subject(net, precision), box)
        except (CfgadviseError, TimeoutError) as error:
            problem = str(error)
        for one in attempts:
            box.add("rows", {"net": net, "precision": precision, **_row(one, model, problem)})

    side_by_side(ground.num_workers, [lambda one=one: work(*one) for one in nets])  # type: ignore[misc]
    box.note("summary", _summary(box.found.get("rows", [])))


def _measured(one: Attempt) -> dict[str, Any]:
    return {
        "micro_batch": one.micro_batch,
        "outcome": one.outcome,
        "message": one.failure.message if one.failure else None,
        "allocated_bytes": one.peak_allocated_bytes,
        "reserved_bytes": one.peak_reserved_bytes,
        "retries": one.num_retries,
        "num_events": len(one.trace.events) if one.trace else None,
    }


def _row(one: Attempt, model: MemoryModel | None, problem: str | None) -> dict[str, Any]:
    """Errors where bytes were taken from a card: a CPU lacks the workspaces that a card has."""
    row: dict[str, Any] = {"micro_batch": one.micro_batch, "outcome": one.outcome, "forecast_problem": problem}
    if model is None:
        return row
    predicted = model.at(one.micro_batch)
    allocated_bytes = max(model.phase_bytes(one.micro_batch).values())
    row |= {
        "predicted_allocated_bytes": allocated_bytes,
        "predicted_reserved_bytes": predicted.reserved_bytes,
        "predicted_workspaces_bytes": model.workspaces_bytes(one.micro_batch),
        "is_simulated": model.is_simulated,
        "evaluation_problem": model.evaluation_problem,
    }
    if one.outcome == "ok" and one.peak_reserved_bytes is not None:
        row |= {
            "allocated_error_frac": error_frac(allocated_bytes, one.peak_allocated_bytes),
            "reserved_error_frac": error_frac(predicted.reserved_bytes, one.peak_reserved_bytes),
            "in_interval": predicted.low <= one.peak_reserved_bytes <= predicted.high,
        }
    return row


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    errors = sorted(abs(one["reserved_error_frac"]) for one in rows if one.get("reserved_error_frac") is not None)
    if not errors:
        return {"num_compared": 0}
    return {
        "num_compared": len(errors),
        "mean_abs_error_frac": round(sum(errors) / len(errors), 5),
        "median_abs_error_frac": errors[len(errors) // 2],
        "max_abs_error_frac": errors[-1],
        "num_in_interval": sum(bool(one.get("in_interval")) for one in rows),
    }


# ---- real histories -----------------------------------------------------------------------------


def alignment(ground: Ground, box: Box, nets: tuple[tuple[str, str], ...], smallest: int) -> None:
    """Histories at B and 2B laid side by side, and what they say of 4B and 8B; cuDNN's trials off and on."""
    plans = [Plan(micro_batch=smallest * one, num_steps=NUM_STEPS) for one in MULTIPLES]

    def work(net: str, precision: str, benchmark: bool) -> None:
        attempts = attempt_all(ground, subject(net, precision, cudnn_benchmark=benchmark), plans, box)
        row = {"net": net, "precision": precision, "cudnn_benchmark": benchmark, **_aligned(attempts)}
        box.add("rows", row)

    choices = (False, True) if ground.on_card else (False,)
    works = [lambda one=one, on=on: work(*one, on) for one in nets for on in choices]  # type: ignore[misc]
    side_by_side(ground.num_workers, works)
    rows = [one for one in box.found.get("rows", []) if one["aligned"] is not None]
    box.note("num_aligned", sum(one["aligned"] for one in rows))
    box.note("num_compared", len(rows))


def _aligned(attempts: list[Attempt]) -> dict[str, Any]:
    """``aligned`` is ``None`` where there are no two histories."""
    told = [(one.micro_batch, one.trace) for one in attempts if one.trace is not None]
    row: dict[str, Any] = {
        "outcomes": {one.micro_batch: one.failure.message if one.failure else one.outcome for one in attempts},
        "num_events": {batch: len(trace.events) for batch, trace in told},
        "replayed": {one.micro_batch: _replayed(one) for one in attempts},
        "aligned": None,
    }
    if len(told) < 2:
        return row
    try:
        fit = fit_two(told[0][1], told[1][1])
    except NotAffineError as error:
        return {**row, "aligned": False, "difference": str(error)}
    return {**row, "aligned": True, "extrapolated": [_extrapolated(one, fit) for one in attempts[2:]]}


def _extrapolated(one: Attempt, fit: Fit) -> dict[str, Any]:
    sizes_bytes = fit.at(one.micro_batch)
    live = max(peak.peak_allocated_bytes for peak in phase_peaks(fit.events, sizes_bytes, ()))
    expected = replay(fit.events, sizes_bytes, optional=fit.optional)
    return {
        "micro_batch": one.micro_batch,
        "expected_allocated_bytes": live,
        "expected_reserved_bytes": expected.peak_reserved_bytes,
        "allocated_error_frac": error_frac(live, one.peak_allocated_bytes),
        "reserved_error_frac": error_frac(expected.peak_reserved_bytes, one.peak_reserved_bytes),
    }


def _replayed(one: Attempt) -> dict[str, Any]:
    """The attempt's own history through our allocator: what it gets wrong even where nothing is extrapolated."""
    if one.trace is None:
        return {}
    replayed_bytes = replay(one.trace.events, one.trace.sizes_bytes).peak_reserved_bytes
    return {
        "reserved_bytes": one.peak_reserved_bytes,
        "replayed_bytes": replayed_bytes,
        "error_frac": error_frac(replayed_bytes, one.peak_reserved_bytes),
    }
