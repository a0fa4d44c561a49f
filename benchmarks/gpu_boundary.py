"""The largest micro-batch within a cap: what the search says, what the simulation says, and what is true."""

import concurrent.futures
import dataclasses
from collections.abc import Callable
from typing import Any

from advisor.errors import CfgadviseError
from advisor.measure.attempts import Attempts, Plan
from advisor.measure.campaign import Place, Subject
from advisor.measure.curve import Law
from advisor.measure.found import Found
from advisor.measure.search import search
from advisor.predict.memory import MemoryModel
from advisor.recommend.largest import Bounds
from advisor.recommend.largest import ground_of as search_ground
from benchmarks.gpu_frame import Box, error_frac
from benchmarks.gpu_ground import EXPANDABLE, Forecasts, Ground, attempt_all, side_by_side, subject

NUM_STEPS = 2
FIRST_STRIDE_FRAC = 0.03  # from the search's answer upwards, where the truth should lie
RESOLUTION_FRAC = 0.01
START = 16
MOST_SAMPLES = 1_000_000


def boundary(
    ground: Ground, forecasts: Forecasts, box: Box, nets: tuple[tuple[str, str], ...], cap_bytes: int, with_pages: int
) -> None:
    """A row for each net; the first ``with_pages`` of them with expandable segments, too.

    Nets are searched side by side, each under its own cap, so their times say nothing and are not looked at.
    """
    box.note("cap_bytes", cap_bytes)
    workers = (ground.num_workers + 1) // 2  # each has two children at a time

    def work(k: int, net: str, precision: str) -> None:
        if not box.is_over():
            box.add("nets", _row(ground, forecasts, box, net, precision, cap_bytes, k < with_pages and ground.on_card))

    side_by_side(workers, [lambda k=k, one=one: work(k, *one) for k, one in enumerate(nets)])  # type: ignore[misc]


def _row(
    ground: Ground, forecasts: Forecasts, box: Box, net: str, precision: str, cap_bytes: int, expandable: bool
) -> dict[str, Any]:
    chosen = subject(net, precision, limit_bytes=0 if ground.on_card else cap_bytes)
    model, problem = _forecast(forecasts, chosen, box)
    found = _search(ground, chosen, model, cap_bytes, box)
    row: dict[str, Any] = {
        "net": net,
        "precision": precision,
        "forecast_problem": problem,
        "search": _told(found),
        "predicted": _predicted(model, cap_bytes),
    }
    if found.micro_batch is None:
        return row
    row["true"] = _true(ground, chosen, found.micro_batch, box, ground.place(cap_bytes))
    row["search"]["of_true"] = round(found.micro_batch / row["true"]["largest"], 4)
    row["predicted_error_frac"] = error_frac(row["predicted"].get("safe"), row["true"]["largest"])
    if expandable:
        row["true_expandable"] = _true(ground, chosen, found.micro_batch, box, ground.place(cap_bytes, EXPANDABLE))
        gain = row["true_expandable"]["largest"] / row["true"]["largest"] - 1
        row["expandable_gain_frac"] = round(gain, 4)
        predicted = row["predicted"]
        if predicted.get("safe"):
            row["predicted_expandable_gain_frac"] = round(predicted["safe_expandable"] / predicted["safe"] - 1, 4)
    return row


def _forecast(forecasts: Forecasts, chosen: Subject, box: Box) -> tuple[MemoryModel | None, str | None]:
    try:
        return forecasts.of(chosen, box), None
    except (CfgadviseError, TimeoutError) as error:
        return None, str(error)


def _search(ground: Ground, chosen: Subject, model: MemoryModel | None, cap_bytes: int, box: Box) -> Found:
    bounds = Bounds(
        budget_bytes=cap_bytes,
        num_items=MOST_SAMPLES,
        max_batch=None,
        start=START,
        accumulation=1,
        time_limit_s=box.left_s,
        timeout_s=box.left_s,
        decider="reserved" if ground.on_card else "allocated",
    )
    capability = ground.card.compute_capability if ground.on_card else None
    where = search_ground(bounds, _law(model, ground), capability)
    with Attempts(chosen, ground.place(cap_bytes), decider=bounds.decider, timeout_s=box.left_s) as attempts:
        return search(dataclasses.replace(where, notices_spills=False), attempts.run)


