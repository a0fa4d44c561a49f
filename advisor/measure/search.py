"""The largest micro-batch that is safe on a device: two probes, a law of the memory between, and one check.

What is found was run, within the budget, with an evaluation, in a process of its own. Policy only: what runs is
:class:`advisor.measure.attempts.Attempts`, and what the memory will be :mod:`advisor.measure.curve`.
"""

import math
from collections.abc import Callable, Sequence

from advisor.measure.attempts import Attempt, Plan
from advisor.measure.curve import CalibratedCurve, Law, guarded_step, law_of, safe_step
from advisor.measure.found import Found, Ground, Stop
from advisor.predict.affine import MIN_MICRO_BATCH
from advisor.predict.allocator import replay
from advisor.predict.memory import largest

MAX_STEPS = 9
MAX_STEPS_WITHOUT_LAW = 20
MAX_FAILURES = 3
PROBE_STEPS, CHECK_STEPS = 2, 3  # the first makes the optimizer's state and warms caches, the second is like all others
GUESS_SHARE = 8  # the first probe is this far below what the forecast allows
_WORTH_FRAC = 0.03  # a smaller gain is not worth another check
_STEP_DOWN = 0.95
_SPILL_FACTOR = 2.0  # of the time a sample takes: memory of the host is used instead


def search(ground: Ground, run: Callable[[Plan], Attempt]) -> Found:
    """Run what :func:`propose` proposes until it is found."""
    attempts: list[Attempt] = []
    while True:
        proposed = propose(ground, attempts)
        if isinstance(proposed, Found):
            return proposed
        attempts.append(run(proposed))


def propose(ground: Ground, attempts: Sequence[Attempt]) -> Plan | Found:
    """What to run next, or what was found. Pure."""
    return State(ground, attempts).next()


