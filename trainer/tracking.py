"""A run's metrics in a tracker of the user's choice, through accelerate's tracker classes.

A tracker is company, not a passenger with rights: it works on a thread of its own, and whatever fails or hangs there
is told once, while training goes on without it.
"""

import contextlib
import importlib.util
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from advisor import schema
from advisor.errors import UsageError
from advisor.records import Note
from trainer.aside import Aside
from trainer.config import TrainConfig
from trainer.notes import note

TrackerName = Literal["tensorboard", "trackio", "wandb", "mlflow"]
TRACKERS: tuple[str, ...] = get_args(TrackerName)
PATIENCE_S = 60.0  # for what it still has to write or send when the run is over


def require_tracker(name: str) -> None:
    """Check that this tracker is known and installed, before anything is trained.

    Raises:
        UsageError: saying what to install.
    """
    if name not in TRACKERS:
        raise UsageError(f"--track {name}: choose one of {', '.join(TRACKERS)}{schema.nearest_name(name, TRACKERS)}")
    missing = [package for package in ("accelerate", name) if importlib.util.find_spec(package) is None]
    if missing:
        raise UsageError(f"--track {name} needs {' and '.join(missing)}: pip install {' '.join(missing)}")


class Tracking:
    """Passes numbers on to one tracker, until that fails."""

    def __init__(self, make: Callable[[], Any], name: str, on_note: Callable[[Note], None]) -> None:
        """Have the tracker started.

        Args:
            make: returns one of accelerate's trackers.
            name: for the message if it fails.
            on_note: is told once if it fails, or does not end.
        """
        self._name, self._on_note = name, on_note
        self._has_told = False
        self._tracker: Any = None
        self._aside = Aside()
        self._aside(lambda: self._start(make()))

    def _start(self, tracker: Any) -> None:
        if hasattr(tracker, "start"):  # earlier versions start when they are made
            tracker.start()
        self._tracker = tracker

    def configuration(self, config: TrainConfig) -> None:
        """Tell it what the run is."""
        plain = schema.to_plain(config)
        values = {key: value if isinstance(value, (int, float, str)) else str(value) for key, value in plain.items()}
        self._aside(lambda: self._tracker.store_init_configuration(values))

    def metric(self, kind: str, samples: int, values: Mapping[str, Any]) -> None:
        """Pass on the numbers of one line of metrics, at their place in samples."""
        numbers = {f"{kind}/{key}": float(value) for key, value in values.items() if _is_number(value)}
        if numbers:
            self._aside(lambda: self._tracker.log(numbers, step=samples))
        self._tell_problem()

    def close(self, patience_s: float) -> None:
        """Let it write what it still holds, but do not wait for ever."""
        self._aside(lambda: self._tracker.finish())
        if not self._aside.end(patience_s):
            self._on_note(note("tracker_hangs", name=self._name, patience_s=patience_s))
        self._tell_problem()

    def _tell_problem(self) -> None:
        if self._aside.problem is not None and not self._has_told:
            self._has_told = True
            self._on_note(note("tracker_failed", name=self._name, problem=self._aside.problem))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _variables(name: str, folder: Path) -> dict[str, str]:
    """What makes a tracker keep its files in its folder, and send nothing of its own accord."""
    known = {
        "trackio": {"TRACKIO_DIR": str(folder)},
        "wandb": {"WANDB_DIR": str(folder.parent), "WANDB_ERROR_REPORTING": "false"},  # it adds its name itself
        "mlflow": {
            "MLFLOW_TRACKING_URI": f"sqlite:///{(folder / 'mlflow.db').as_posix()}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
    }
    return known.get(name, {})


@contextlib.contextmanager
def tracked(
    name: str, run: Path, config: TrainConfig, on_note: Callable[[Note], None], patience_s: float = PATIENCE_S
) -> Iterator[Tracking]:
    """A tracker of this name for the run in this folder; its files go there, except where the user's environment says.

    What it prints goes to stderr, for stdout is the answer's.
    """
    folder = run.resolve() / name
    folder.mkdir(exist_ok=True)
    for key, value in _variables(name, folder).items():
        os.environ.setdefault(key, value)

    def make() -> Any:
        from accelerate.state import PartialState  # an extra: only those who ask for it have it
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        PartialState(cpu=True)  # its trackers want to know that they are in the only process; no device is touched
        kind = LOGGER_TYPE_TO_CLASS[name]
        return kind(run.name, str(folder)) if kind.requires_logging_directory else kind(run.name)

    with contextlib.redirect_stdout(sys.stderr):
        tracking = Tracking(make, name, on_note)
        try:
            tracking.configuration(config)
            yield tracking
        finally:
            tracking.close(patience_s)
