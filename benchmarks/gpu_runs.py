"""The programme's parts that run whole steps for their time, for an advice, and for long; and the tests."""

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from advisor.errors import CfgadviseError
from advisor.measure.campaign import Point, measure_settings
from advisor.measure.messages import BuildOrder, Failure, StepReport
from advisor.measure.sandbox import Sandbox
from advisor.measure.timing import summarize
from advisor.predict.efficiency import efficiency_of
from advisor.predict.speed import NoSpeedFitError, fit_measurements
from advisor.predict.step_time import StepTimeModel
from advisor.recommend.planner import advise
from advisor.units import GIB
from benchmarks.gpu_frame import Box, OverrunError, error_frac
from benchmarks.gpu_ground import NETS, SPEC, Forecasts, Ground, subject

ROOT = Path(__file__).resolve().parents[1]
EVALUATE_EVERY = 50
ADVICE_BUDGET_BYTES = 16 * GIB  # a larger one is searched with batches that nobody trains with
MOST_BATCH = 4096
# Where pytest-timeout is missing, the project's own options are refused; the part's box is the time limit then.
BARE_PYTEST = ["-c", os.devnull, f"--rootdir={ROOT}", "--import-mode=importlib", "-o", f"pythonpath={ROOT} {NETS}"]
NUM_ITEMS = 1500  # of the seed's data set


# ---- time ---------------------------------------------------------------------------------------


def step_time(
    ground: Ground,
    forecasts: Forecasts,
    box: Box,
    nets: tuple[tuple[str, str], ...],
    settings: tuple[tuple[int, int], ...],
) -> None:
    """Measured and predicted seconds of a step, net by net; the smallest settings show what a launch costs."""
    for net, precision in nets:
        if box.is_over():
            return
        chosen = subject(net, precision)
        campaign = measure_settings(settings, chosen, ground.place(), timeout_s=box.left_s)
        times, problem = _times(ground, forecasts, box, net, precision)
        for point in campaign.points:
            box.add("rows", {"net": net, "precision": precision, **_timed(point, times, ground)})
        box.add("fits", {"net": net, "precision": precision, "problem": problem, **_fit(campaign.points)})


def _times(
    ground: Ground, forecasts: Forecasts, box: Box, net: str, precision: str
) -> tuple[StepTimeModel | None, str | None]:
    try:
        model = forecasts.of(subject(net, precision), box)
        if ground.gpu is None or model.operators is None:
            return None, "the card's rates are not known" if ground.gpu is None else "no GPU could be simulated"
        weights_bytes = model.breakdown(ground.card).gradients_bytes or 0
        return StepTimeModel(model.operators, efficiency_of(ground.gpu), weights_bytes), None
    except (CfgadviseError, TimeoutError) as error:
        return None, str(error)


def _timed(point: Point, times: StepTimeModel | None, ground: Ground) -> dict[str, Any]:
    one = point.measurement
    predicted = times.step_time(one.micro_batch, one.accumulation) if times else None
    measured_s = one.step_s.median if one.step_s else None
    row: dict[str, Any] = {
        "micro_batch": one.micro_batch,
        "accumulation": one.accumulation,
        "outcome": one.outcome,
        "message": one.message,
        "measured_s": one.step_s,
        "predicted_s": predicted,
        "predicted_host_share": times.host_share(one.micro_batch, one.accumulation) if times else None,
    }
    if predicted is not None and ground.on_card and measured_s is not None:
        row["error_frac"] = error_frac(predicted.value, measured_s)
        row["in_interval"] = (predicted.low or 0) <= measured_s <= (predicted.high or 0)
    return row


def _fit(points: tuple[Point, ...]) -> dict[str, Any]:
    """Of ``t(b, a) = a (alpha + beta b) + gamma``."""
    try:
        return {"fit": fit_measurements([one.measurement for one in points]).summary()}
    except NoSpeedFitError as error:
        return {"fit": None, "fit_problem": str(error)}


# ---- advice, and a long run at what it says --------------------------------------------------------


def advice(ground: Ground, box: Box, net: str, precision: str, batch: int) -> None:
    """What is recommended for the net, within a budget that makes the search short."""
    name = ground.device.uuid or ground.torch_device if ground.on_card else "cpu"
    found = advise(
        workload=SPEC,
        parameters={"net": net, "precision": precision},
        dataset_size=NUM_ITEMS,
        device=name,
        batch_size=batch,
        memory_budget_bytes=ADVICE_BUDGET_BYTES if ground.on_card else None,
        max_batch=MOST_BATCH,
        noise_scale=False,
        use_cache=False,
        timeout_s=box.left_s,
    )
    box.note("recommended", found.recommended)
    box.note("measurements", found.measurements)
    box.note("spent", {"steps": found.optimizer_steps_run, "oom_errors": found.oom_count, "elapsed_s": found.elapsed_s})
    box.note("warnings", found.warnings)


