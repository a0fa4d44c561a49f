"""The recommended setting against an oracle: every feasible (micro-batch, accumulation), timed exhaustively.

    python -m benchmarks.oracle [--workload NAME ...] [--max-batch N] [--json]

For each workload: the advice for 8 x 2 with goal `time` at equal effective batch and larger ones; the throughput of
what it recommends, as the exhaustive timing has it, as a share of the best there; the step time that the model
t(b, a) predicts for each setting from all the others, against the measured one; and the gain of 16 x 1 over 8 x 2 as
a model without these two predicts it. All settings of a workload are timed in interleaved rounds, in children of
their own. Figures are only worth something on a machine that does nothing else.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from advisor.measure.campaign import Campaign, Place, Subject, measure_settings
from advisor.predict.speed import NoSpeedFitError, fit_measurements
from advisor.recommend.planner import advise
from advisor.records import Advice, Measurement
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
TIMEOUT_S = 300.0


def main() -> None:
    """Time everything, print a line a workload on stderr and one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=list(WORKLOADS), action="append")
    parser.add_argument("--max-batch", type=int, default=32)
    parser.add_argument("--json", action="store_true", help="the object only")
    options = parser.parse_args()
    rows = []
    for name in options.workload or list(WORKLOADS):
        rows.append(compare(name, options.max_batch))
        if not options.json:
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    shares = [row["throughput_share"] for row in rows]
    errors = [row["largest_error_frac"] for row in rows if row["largest_error_frac"] is not None]
    gains = [row["gain_error"] for row in rows if row["gain_error"] is not None]
    result = {
        "benchmark": "oracle",
        "machine": digits.machine(),
        "workloads": rows,
        "least_throughput_share": min(shares),
        "largest_error_frac": max(errors, default=None),
        "largest_gain_error": max(gains, default=None),
    }
    print(json.dumps(result))


def compare(name: str, max_batch: int) -> dict[str, Any]:
    started_s = time.perf_counter()
    spec, parameters = WORKLOADS[name]
    subject = Subject(spec=spec, parameters=parameters)
    place = Place(torch_device="cpu", environment={}, budget_bytes=None)
    advice = advise(
        workload=spec, parameters=parameters, dataset_size=1550, device="cpu", batch_size=PRESENT[0],
        accumulation=PRESENT[1], lr=1e-4, max_batch=max_batch, goal="time", noise_scale=False, use_cache=False,
    )  # fmt: skip
    campaign = measure_settings(grid(max_batch), subject, place, timeout_s=TIMEOUT_S)
    timed = {(p.measurement.micro_batch, p.measurement.accumulation): p.measurement for p in campaign.points}
    timed = {layout: one for layout, one in timed.items() if one.step_s is not None}
    return {
        "workload": name,
        "settings": {f"{b} x {a}": one.step_s.median for (b, a), one in timed.items() if one.step_s},
        **_choice(advice, timed),
        **_model(campaign, timed),
        "elapsed_s": time.perf_counter() - started_s,
    }


def grid(max_batch: int) -> list[tuple[int, int]]:
    """The present setting first, then every way to the effective batches 8, 16 and 32 by powers of two."""
    found = [PRESENT]
    for batch in (8, 16, 32):
        found += [(batch // a, a) for a in (1, 2, 4, 8) if batch // a in (4, 8, 16, 32) and batch // a <= max_batch]
    return list(dict.fromkeys(found))


def _choice(advice: Advice, timed: dict[tuple[int, int], Measurement]) -> dict[str, Any]:
    """The recommended setting's throughput beside the best at its effective batch, by the same exhaustive timing."""
    best = advice.recommended
    layout = (best.micro_batch, best.accumulation)

    def samples_per_s(one: tuple[int, int]) -> float:
        step_s = timed[one].step_s
        return one[0] * one[1] / step_s.median if step_s else 0.0

    same = [one for one in timed if one[0] * one[1] == best.effective_batch]
    fastest = max(same, key=samples_per_s)
    return {
        "recommended": f"{layout[0]} x {layout[1]}",
        "best_at_this_batch": f"{fastest[0]} x {fastest[1]}",
        "throughput_share": samples_per_s(layout) / samples_per_s(fastest),
        "advised_step_s": best.step_s.value,
        "advised_error_frac": (best.step_s.value or 0) / timed[layout].step_s.median - 1,  # type: ignore[union-attr]
    }


def _model(campaign: Campaign, timed: dict[tuple[int, int], Measurement]) -> dict[str, Any]:
    """Each setting predicted from all the others; and the gain of 16 x 1 over 8 x 2 from all but these two."""
    measurements = [point.measurement for point in campaign.points]
    errors = {}
    for layout, one in timed.items():
        predicted = _predicted([x for x in measurements if x is not one], layout)
        if predicted is not None and one.step_s is not None:
            errors[f"{layout[0]} x {layout[1]}"] = predicted / one.step_s.median - 1
    pair = [PRESENT, (16, 1)]
    others = [x for x in measurements if (x.micro_batch, x.accumulation) not in pair]
    before_s, after_s = (_predicted(others, layout) for layout in pair)
    gain = timed[pair[0]].step_s.median / timed[pair[1]].step_s.median  # type: ignore[union-attr]
    foreseen = before_s / after_s if before_s and after_s else None
    return {
        "errors_frac": errors,
        "largest_error_frac": max((abs(x) for x in errors.values()), default=None),
        "gain": gain,
        "predicted_gain": foreseen,
        "gain_error": None if foreseen is None else abs(foreseen - gain),
    }


def _predicted(measurements: list[Measurement], layout: tuple[int, int]) -> float | None:
    try:
        return fit_measurements(measurements).step_time(*layout).value
    except NoSpeedFitError:
        return None


if __name__ == "__main__":
    main()
