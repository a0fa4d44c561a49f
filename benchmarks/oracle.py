"""The recommended setting against an oracle: every feasible (micro-batch, accumulation), timed exhaustively.

    python -m benchmarks.oracle [--workload NAME ...] [--max-batch N] [--json]

For each workload: the advice for 8 x 2 with goal `time` at equal effective batch and larger ones; the throughput of
what it recommends, as the exhaustive timing has it, as a share of the best there; the step time that the model
t(b, a) predicts for each setting from all the others, against the measured one; and the gain of 16 x 1 over 8 x 2, as
the advice states it (from rounds in turns, with its interval) and as a model without these two predicts it. All
settings of a workload are timed in interleaved rounds, in children of their own, --repeats times over; `gains` are
those of each repeat, which no advice can come closer to than they are to each other. Figures are only worth something
on a machine that does nothing else.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from advisor.measure.campaign import Campaign, Place, Subject, measure_settings
from advisor.predict.speed import NoSpeedFitError, fit_measurements
from advisor.recommend.planner import advise
from advisor.records import Advice, Measurement, StepTime
from benchmarks import digits

HERE = Path(__file__).resolve()
WORKLOADS: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": (f"{HERE.parent / 'oracle_steps.py'}:mlp", {}),
    "convolutions": (f"{HERE.parent / 'oracle_steps.py'}:convolutions", {}),
    "attention": (f"{HERE.parent / 'oracle_steps.py'}:attention", {}),
    "tiny": ("trainer.workload:make", {"preset": "tiny"}),
    "gait48": ("trainer.workload:make", {"preset": "gait48"}),
}
PRESENT = (8, 2)
WHOLE = (16, 1)
TIMEOUT_S = 300.0
ERRORS = ("recommended_error_frac", "error_frac", "advised_gain_error", "modelled_gain_error")
Timed = dict[tuple[int, int], Measurement]


def main() -> None:
    """Time everything, print a line a workload on stderr and one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=list(WORKLOADS), action="append")
    parser.add_argument("--max-batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="the object only")
    options = parser.parse_args()
    rows = []
    for name in options.workload or list(WORKLOADS):
        rows.append(compare(name, options.max_batch, options.repeats))
        if not options.json:
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    result = {
        "benchmark": "oracle",
        "machine": digits.machine(),
        "repeats": options.repeats,
        "workloads": rows,
        "least_throughput_share": min(row["throughput_share"] for row in rows),
        **{f"largest_{name}": _largest(rows, name) for name in ERRORS},
    }
    print(json.dumps(result))


def _largest(rows: list[dict[str, Any]], name: str) -> float | None:
    return max((abs(row[name]) for row in rows if row[name] is not None), default=None)


def compare(name: str, max_batch: int, repeats: int) -> dict[str, Any]:
    started_s = time.perf_counter()
    spec, parameters = WORKLOADS[name]
    subject = Subject(spec=spec, parameters=parameters)
    place = Place(torch_device="cpu", environment={}, budget_bytes=None)
    advice = advise(
        workload=spec, parameters=parameters, dataset_size=1550, device="cpu", batch_size=PRESENT[0],
        accumulation=PRESENT[1], lr=1e-4, max_batch=max_batch, goal="time", noise_scale=False, use_cache=False,
    )  # fmt: skip
    campaigns = [measure_settings(grid(max_batch), subject, place, timeout_s=TIMEOUT_S) for _ in range(repeats)]
    timed = _together(campaigns)
    best = advice.recommended
    return {
        "workload": name,
        "settings": {f"{b} x {a}": one.step_s.median for (b, a), one in timed.items() if one.step_s},
        **_choice(advice, timed),
        **_model(timed, (best.micro_batch, best.accumulation)),
        **_gain(advice, timed),
        "gains": [_gain_in(_together([campaign])) for campaign in campaigns],
        "elapsed_s": time.perf_counter() - started_s,
    }


def _together(campaigns: list[Campaign]) -> Timed:
    """Each setting's median of the campaigns' medians, with the whole range of them."""
    found: Timed = {}
    for points in zip(*(campaign.points for campaign in campaigns)):
        times = [point.measurement.step_s for point in points if point.measurement.step_s is not None]
        one = points[0].measurement
        if len(times) == len(campaigns):
            median = statistics.median(time.median for time in times)
            low, high = min(time.low for time in times), max(time.high for time in times)
            together = StepTime(median=median, low=low, high=high, n=sum(time.n for time in times))
            found[one.micro_batch, one.accumulation] = dataclasses.replace(one, step_s=together)
    return found


def grid(max_batch: int) -> list[tuple[int, int]]:
    """The present setting first, then every way to the effective batches 8, 16 and 32 by powers of two."""
    found = [PRESENT]
    for batch in (8, 16, 32):
        found += [(batch // a, a) for a in (1, 2, 4, 8) if batch // a in (4, 8, 16, 32) and batch // a <= max_batch]
    return list(dict.fromkeys(found))


def _choice(advice: Advice, timed: Timed) -> dict[str, Any]:
    """The recommended setting's throughput beside the best at its effective batch, by the same exhaustive timing."""
    best = advice.recommended
    layout = (best.micro_batch, best.accumulation)
    same = [one for one in timed if one[0] * one[1] == best.effective_batch]
    fastest = min(same, key=lambda one: _seconds(timed, one))
    return {
        "recommended": f"{layout[0]} x {layout[1]}",
        "best_at_this_batch": f"{fastest[0]} x {fastest[1]}",
        "throughput_share": _seconds(timed, fastest) / _seconds(timed, layout),
        "advised_step_s": best.step_s.value,
        "advised_error_frac": (best.step_s.value or 0) / _seconds(timed, layout) - 1,
    }


def _model(timed: Timed, recommended: tuple[int, int]) -> dict[str, Any]:
    """Each setting predicted from all the others."""
    errors = {}
    for layout in timed:
        predicted = _predicted([one for other, one in timed.items() if other != layout], layout)
        if predicted is not None:
            errors[layout] = predicted / _seconds(timed, layout) - 1
    return {
        "errors_frac": {f"{b} x {a}": error for (b, a), error in errors.items()},
        "recommended_error_frac": errors.get(recommended),
        "error_frac": max((abs(x) for x in errors.values()), default=None),
    }


def _gain(advice: Advice, timed: Timed) -> dict[str, Any]:
    """Of 16 x 1 over 8 x 2: measured, as the advice states it, and by a model that has seen neither."""
    gain = _gain_in(timed)
    option = next((one for one in advice.options if (one.micro_batch, one.accumulation) == WHOLE), None)
    ratio = option.time_to_same_progress if option is not None else None
    advised = 1 / ratio.value if ratio and ratio.value else None
    others = [one for layout, one in timed.items() if layout not in (PRESENT, WHOLE)]
    before_s, after_s = _predicted(others, PRESENT), _predicted(others, WHOLE)
    modelled = before_s / after_s if before_s and after_s else None
    return {
        "gain": gain,
        "advised_gain": advised,
        "advised_gain_low": 1 / ratio.high if ratio and ratio.high else None,
        "advised_gain_high": 1 / ratio.low if ratio and ratio.low else None,
        "advised_gain_error": None if advised is None else advised - gain,
        "modelled_gain": modelled,
        "modelled_gain_error": None if modelled is None else modelled - gain,
    }


def _gain_in(timed: Timed) -> float:
    return _seconds(timed, PRESENT) / _seconds(timed, WHOLE)


def _seconds(timed: Timed, layout: tuple[int, int]) -> float:
    step_s = timed[layout].step_s
    assert step_s is not None
    return step_s.median


def _predicted(measurements: list[Measurement], layout: tuple[int, int]) -> float | None:
    try:
        return fit_measurements(measurements).step_time(*layout).value
    except NoSpeedFitError:
        return None


if __name__ == "__main__":
    main()
