"""One run in one folder: started or resumed, trained, evaluated, exported.

RUN/ holds config.toml, advice.json, dataset.json, metrics.jsonl, events.jsonl, samples/sample-<k>.png,
checkpoints/ckpt-<samples>/, pipeline/, evaluation.json, evaluation/ and run.lock.
"""

import contextlib
from collections.abc import Mapping

import torch

from advisor import storage
from advisor.records import Advice
from trainer.config import TrainConfig
from trainer.data import Pictures, Split
from trainer.execution import Execution
from trainer.folder import RunFolder
from trainer.health.stopping import was_stopped_early
from trainer.journal import Journal, has_finished
from trainer.notes import note
from trainer.occasions import Observers
from trainer.oom import Pieces, or_no_room
from trainer.prepared import prepare
from trainer.reporting import PeakMemory
from trainer.start import write_plan
from trainer.stop import StopRequest
from trainer.tracking import Tracking, tracked


class Run:
    """A run that is ready to go: its data are encoded, its newest checkpoint is loaded."""

    def __init__(
        self,
        folder: RunFolder,
        config: TrainConfig,
        pictures: Pictures,
        split: Split,
        device: torch.device | str,
        observers: Observers,
        *,
        device_name: str,
        shrink_on_oom: bool = True,
        watch_health: bool = True,
        stop_early: bool = False,
        track: str | None = None,
    ) -> None:
        """Build everything; writes nothing but the latent cache.

        Raises:
            DataError: if the data are not those that the run in this folder was started with.
            UsageError: if the configuration would make it another run.
            CheckpointError: if there are checkpoints and none is good.
            NoRoomError: if there is no memory for the data and the network.
        """
        self._folder, self._config, self._observers = folder, config, observers
        self._device_name, self._watch_health = device_name, watch_health
        self._stop_early, self._track = stop_early, track
        self._memory = PeakMemory(torch.device(device))
        self._pieces = Pieces(may_shrink=shrink_on_oom)
        with or_no_room():
            self._prepared = prepare(
                folder, config, pictures, split, torch.device(device), self._pieces, observers.on_note
            )

    def write_plan(self, why: Mapping[str, str], advice: Advice | None) -> None:
        """Write down what will be done, with the reasons for its values, before it is done.

        Raises:
            StorageError: if the disk is full or not writable.
        """
        write_plan(self._prepared, why, advice)

    def execute(self, stop: StopRequest) -> None:
        """Train to the end from wherever the run stands, then evaluate and export.

        Raises:
            Interrupted: after a signal; progress is saved.
            NonFiniteError: if a loss or gradient is NaN or infinite.
            NoRoomError: if memory ran out and nothing could be made smaller or left out.
            StorageError: if checkpoints cannot be written three times in a row.
        """
        samples_seen = self._prepared.state.samples_seen
        events = storage.read_json_lines(self._folder.events)
        has_ended = self._stop_early and was_stopped_early(events, samples_seen)
        if self._is_complete(has_ended or samples_seen >= self._config.samples, has_finished(events, samples_seen)):
            self._observers.on_note(note("already_finished", path=str(self._folder.path)))
            return
        with self._tracking() as tracking, or_no_room():
            journal = Journal(self._folder.path, samples_seen, tracking)
            journal.event("resume" if self._prepared.is_resumed else "start", samples_seen)
            self._execution(journal).go(stop, only_finish=has_ended)

    def _is_complete(self, is_at_end: bool, has_finished: bool) -> bool:
        """Whether all is there; what an earlier end left of a run that went on after it does not count."""
        return is_at_end and has_finished and self._folder.pipeline.exists() and self._folder.evaluation.exists()

    def _tracking(self) -> contextlib.AbstractContextManager[Tracking | None]:
        if self._track is None:
            return contextlib.nullcontext()
        return tracked(self._track, self._folder.path, self._config, self._observers.on_note)

    def _execution(self, journal: Journal) -> Execution:
        return Execution(
            self._prepared,
            journal,
            self._observers,
            pieces=self._pieces,
            memory=self._memory,
            device_name=self._device_name,
            watch_health=self._watch_health,
            stop_early=self._stop_early,
        )
