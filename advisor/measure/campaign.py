"""Measures several settings of one workload so that they can be compared: children side by side.

Each setting lives in a child of its own: one first step (creates optimizer state, warms caches), one step
with memory tracked, then timed turns in rounds with all the others, as long as together they fit in half of
the memory. Where they do not, they are timed in turn.
"""

import contextlib
import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from advisor.measure.drift import Drift, clear_drift
from advisor.measure.messages import BuildOrder, Built, Failure, Rehearsed, StepReport
from advisor.measure.sandbox import Sandbox
from advisor.measure.timing import (
    DECISIVE_ROUNDS,
    DECISIVE_SECONDS,
    MAX_ROUNDS,
    Turn,
    interleave,
    mean_time,
    paired_ratio,
    steps_in_turn,
    summarize,
)
from advisor.records import Breakdown, Measurement, StepTime, Value, record
from advisor.units import MIB, format_bytes, format_duration

CONTEXT_BYTES = 600 * MIB  # what a CUDA context takes at most, apart from tensors; see the memory note's reports
DEFAULT_TIMEOUT_S = 300.0
REHEARSAL_LIMIT_S = 20.0  # an evaluation of one's own may take hours


@record
class Place:
    """Where to measure: the device as torch calls it, the child's environment, and the memory there."""

    torch_device: str
    environment: dict[str, str]
    budget_bytes: int | None


@record
class Subject:
    """What to measure: the workload's spec and the parameters of its factory."""

    spec: str
    parameters: Mapping[str, Value]


@record
class Point:
    """One measured setting. ``ratio_to_present`` compares step times round by round."""

    measurement: Measurement
    ratio_to_present: StepTime | None = None
    phase_bytes: dict[str, int] = dataclasses.field(default_factory=dict)
    breakdown: Breakdown | None = None
    failure: Failure | None = None


@record
class Campaign:
    """All settings that were asked for, the present one first, in the order of asking.

    ``drift``: how the step time changed while it was measured, where that is clear. ``rehearsed``: what a run does
    beside its steps, if that was wanted and could be timed.
    """

    points: tuple[Point, ...]
    built: Built | None
    interleaved: bool
    drift: Drift | None = None
    rehearsed: tuple[Rehearsed, ...] = ()