def _law(model: MemoryModel | None, ground: Ground) -> Law | None:
    if model is None:
        return None
    if ground.on_card:
        return lambda micro_batch: model.at(micro_batch).reserved_bytes
    return lambda micro_batch: max(model.phase_bytes(micro_batch).values())


def _told(found: Found) -> dict[str, Any]:
    return {
        "micro_batch": found.micro_batch,
        "stop": found.stop,
        "steps": found.steps_run,
        "oom_errors": found.oom_count,
        "retrying": found.retrying,
        "law_error_frac": found.error_frac,
        "message": found.message,
        "tried": [
            {
                "micro_batch": one.micro_batch,
                "outcome": one.outcome,
                "retries": one.num_retries,
                "bytes": one.peak_bytes,
            }
            for one in found.attempts
        ],
    }


def _predicted(model: MemoryModel | None, cap_bytes: int) -> dict[str, Any]:
    """``safe``: without a retry; ``retrying``: at all; ``recommended``: what would surely fit."""
    if model is None:
        return {}
    limits, pages = model.limits(cap_bytes), model.limits(cap_bytes, expandable=True)
    return {
        "safe": limits.safe,
        "retrying": limits.retrying,
        "recommended": model.largest_safe(cap_bytes),
        "safe_expandable": pages.safe,
    }


# ---- the truth ----------------------------------------------------------------------------------


def _true(ground: Ground, chosen: Subject, start: int, box: Box, place: Place) -> dict[str, Any]:
    """The largest that runs with an evaluation and without a retry, each tried in a child of its own."""
    tried: dict[int, str] = {}

    def runs(micro_batch: int) -> bool | None:
        plan = Plan(micro_batch=micro_batch, num_steps=NUM_STEPS, checks=True)
        attempts = attempt_all(ground, chosen, [plan], box, place)
        if not attempts or attempts[0].outcome not in ("ok", "oom"):
            tried[micro_batch] = attempts[0].outcome if attempts else "no time"
            return None
        retries = attempts[0].num_retries
        tried[micro_batch] = f"{retries} retries" if retries else attempts[0].outcome
        return tried[micro_batch] == "ok"

    workers = 2 if ground.num_workers > 1 else 1
    low, high = largest_that_runs(runs, start, num_workers=workers, is_over=box.is_over)
    return {"largest": low, "smallest_that_does_not": high, "tried": dict(sorted(tried.items()))}


def largest_that_runs(
    runs: Callable[[int], bool | None], known: int, *, num_workers: int, is_over: Callable[[], bool]
) -> tuple[int, int | None]:
    """The largest that was seen to run and the smallest above it that was seen not to, at most a hundredth apart.

    ``known`` runs; ``runs`` says ``None`` where it could not be tried, which ends it. As many as there are workers are
    tried at once. The second is ``None`` where none was seen.
    """
    low, high, stride = known, None, FIRST_STRIDE_FRAC
    with concurrent.futures.ThreadPoolExecutor(num_workers) as pool:
        while not is_over() and (high is None or high - low > max(1, RESOLUTION_FRAC * low)):
            if high is None:
                batches = [low + max(k + 1, round((k + 1) * stride * low)) for k in range(num_workers)]
                stride *= 2
            else:
                steps = range(1, num_workers + 1)
                batches = sorted({low + (high - low) * k // (num_workers + 1) for k in steps} - {low})
            for batch, ran in zip(batches, pool.map(runs, batches)):
                if ran is None:
                    return low, high
                if not ran:
                    high = batch
                    break
                low = batch
    return low, high
