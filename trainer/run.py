"""One run in one folder: started or resumed, trained, evaluated, exported.

RUN/ holds config.toml, advice.json, dataset.json, metrics.jsonl, events.jsonl, samples/sample-<k>.png,
checkpoints/ckpt-<samples>/, pipeline/, evaluation.json, evaluation/ and run.lock.
"""

from collections.abc import Mapping

import torch

from advisor import storage
from advisor.errors import DataError, Interrupted, NonFiniteError
from advisor.records import Advice, Note
from trainer.config import TrainConfig
from trainer.data import Pictures, Split
from trainer.evaluate import Evaluator
from trainer.folder import RunFolder, stored_advice
from trainer.health.monitor import Health
from trainer.health.stopping import early_stop
from trainer.journal import Journal
from trainer.latents import Pixels
from trainer.loop import Due, Stepper, train
from trainer.notes import note
from trainer.occasions import Observers, Occasions
from trainer.pipeline import export
from trainer.prepared import prepare
from trainer.reporting import PeakMemory, Reporter
from trainer.start import write_plan
from trainer.stop import StopRequest
from trainer.tracking import open_tracking

# Root mean square that data may have: pixels lie between -1 and 1, and latents are scaled to unit variance (Rombach
# et al., arXiv 2112.10752, appendix G); a scaling factor that is missing or applied twice shows as 5 or more.
LARGEST_PIXEL_RMS, LARGEST_LATENT_RMS = 1.0, 4.0


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
        """
        self._folder, self._config, self._observers = folder, config, observers
        self._device_name, self._shrink_on_oom, self._watch_health = device_name, shrink_on_oom, watch_health
        self._stop_early, self._track = stop_early, track
        self._memory = PeakMemory(torch.device(device))
        self._prepared = prepare(folder, config, pictures, split, torch.device(device), observers.on_note)
        self._state = self._prepared.state

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
            StorageError: if checkpoints cannot be written three times in a row.
        """
        if self._is_complete():
            self._observers.on_note(note("already_finished", path=str(self._folder.path)))
            return
        if self._track is None:
            self._execute(stop, Journal(self._folder.path, self._state.samples_seen))
            return
        tracking = open_tracking(self._track, self._folder.path, self._config, self._observers.on_note)
        try:
            self._execute(stop, Journal(self._folder.path, self._state.samples_seen, tracking))
        finally:
            tracking.close()

    def _is_complete(self) -> bool:
        """Whether all is there; a run that was stopped early is complete as long as that is what the user asks for."""
        outputs = (self._folder.pipeline, self._folder.evaluation)
        is_at_end = self._state.samples_seen >= self._config.samples or (self._stop_early and self._was_stopped_early())
        return is_at_end and all(path.exists() for path in outputs)

    def _was_stopped_early(self) -> bool:
        events = storage.read_json_lines(self._folder.events)
        stops = [event["samples"] for event in events if event["kind"] == "stopped_early"]
        return bool(stops) and stops[-1] == self._state.samples_seen

    # ---- from here to the end -------------------------------------------------------------------

    def _execute(self, stop: StopRequest, journal: Journal) -> None:
        run = self._prepared
        journal.event("resume" if run.is_resumed else "start", self._state.samples_seen)
        stepper = Stepper(self._state, run.training_data, self._config, shrink_on_oom=self._shrink_on_oom)
        health = self._health(journal) if self._watch_health else None
        occasions = self._occasions(stepper, journal, health)
        if run.is_resumed:
            self._observers.on_note(note("resumed", samples=self._state.samples_seen))
        for said in (*run.pictures.notes, *self._size_notes()):
            occasions.warn(said)
        self._require_good_data(health)
        try:
            with stop.deferred():
                train(stepper, self._state, self._config, self._due(occasions, health), stop)
        except (Interrupted, NonFiniteError) as error:
            kind = "interrupted" if isinstance(error, Interrupted) else "non_finite"
            if kind == "non_finite" and health is not None:
                health.non_finite()
            journal.event(kind, self._state.samples_seen, text=str(error))
            raise
        if self._state.samples_seen < self._config.samples:
            journal.event("stopped_early", self._state.samples_seen)
        self._finish(occasions, journal)

    def _due(self, occasions: Occasions, health: Health | None) -> Due:
        due = occasions.as_due()
        if self._stop_early:
            learning = health.learning if health is not None else None
            due.stop_reason = lambda: early_stop(
                self._config, learning, self._state.samples_seen, occasions.judged_reason_to_stop
            )
        return due

    def _require_good_data(self, health: Health | None) -> None:
        fatal = health.start() if health is not None else None
        if fatal is not None:
            raise DataError(f"{self._config.source}: {fatal.text}")

    def _size_notes(self) -> list[Note]:
        num_train, batch = len(self._prepared.split.train), self._config.effective_batch
        if num_train >= batch:
            return []
        return [note("batch_repeats", num_train=num_train, batch=batch, times=batch / num_train)]

    def _finish(self, occasions: Occasions, journal: Journal) -> None:
        occasions.validate()
        chosen = occasions.judge_in_full()
        export(self._folder.pipeline, chosen.model.cpu(), self._prepared.codec.vae, self._prepared.pictures.classes)
        state = self._state
        journal.event(
            "finished",
            state.samples_seen,
            elapsed_s=state.elapsed_s,
            step_s=state.elapsed_s * self._config.effective_batch / state.samples_seen,
            samples_per_s=state.samples_seen / state.elapsed_s,
            ema_width=occasions.ema_width,
            **self._memory.read(),
        )

    # ---- the parts ------------------------------------------------------------------------------

    def _health(self, journal: Journal) -> Health:
        """The run's health checks, with what earlier parts of the run have logged."""
        run = self._prepared

        def raise_alarm(said: Note) -> None:
            journal.event("alarm", self._state.samples_seen, text=said.text, id=said.id, values=said.values)
            self._observers.on_note(said)

        health = Health(
            self._config,
            self._state,
            run.training_data,
            run.held_out,
            names=[run.pictures.names[k] for k in run.split.train],
            largest_rms=LARGEST_PIXEL_RMS if isinstance(run.codec, Pixels) else LARGEST_LATENT_RMS,
            weights=run.first_weights,
            raise_alarm=raise_alarm,
        )
        health.recall(storage.read_json_lines(self._folder.metrics), storage.read_json_lines(self._folder.events))
        journal.event("baselines", self._state.samples_seen, **health.baselines())
        return health

    def _occasions(self, stepper: Stepper, journal: Journal, health: Health | None) -> Occasions:
        run = self._prepared
        return Occasions(
            self._folder,
            self._config,
            self._state,
            journal,
            self._observers,
            codec=run.codec,
            classes=run.pictures.classes,
            held_out=run.held_out,
            identity=run.identity,
            reporter=self._reporter(stepper, journal, health),
            evaluator=self._evaluator(),
            advice=stored_advice(self._folder),
            health=health,
        )

    def _reporter(self, stepper: Stepper, journal: Journal, health: Health | None) -> Reporter:
        return Reporter(
            self._config,
            self._state,
            stepper,
            journal,
            self._observers.on_progress,
            run_name=self._folder.path.name,
            device_name=self._device_name,
            num_train=len(self._prepared.split.train),
            memory=self._memory,
            health=health,
        )

    def _evaluator(self) -> Evaluator:
        run = self._prepared
        return Evaluator(
            self._folder,
            self._config,
            run.pictures,
            run.split,
            run.x_NCHW,
            run.codec,
            on_note=self._observers.on_note,
        )