def soak(
    ground: Ground,
    forecasts: Forecasts,
    box: Box,
    net: str,
    precision: str,
    recommended: dict[str, Any] | None,
    num_steps: int,
) -> None:
    """So many steps at the recommended setting, or the reference one, with evaluation and sampling between them."""
    batch = recommended["micro_batch"] if recommended else 16
    accumulation = recommended["accumulation"] if recommended else 1
    box.note("setting", {"micro_batch": batch, "accumulation": accumulation, "is_recommended": recommended is not None})
    order = BuildOrder(
        **dataclasses.asdict(subject(net, precision)), device=ground.torch_device, micro_batch=batch,
        accumulation=accumulation, cap_bytes=None,
    )  # fmt: skip
    with Sandbox(order.spec, ground.environment) as sandbox:
        built = sandbox.build(order, timeout_s=box.left_s)
        reports = [] if isinstance(built, Failure) else _steps(sandbox, box, num_steps)
        failure = built if isinstance(built, Failure) else next((x for x in reports if isinstance(x, Failure)), None)
    done = [one for one in reports if isinstance(one, StepReport)]
    box.note("steps_run", len(done))
    box.note("failure", failure)
    if done:
        box.note("step_s", summarize([one.step_s for one in done[1:]] or [done[0].step_s]))
        _peaks(ground, forecasts, box, done, subject(net, precision), recommended)


def _steps(sandbox: Sandbox, box: Box, num_steps: int) -> list[StepReport | Failure]:
    """Reports of the steps; what an evaluation took is in the step's after it, for the peak is never reset."""
    reports: list[StepReport | Failure] = []
    for k in range(num_steps):
        if box.is_over():
            break
        reports.append(sandbox.step(tracks_memory=False, timeout_s=box.left_s))
        if k % EVALUATE_EVERY == 0 and isinstance(reports[-1], StepReport):
            evaluated = sandbox.evaluate(timeout_s=box.left_s)
            box.note("num_evaluations", box.found.get("num_evaluations", 0) + 1)
            if isinstance(evaluated, Failure):
                reports.append(evaluated)
        if isinstance(reports[-1], Failure):
            break
    return reports


def _peaks(
    ground: Ground, forecasts: Forecasts, box: Box, done: list[StepReport], chosen: Any, recommended: Any
) -> None:
    peaks = [one.peak_reserved_bytes for one in done if one.peak_reserved_bytes is not None]
    box.note("retries", done[-1].num_retries)
    box.note(
        "peak_reserved_bytes", {"after_2_steps": peaks[min(1, len(peaks) - 1)], "at_end": peaks[-1]} if peaks else None
    )
    box.note("advised_peak_reserved_bytes", recommended["peak_reserved_bytes"] if recommended else None)
    setting = box.found["setting"]
    try:
        model = forecasts.of(chosen, box, accumulation=min(2, setting["accumulation"]))
    except (CfgadviseError, TimeoutError) as error:
        box.note("forecast_problem", str(error))
        return
    predicted = model.at(setting["micro_batch"])
    box.note("predicted", predicted)
    if ground.on_card and peaks:
        box.note("predicted_error_frac", error_frac(predicted.reserved_bytes, peaks[-1]))


# ---- tests --------------------------------------------------------------------------------------


def gpu_tests(box: Box) -> None:
    """The tests that need a card; what is kept is their last lines.

    Raises:
        RuntimeError: if a test fails, or none could be run.
    """
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-q", "-rfE", "--tb=short", "-p", "no:cacheprovider"]
    command += [] if importlib.util.find_spec("pytest_timeout") else BARE_PYTEST
    try:
        told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=box.left_s, check=False)
    except subprocess.TimeoutExpired:
        raise OverrunError("the tests were stopped when their time was over") from None
    lines = told.stdout.strip().splitlines()
    box.note("summary", lines[-1] if lines else None)
    box.note("status", told.returncode)
    if told.returncode:
        box.note("output", (told.stdout[-6000:] + told.stderr[-2000:]))
        raise RuntimeError(f"pytest ended with status {told.returncode}: {lines[-1] if lines else told.stderr[-200:]}")
