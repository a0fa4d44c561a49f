"""A run's metrics in a tracker of the user's choice, through accelerate's tracker classes.

A tracker is company, not a passenger with rights: whatever fails in it is told once, and training goes on without it.
"""

import importlib.util
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from advisor import schema
from advisor.errors import UsageError
from advisor.records import Note
from trainer.config import TrainConfig
from trainer.notes import note

TrackerName = Literal["tensorboard", "trackio", "wandb", "mlflow"]
TRACKERS: tuple[str, ...] = get_args(TrackerName)


def require_tracker(name: str) -> None:
    """Check that this tracker is known and installed, before anything is trained.

    Raises:
        UsageError: saying what to install.
    """
    if name not in TRACKERS:
        raise UsageError(f"--track {name}: choose one of {', '.join(TRACKERS)}{schema.nearest_name(name, TRACKERS)}")
    missing = [package for package in ("accelerate", name) if importlib.util.find_spec(package) is None]
    if missing:
        raise UsageError(f'--track {name} needs {" and ".join(missing)}: pip install "cfgadvise[track]" {name}')


class Tracking:
    """Passes numbers on to one tracker, until that fails."""

    def __init__(self, make: Callable[[], Any], name: str, on_note: Callable[[Note], None]) -> None:
        """Start the tracker.

        Args:
            make: returns one of accelerate's trackers.
            name: for the message if it fails.
            on_note: is told once if it fails.
        """
        self._name, self._on_note = name, on_note
        self._tracker: Any = None
        self._guarded(lambda: self._start(make()))

    def _start(self, tracker: Any) -> None:
        if hasattr(tracker, "start"):  # earlier versions start when they are made
            tracker.start()
        self._tracker = tracker

    def configuration(self, config: TrainConfig) -> None:
        """Tell it what the run is."""
        plain = schema.to_plain(config)
        values = {key: value if isinstance(value, (int, float, str)) else str(value) for key, value in plain.items()}
        self._guarded(lambda: self._tracker.store_init_configuration(values))

    def metric(self, kind: str, samples: int, values: Mapping[str, Any]) -> None:
        """Pass on the numbers of one line of metrics, at their place in samples."""
        numbers = {f"{kind}/{key}": float(value) for key, value in values.items() if _is_number(value)}
        if numbers:
            self._guarded(lambda: self._tracker.log(numbers, step=samples))

    def close(self) -> None:
        """Let it write what it still holds."""
        self._guarded(lambda: self._tracker.finish())
        self._tracker = None

    def _guarded(self, action: Callable[[], object]) -> None:
        if self._name == "":
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001 - other people's code; a night of training must not depend on it
            failed, self._name, self._tracker = self._name, "", None
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            self._on_note(note("tracker_failed", name=failed, problem=reason))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def open_tracking(name: str, folder: Path, config: TrainConfig, on_note: Callable[[Note], None]) -> Tracking:
    """Start the tracker of this name for the run in this folder; files that it makes go there, too."""

    def make() -> Any:
        from accelerate.state import PartialState  # an extra: only those who ask for it have it
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        PartialState(cpu=True)  # its trackers want to know that they are in the only process; no device is touched
        kind = LOGGER_TYPE_TO_CLASS[name]
        if name == "mlflow":
            return kind(experiment_name=folder.name, logging_dir=str(folder / name))
        if kind.requires_logging_directory:
            return kind(folder.name, str(folder / name))
        return kind(folder.name)

    tracking = Tracking(make, name, on_note)
    tracking.configuration(config)
    return tracking
