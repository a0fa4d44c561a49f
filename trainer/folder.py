"""A run folder: where things lie in it, who may write to it, and what it was started with."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from advisor import schema, storage
from advisor.errors import UsageError
from advisor.records import Advice
from trainer.config import TrainConfig, config_from
from trainer.config_file import read_values


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where everything of one run lies."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration; once it is there, the run has started."""
        return self.path / "config.toml"

    @property
    def advice(self) -> Path:
        """The advice that the run was started with, if there was one."""
        return self.path / "advice.json"

    @property
    def dataset(self) -> Path:
        """Names and digests of the pictures, and which are held out."""
        return self.path / "dataset.json"

    @property
    def metrics(self) -> Path:
        """Log of the run's numbers."""
        return self.path / "metrics.jsonl"

    @property
    def events(self) -> Path:
        """Log of what happened."""
        return self.path / "events.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """Folder of sample grids, one for each milestone."""
        return self.path / "samples"

    @property
    def pipeline(self) -> Path:
        """The exported model in diffusers' layout."""
        return self.path / "pipeline"

    @property
    def evaluation(self) -> Path:
        """What was found in the generated pictures, checkpoint by checkpoint."""
        return self.path / "evaluation.json"

    @property
    def evaluation_pictures(self) -> Path:
        """Sheets of closest pairs, and real pictures to compare with."""
        return self.path / "evaluation"

    @property
    def has_started(self) -> bool:
        """Whether there is a run to go on with."""
        return self.config.exists()


@contextlib.contextmanager
def open_run(path: Path) -> Iterator[RunFolder]:
    """Make, prove writable and lock a run folder; leaves no trace if nothing was started in it.

    Raises:
        StorageError: if it is not writable or another process holds it.
    """
    existed = path.exists()
    storage.require_writable(path)
    folder = RunFolder(path)
    try:
        with storage.RunLock(path):
            for place in (path, folder.checkpoints, folder.samples):
                storage.remove_leftovers(place)
            yield folder
    finally:
        if not existed and not folder.has_started:
            with contextlib.suppress(OSError):
                (path / "run.lock").unlink()
                path.rmdir()


def stored_advice(folder: RunFolder) -> Advice | None:
    """The advice that the run was started with; ``None`` if there was none, or it cannot be read any more."""
    try:
        text = folder.advice.read_text(encoding="utf-8")
        return schema.from_json(Advice, text, where="advice.json")
    except (OSError, UnicodeDecodeError, UsageError):
        return None  # a run needs no advice to go on


def stored_config(folder: RunFolder) -> TrainConfig:
    """The configuration that the run in this folder was started with.

    Raises:
        UsageError: if ``config.toml`` was edited into something invalid.
    """
    return config_from(read_values(folder.config), where=str(folder.config))
