"""All health checks of a run: what they are given, when they look, and what they write down.

Nothing here touches a weight or a draw, so a run with checks and one without end with the same weights.
"""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from advisor.records import Note
from trainer.config import TrainConfig
from trainer.diffusion import NUM_TIMES, Objective
from trainer.health.alarms import Alarms
from trainer.health.baselines import compute_baselines
from trainer.health.data import data_alarms, overdriven
from trainer.health.errors import Validated
from trainer.health.learning import MIN_STEPS, LearningChecks, WeightSample
from trainer.health.machine import MachineChecks
from trainer.health.statistics import Floats, bucket_means, bucket_of
from trainer.health.steps import StepChecks
from trainer.loop import Step, TrainingData
from trainer.meter import Window
from trainer.state import TrainState
from trainer.validation import ValidationSet

_DIGITS = 5  # of the errors kept in the log: what a resumed run compares with


class Health:
    """Watches one run; every alarm goes to ``raise_alarm`` once."""

    def __init__(
        self,
        config: TrainConfig,
        state: TrainState,
        data: TrainingData,
        held_out: ValidationSet | None,
        *,
        names: Sequence[str],
        largest_rms: float,
        weights: WeightSample,
        raise_alarm: Callable[[Note], None],
    ) -> None:
        """Compute the baselines; nothing is raised yet.

        Args:
            config: of the run.
            state: as it stands now.
            data: what is trained on.
            held_out: fixed tuples; without them nothing is said about learning.
            names: of the training pictures.
            largest_rms: what the codec's values may have as root mean square.
            weights: taken before anything was trained.
            raise_alarm: is told of each alarm.
        """
        self._config, self._data, self._names, self._largest_rms = config, data, names, largest_rms
        self._weights, self._device = weights, data.x_NCHW.device
        self._steps = StepChecks(config, len(data.label_N), state.samples_seen)
        self._machine = MachineChecks(self._device)
        self._cpu_times_s: list[float] = []
        self.alarms = Alarms(raise_alarm)
        self.learning: LearningChecks | None = None
        if held_out is not None:
            objective = Objective(self._device, config.min_snr_gamma)
            baselines, wiener_V = compute_baselines(held_out, data.x_NCHW, data.label_N, objective)
            self._bucket_V = bucket_of(held_out.time_V.cpu().numpy(), NUM_TIMES)
            self._weight_V: Floats = objective.weights(held_out.time_V).double().cpu().numpy()
            self.learning = LearningChecks(config, baselines, wiener_V, self._bucket_V)

    def recall(self, metrics: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]) -> None:
        """Take over what an earlier part of the run has logged: validations, and alarms not to be raised again."""
        self.alarms.raised.extend(str(entry.get("id")) for entry in events if entry.get("kind") == "alarm")
        for entry in metrics:
            if self.learning is not None and entry.get("kind") == "validation" and entry.get("errors"):
                errors = np.array(entry["errors"], dtype=float)
                if len(errors) == len(self._bucket_V):
                    self.learning.add(int(entry["samples"]), errors)

    # ---- what happens -----------------------------------------------------------------------------

    def start(self) -> Note | None:
        """Look at the data, before the first step; returns the alarm that makes training pointless."""
        fatal = None
        for said in data_alarms(self._config, self._data, self._names, self._largest_rms):
            self.alarms(said)
            if said is not None and said.id == "data_non_finite":
                fatal = said
        return fatal

    def stepped(self, step: Step) -> None:
        """Take in a step; costs no transfer from the device."""
        self._steps.collect(step)
        if self._device.type == "cpu":
            self._cpu_times_s.append(time.process_time())

    def reported(self, samples: int, window: Window, card: Mapping[str, Any]) -> None:
        """Look at the steps and the machine; about every two seconds."""
        steps, machine = self._steps, self._machine
        steps.read()
        self.alarms(steps.order())
        self.alarms(steps.spikes())
        self.alarms(steps.clipping())
        machine.add(samples, self._step_s(window), window.step_s * window.num_steps, card)
        self.alarms(machine.slower())
        self.alarms(machine.memory(self._config.samples))
        self.alarms(machine.throttled())

    def _step_s(self, window: Window) -> float:
        """On a CPU the median processor time of a step: what other programs take is not this run's slowness."""
        times_s, self._cpu_times_s = self._cpu_times_s, []
        if len(times_s) < 2:
            return window.step_s
        return statistics.median(after - before for before, after in itertools.pairwise(times_s))

    def validated(self, samples: int, found: Validated, ask_null: Callable[[], Floats]) -> None:
        """Look at what is learned. ``ask_null`` gives the errors without label, while they are still needed."""
        learning, steps = self.learning, self._steps
        if learning is None:
            return
        steps.read()
        learning.add(samples, found.error_V)
        self.alarms(self._weights.average_follows(samples, self._config))
        self.alarms(steps.untrained_bucket(bucket_means(self._weight_V * found.error_V, self._bucket_V)))
        self.alarms(learning.pace(self._weights.moved()))
        if learning.label_is_used is None and len(self._data.label_N.unique()) > 1:
            self.alarms(learning.label(ask_null()))
        self.alarms(learning.overfit())
        self.alarms(learning.plateau())
        self.alarms(steps.oscillation())

    def sampled(self, samples: int, x_NCHW: Tensor) -> None:
        """Look at generated items, as the run's own guidance makes them; without guidance it is not to blame."""
        if self._config.guidance > 1 and samples >= MIN_STEPS * self._config.effective_batch:
            self.alarms(overdriven(x_NCHW, self._data.x_NCHW, self._config.guidance))

    def non_finite(self) -> Note | None:
        """What is known of the step that was not finite, raised as an alarm."""
        said = self._steps.non_finite(self._names)
        self.alarms(said)
        return said

    # ---- what is logged ---------------------------------------------------------------------------

    def baselines(self) -> dict[str, list[float | None] | None]:
        """Errors of the baselines by bucket."""
        if self.learning is None:
            return {}
        known = self.learning.baselines
        by_name = {"zero": known.zero, "wiener": known.wiener, "copier": known.copier, "floor": known.floor}
        return {name: None if values is None else _plain(values) for name, values in by_name.items()}

    def fields(self) -> dict[str, Any]:
        """What a validation line tells of the health: errors by bucket and by tuple, and the skill."""
        if self.learning is None or not self.learning.history:
            return {}
        error_V = self.learning.history[-1].error_V
        return {
            "error_by_bucket": _plain(bucket_means(error_V, self._bucket_V).tolist()),
            "skill_by_bucket": self.learning.skill(),
            "label_is_used": self.learning.label_is_used,
            "standardised_loss": self._steps.standardised_loss(),
            "errors": _plain(error_V.tolist()),
        }


def _plain(values: Sequence[float]) -> list[float | None]:
    """Rounded, and nothing where a value is not finite: JSON has no NaN."""
    return [float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None for value in values]


def weight_sample(state: TrainState) -> WeightSample:
    """A sample of the weights and of the narrower average as they are now: at the start, before a restore."""
    return WeightSample(state.model, state.ema.averages[0])