def measure_settings(
    settings: Sequence[tuple[int, int]],
    subject: Subject,
    place: Place,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    rehearses: bool = False,
    decides: bool = False,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Campaign:
    """Measure settings (micro-batch, accumulation); the first is the one that others are compared with.

    A larger micro-batch is not run once a smaller one did not fit: it has no point. ``rehearses``: what a run does
    beside its steps is timed, too, in the first setting's process and after its steps. ``decides``: settings of the
    first one's effective batch are timed until their comparison has a 95 % interval, however long their steps are, and
    somewhat longer than the others in any case.
    """
    trials = [Trial(one, subject, place, rehearses=rehearses and k == 0) for k, one in enumerate(settings)]
    present, *others = trials
    decides_at = present.effective_batch if decides else None
    with contextlib.ExitStack() as stack:
        for trial in trials:
            stack.callback(trial.close)
        _start_together(trials, timeout_s)
        groups: list[list[Trial]] = [[]]
        for trial in (present, *sorted(others, key=lambda trial: trial.setting)):
            if not _may_fit(trial, trials, place.budget_bytes):
                continue
            if not _fit_together([*groups[-1], trial], trials, place):
                _time_group(groups[-1], timeout_s, decides_at=decides_at)
                groups.append([])
            on_progress(f"measuring {trial.micro_batch} x {trial.accumulation} ...")
            trial.warm_up(timeout_s)
            on_progress(f"measured {trial.micro_batch} x {trial.accumulation}: {trial.summary()}")
            if trial.failure is None:
                groups[-1].append(trial)
            elif trial is present and trial.failure.outcome != "oom":
                break  # the user's own step raises or hangs: nothing else is worth a trial
        on_progress("timing the settings in turns ...")
        _time_group(groups[-1], timeout_s, decides_at=decides_at)
        return Campaign(
            points=tuple(trial.point(present) for trial in trials if trial.was_run),
            built=present.built,
            interleaved=len(groups) == 1,
            drift=clear_drift([[trial.durations_s for trial in group] for group in groups]),
            rehearsed=present.rehearsed,
        )


class Trial:
    """One setting while it is measured."""

    def __init__(self, setting: tuple[int, int], subject: Subject, place: Place, *, rehearses: bool = False) -> None:
        self.setting = setting
        self.micro_batch, self.accumulation = setting
        self.built: Built | None = None
        self.failure: Failure | None = None
        self.report: StepReport | None = None
        self.was_run = False
        self.rehearsed: tuple[Rehearsed, ...] = ()
        self._rehearses = rehearses
        self._subject, self._place = subject, place
        self._sandbox: Sandbox | None = None
        self._first_step_s: float | None = None
        self._reserved_bytes: int | None = None
        self._num_steps = 0
        self._last_step_s = math.inf
        self.durations_s: list[float] = []
        self._inputs_s: list[float] = []

    @property
    def reserved_bytes(self) -> int | None:
        """Peak of the bytes taken from the device, over all steps so far."""
        return self._reserved_bytes

    def ran_out(self, budget_bytes: int | None) -> bool:
        """Whether there was not enough memory, or more was taken than is allowed."""
        if self.failure is not None:
            return self.failure.outcome == "oom"
        if budget_bytes is None or self._reserved_bytes is None:
            return False
        return self._reserved_bytes > budget_bytes

    @property
    def effective_batch(self) -> int:
        """Samples an optimizer step sees."""
        return self.micro_batch * self.accumulation

    def start(self) -> Sandbox:
        """The child process, which is started the first time."""
        if self._sandbox is None:
            self._sandbox = Sandbox(self._subject.spec, self._place.environment)
        return self._sandbox

    def warm_up(self, timeout_s: float) -> None:
        """Build the workload, run the first step, and one with memory tracked."""
        self.was_run = True
        order = BuildOrder(
            spec=self._subject.spec,
            parameters=dict(self._subject.parameters),
            device=self._place.torch_device,
            micro_batch=self.micro_batch,
            accumulation=self.accumulation,
            cap_bytes=self._place.budget_bytes,
        )
        built = self.start().build(order, timeout_s=timeout_s)
        if isinstance(built, Failure):
            self._fail(built)
            return
        self.built = built
        first = self._step(tracks_memory=False, timeout_s=timeout_s)
        self._first_step_s = first.step_s if first is not None else None
        if self.failure is None:
            self._step(tracks_memory=True, timeout_s=timeout_s)

    def timed_turn(self, timeout_s: float) -> Turn | None:
        """One more turn, or ``None`` if a step of it failed."""
        num_steps = steps_in_turn(self._last_step_s)
        started_s = time.perf_counter()
        report = self._step(tracks_memory=False, timeout_s=timeout_s, num_steps=num_steps)
        if report is None:
            return None
        self.durations_s.append(report.step_s)
        if report.input_s is not None:
            self._inputs_s.append(report.input_s)
        return Turn(step_s=report.step_s, spent_s=time.perf_counter() - started_s)

    def rehearse(self) -> None:
        """Time what a run does beside its steps; what raises or takes too long is not known, and no failure."""
        if self._rehearses and self.failure is None:
            found = self.start().rehearse(timeout_s=REHEARSAL_LIMIT_S)
            self.rehearsed = () if isinstance(found, Failure) else found

    def close(self) -> None:
        """End the child, so that its memory is free for others."""
        if self._sandbox is not None:
            self._sandbox.close()

    def summary(self) -> str:
        """One line for the progress."""
        if self.failure is not None:
            return f"{self.failure.outcome} ({self.failure.message})"
        reserved = format_bytes(self._reserved_bytes) if self._reserved_bytes is not None else "unknown memory"
        return f"{reserved}, first step {format_duration(self._first_step_s or 0)}"

    def point(self, present: "Trial") -> Point:
        """What was found out, as a record."""
        report = self.report or StepReport(step_s=0)
        return Point(
            measurement=Measurement(
                micro_batch=self.micro_batch,
                accumulation=self.accumulation,
                outcome=self.failure.outcome if self.failure else "ok",
                peak_allocated_bytes=report.peak_allocated_bytes,
                peak_reserved_bytes=self._reserved_bytes,
                first_step_s=self._first_step_s,
                step_s=summarize(self.durations_s) if self.durations_s else None,
                steps_run=self._num_steps,
                message=self.failure.message if self.failure else None,
                input_s=statistics.median(self._inputs_s) if self._inputs_s else None,
                mean_step_s=mean_time(self.durations_s) if self.durations_s else None,
            ),
            ratio_to_present=paired_ratio(self.durations_s, present.durations_s),
            phase_bytes=report.phase_bytes or {},
            breakdown=report.breakdown,
            failure=self.failure,
        )

    def _step(self, *, tracks_memory: bool, timeout_s: float, num_steps: int = 1) -> StepReport | None:
        report = self.start().step(tracks_memory=tracks_memory, timeout_s=timeout_s, num_steps=num_steps)
        if isinstance(report, Failure):
            self._fail(report)
            return None
        self._num_steps += report.num_steps
        self._last_step_s = report.step_s
        if tracks_memory:
            self.report = report
        if report.peak_reserved_bytes is not None:
            self._reserved_bytes = max(report.peak_reserved_bytes, self._reserved_bytes or 0)
        return report

    def _fail(self, failure: Failure) -> None:
        self.failure = failure
        self.close()  # its memory must be free before the next one is measured


def _start_together(trials: list[Trial], timeout_s: float) -> None:
    """Children import torch side by side, and all before the first step: on few cores that would crawl beside it."""
    for sandbox in [trial.start() for trial in trials]:
        if sandbox.wait(timeout_s=timeout_s) is not None:
            return  # building it says why


def _time_group(group: list[Trial], timeout_s: float, *, decides_at: int | None) -> None:
    """Rounds of all, then as many more of the settings of one effective batch as a decision between them takes."""
    interleave(_turns(group, timeout_s))
    rivals = [one for one in group if one.failure is None and one.effective_batch == decides_at]
    if len(rivals) > 1:
        num_rounds = min(len(one.durations_s) for one in rivals)
        interleave(
            _turns(rivals, timeout_s),
            min_rounds=max(0, DECISIVE_ROUNDS - num_rounds),
            max_rounds=MAX_ROUNDS - num_rounds,
            seconds_per_setting=DECISIVE_SECONDS,
        )
    for trial in group:
        trial.rehearse()
        trial.close()


def _turns(trials: list[Trial], timeout_s: float) -> dict[tuple[int, int], Callable[[], Turn | None]]:
    return {one.setting: partial(one.timed_turn, timeout_s) for one in trials if one.failure is None}


def _may_fit(trial: Trial, trials: list[Trial], budget_bytes: int | None) -> bool:
    return not any(other.ran_out(budget_bytes) and other.micro_batch < trial.micro_batch for other in trials)


def _fit_together(group: list[Trial], trials: list[Trial], place: Place) -> bool:
    """Whether the children of the group fit in half of the memory at once."""
    if place.budget_bytes is None or len(group) == 1:
        return True
    context_bytes = CONTEXT_BYTES if place.torch_device.startswith("cuda") else 0
    needed_bytes = [_bytes_bound(trial, trials) + context_bytes for trial in group]
    return sum(needed_bytes) <= place.budget_bytes / 2


def _bytes_bound(trial: Trial, trials: list[Trial]) -> float:
    """What the trial took, or may take at most by proportion to a smaller one (no cause grows faster)."""
    if trial.reserved_bytes is not None:
        return trial.reserved_bytes
    known = [other for other in trials if other.reserved_bytes is not None]
    if not known:
        return 0
    nearest = max(known, key=lambda other: (other.micro_batch <= trial.micro_batch, other.micro_batch))
    return (nearest.reserved_bytes or 0) * max(1.0, trial.micro_batch / nearest.micro_batch)