class State:
    """What the attempts so far say."""

    def __init__(self, ground: Ground, attempts: Sequence[Attempt]) -> None:
        self._ground, self._attempts = ground, tuple(attempts)
        self._bad = [one for one in attempts if not self._is_good(one)]
        self._good = [one for one in attempts if self._is_good(one)]
        self._bounds = [one for one in self._bad if not self._is_of_a_shape(one)]
        failed_from = min((one.micro_batch for one in self._bounds), default=ground.most + 1)
        below = [one.micro_batch for one in self._good if one.micro_batch < failed_from]
        self._below, self._limit = max(below, default=0), min(failed_from, ground.most + 1)
        found = law_of([one for one in attempts if one.outcome == "ok"], caches=ground.caches)
        self._fit = found[1] if found else None
        self._law = found[0] if found else self._trusted_forecast()
        self._curve = None
        if self._law is not None and len(self._known) > 1:
            self._curve = CalibratedCurve(self._law, self._known)

    def next(self) -> Plan | Found:
        """What to run next, or what was found."""
        if not self._attempts:
            return Plan(micro_batch=self._first(), num_steps=PROBE_STEPS)
        is_over = self._steps_left < PROBE_STEPS or len(self._bad) >= MAX_FAILURES or self._has_hung()
        if is_over or self._below == self._ground.most:
            return self._settle()
        if len(self._known) < 2:
            other = self._second() if self._known else self._lower()
            return self._settle() if other is None else Plan(micro_batch=other, num_steps=PROBE_STEPS)
        target = min(self._target(), self._affordable())
        if not self._is_worth(target):
            return self._settle()
        num_steps = min(CHECK_STEPS if self._curve is not None else PROBE_STEPS, self._steps_left)
        return Plan(micro_batch=target, num_steps=num_steps, checks=True)

    # ---- what is known --------------------------------------------------------------------------

    @property
    def _known(self) -> list[Attempt]:
        """Attempts that ran to their end, within the budget or not."""
        return [one for one in self._attempts if one.outcome == "ok" and one.peak_bytes is not None]

    @property
    def _steps_left(self) -> int:
        smooth = self._curve is not None and not any(one.outcome != "ok" for one in self._attempts)
        allowed = MAX_STEPS if smooth or len(self._known) < 2 else MAX_STEPS_WITHOUT_LAW
        return allowed - sum(one.steps_run for one in self._attempts)

    def _is_good(self, one: Attempt) -> bool:
        """Whether it ran, within the budget, and not slowly for want of memory."""
        fits = one.peak_bytes is None or one.peak_bytes <= self._ground.budget_bytes
        return one.outcome == "ok" and fits and not one.num_retries and not self._has_spilled(one)

    def _has_spilled(self, one: Attempt) -> bool:
        """Whether a sample takes far longer than at smaller batches, where it should take less."""
        if not self._ground.notices_spills or one.step_s is None:
            return False
        smaller = [
            other.step_s / other.micro_batch
            for other in self._attempts
            if other.step_s is not None and other.micro_batch < one.micro_batch
        ]
        return bool(smaller) and one.step_s / one.micro_batch > _SPILL_FACTOR * min(smaller)

    def _is_of_a_shape(self, one: Attempt) -> bool:
        """Whether it may have failed because it is no multiple of what the user runs: it then bounds nothing."""
        return one.outcome == "error" and not _is_size_limit(one) and one.micro_batch % self._ground.start != 0

    def _has_surprised(self) -> bool:
        """Whether the smallest that failed did so for no foreseeable reason."""
        return any(one.outcome != "ok" and one.micro_batch == self._limit for one in self._bounds)

    def _has_hung(self) -> bool:
        return any(one.outcome == "timeout" for one in self._attempts)

    def _trusted_forecast(self) -> Law | None:
        """The forecast, if it is good for more than a first guess: what it missed is small where that was measured."""
        forecast = self._ground.forecast
        if forecast is None or not self._known:
            return None
        misses = [abs((one.peak_bytes or 0) / max(1, forecast(one.micro_batch)) - 1) for one in self._known]
        return forecast if max(misses) <= 1 - _STEP_DOWN else None

    # ---- where to go ----------------------------------------------------------------------------

    def _first(self) -> int:
        """Far enough below what is foreseen; where nothing is, what the user runs now."""
        ground = self._ground
        if ground.forecast is None:
            return min(max(MIN_MICRO_BATCH, ground.start), ground.most)
        forecast = ground.forecast
        foreseen = largest(lambda batch: forecast(batch) <= ground.budget_bytes, ground.most)
        return min(max(MIN_MICRO_BATCH, foreseen // GUESS_SHARE), ground.most)

    def _second(self) -> int | None:
        """Twice the first if that is safe, else half of it."""
        first = self._known[0]
        batch, budget_bytes = first.micro_batch, self._ground.budget_bytes
        safe = min(safe_step(self._known, budget_bytes), self._limit - 1) if self._below else 0
        if safe >= min(2 * batch, self._limit - 1) or self._foreseen_safe(first):
            further = self._capped(2 * batch)
            return further if self._is_worth(further) else None
        if batch // 2 >= MIN_MICRO_BATCH and batch // 2 not in (one.micro_batch for one in self._attempts):
            return batch // 2
        return safe if safe > batch else None if self._below else self._lower()

    def _foreseen_safe(self, first: Attempt) -> bool:
        forecast = self._ground.forecast
        if forecast is None or first.peak_bytes is None or not self._below:
            return False
        ratio = forecast(2 * first.micro_batch) / max(1, forecast(first.micro_batch))
        return ratio * first.peak_bytes <= _STEP_DOWN * self._ground.budget_bytes

    def _lower(self) -> int | None:
        """Below everything that failed: the user's own first, then ever smaller ones."""
        if self._limit <= 1:
            return None
        start = self._ground.start
        if start < self._limit and start not in (one.micro_batch for one in self._attempts):
            return start
        if self._bad[-1].outcome == "error" and not self._known and not _is_size_limit(self._bad[-1]):
            return None  # the step is broken, whatever the batch
        return max(1 if self._limit <= MIN_MICRO_BATCH else MIN_MICRO_BATCH, (self._limit - 1) // GUESS_SHARE)

    def _target(self) -> int:
        """The largest micro-batch that should fit, below all that failed."""
        ground = self._ground
        allowed_bytes = round(ground.budget_bytes * (1 - ground.margin_frac))
        if self._curve is not None:
            curve = self._curve
            target = largest(lambda batch: curve.at(batch) <= allowed_bytes, self._limit)
        else:
            target = guarded_step(self._known, allowed_bytes)
        return self._whole(self._capped(target))

    def _capped(self, target: int) -> int:
        """Below all that failed, and well below what failed against all expectation."""
        if target >= self._limit and self._has_surprised():
            num_surprises = sum(one.outcome != "ok" for one in self._bounds)
            return self._between(predicted=self._curve is not None and num_surprises == 1)
        return min(target, self._limit - 1)

    def _is_worth(self, target: int) -> bool:
        return target > self._below * (1 + _WORTH_FRAC)

    def _between(self, *, predicted: bool) -> int:
        """Between the largest that ran and the smallest that failed for no foreseeable reason."""
        if not self._below:
            return max(1, self._limit // 2)
        if predicted and any(one.plan.checks for one in self._bad):
            return max(self._below, math.floor(_STEP_DOWN * self._limit))
        return math.floor(math.sqrt(self._below * self._limit))

    def _whole(self, target: int) -> int:
        """A multiple of the user's own micro-batch, where another one failed for its shape."""
        unit = self._ground.start
        shapes_matter = len(self._bounds) < len(self._bad)
        return target // unit * unit if shapes_matter and target >= unit else target

    def _affordable(self) -> int:
        """What a check has time for: a step takes no longer than in proportion to the batch."""
        timed = [one for one in self._good if one.step_s]
        if not timed or math.isinf(self._ground.time_limit_s):
            return self._ground.most
        largest_timed = max(timed, key=lambda one: one.micro_batch)
        left_s = self._ground.time_limit_s - sum(one.elapsed_s for one in self._attempts)
        steps = left_s / (CHECK_STEPS * (largest_timed.step_s or 1.0))
        return max(self._below, math.floor(largest_timed.micro_batch * steps))

    # ---- the answer -----------------------------------------------------------------------------

    def _settle(self) -> Plan | Found:
        """The largest that ran, checked."""
        if not self._below:
            return self._found("nothing_fits" if all(_is_about_memory(one) for one in self._bad) else "failure")
        if any(one.plan.checks and one.micro_batch == self._below for one in self._good):
            return self._found(self._reason())
        steps = max(PROBE_STEPS, min(CHECK_STEPS, self._steps_left))  # what is answered was checked, whatever it takes
        return Plan(micro_batch=self._below, num_steps=steps, checks=True)

    def _reason(self) -> Stop:
        nearest = [one for one in self._bad if one.micro_batch == self._limit]
        if nearest and nearest[-1].outcome != "ok":
            if _is_size_limit(nearest[-1]):
                return "size_limit"
            return "out_of_memory" if nearest[-1].outcome == "oom" else "failure"
        if self._below == self._ground.most:
            return self._ground.most_is
        if not self._is_worth(self._target()):
            return "memory"
        return "steps" if self._is_worth(self._affordable()) else "time"

    def _found(self, stop: Stop) -> Found:
        checked = [one.micro_batch for one in self._good if one.plan.checks and one.micro_batch <= self._below]
        failure = next((one.failure for one in reversed(self._attempts) if one.failure is not None), None)
        return Found(
            micro_batch=max(checked, default=None),
            stop=stop,
            attempts=self._attempts,
            message=failure.message if failure else None,
            retrying=self._retrying(max(checked, default=0)),
            curve=self._curve,
            error_frac=self._error_frac(),
        )

    def _error_frac(self) -> float | None:
        """What the law and the probes alone said of the peaks that were then checked: the largest error."""
        checks = [one for one in self._known if one.plan.checks]
        probes = [one for one in self._known if not one.plan.checks]
        if self._law is None or not checks or not probes:
            return None
        curve = CalibratedCurve(self._law, probes)
        return max(abs(curve.at(one.micro_batch) / max(1, one.peak_bytes or 0) - 1) for one in checks)

    def _retrying(self, safe: int) -> int | None:
        fit, budget_bytes = self._fit, self._ground.budget_bytes
        if fit is None or not self._ground.caches or not safe:
            return None

        def runs(micro_batch: int) -> bool:
            sizes_bytes = fit.at(micro_batch)
            return replay(fit.events, sizes_bytes, limit_bytes=budget_bytes, optional=fit.optional).fits

        return largest(runs, self._limit - 1, known=safe)


def _is_size_limit(one: Attempt) -> bool:
    return one.failure is not None and one.failure.is_size_limit


def _is_about_memory(one: Attempt) -> bool:
    return one.outcome in ("ok", "oom")
