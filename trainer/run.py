"""One run in one folder: started or resumed, trained, evaluated, exported.

RUN/ holds config.toml, advice.json, dataset.json, metrics.jsonl, events.jsonl, samples/sample-<k>.png,
checkpoints/ckpt-<samples>/, pipeline/, evaluation.json, evaluation/ and run.lock.
"""

import json
from collections.abc import Mapping
from typing import Any

import torch

from advisor import schema, storage
from advisor.errors import DataError, Interrupted, NonFiniteError, UsageError
from advisor.records import Advice, Note
from trainer.checkpoint import load_newest
from trainer.config import TrainConfig, changed_fields, preset_named, to_toml, updated_toml
from trainer.data import Pictures, Split
from trainer.ema import Ema
from trainer.evaluate import Evaluator
from trainer.folder import RunFolder, stored_advice, stored_config
from trainer.health.monitor import Health, weight_sample
from trainer.health.stopping import early_stop
from trainer.journal import Journal
from trainer.latents import Codec, Pixels, encoded, load_codec
from trainer.loop import Due, Stepper, TrainingData, train
from trainer.model import build_model, make_optimizer
from trainer.notes import note
from trainer.occasions import Observers, Occasions
from trainer.pipeline import export
from trainer.reporting import PeakMemory, Reporter
from trainer.state import TrainState, read_identity
from trainer.stop import StopRequest
from trainer.tracking import open_tracking
from trainer.validation import ValidationSet, fixed_tuples

# Root mean square that data may have: pixels lie between -1 and 1, and latents are scaled to unit variance (Rombach
# et al., arXiv 2112.10752, appendix G); a scaling factor that is missing or applied twice shows as 5 or more.
LARGEST_PIXEL_RMS, LARGEST_LATENT_RMS = 1.0, 4.0
DATASET_SCHEMA = "cfgadvise.dataset/1"


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
        self._pictures, self._split = pictures, split
        self._device, self._device_name = torch.device(device), device_name
        self._shrink_on_oom, self._watch_health = shrink_on_oom, watch_health
        self._stop_early, self._track = stop_early, track
        self._memory = PeakMemory(self._device)
        self._codec: Codec = load_codec(config.vae, self._device)
        self._x_NCHW = encoded(self._pictures, self._codec, config.image_size, observers.on_note).to(self._device)
        self._label_N = torch.from_numpy(self._pictures.labels).to(self._device)
        self._shape = (self._x_NCHW.shape[1], self._x_NCHW.shape[2], self._x_NCHW.shape[3])
        self._state = self._new_state()
        self._first_weights = weight_sample(self._state)
        self._restored = self._restore()

    # ---- start or resume ------------------------------------------------------------------------

    def _new_state(self) -> TrainState:
        config = self._config
        model = build_model(
            preset_named(config.preset),
            self._shape,
            len(self._pictures.classes),
            seed=config.seed,
            device=self._device,
            gradient_checkpointing=config.gradient_checkpointing,
        )
        optimizer = make_optimizer(
            model, lr=config.lr, beta1=config.beta1, beta2=config.beta2, weight_decay=config.weight_decay
        )
        return TrainState(model, Ema(model, config.ema_half_lives_samples), optimizer, config.precision)

    def _restore(self) -> bool:
        found = load_newest(self._folder.checkpoints)
        if found is None:
            return False
        path, files = found
        self._require_same_run(read_identity(files, str(path)), str(path))
        self._state.load_files(files, str(path))
        return True

    def _require_same_run(self, identity: Mapping[str, Any], where: str) -> None:
        if identity.get("data_sha256") != self._pictures.sha256:
            raise DataError(
                f"{self._config.source}: the pictures are not those that {self._folder.path} was started with "
                f"({self._data_changes()}); restore them, or choose another --out"
            )
        before = schema.from_plain(TrainConfig, identity.get("config"), where=where)
        changed = changed_fields(before, self._config)
        if changed:
            raise UsageError(
                f"{self._folder.path} holds a run with another configuration: {'; '.join(changed)}. "
                "Use the old values to go on with it, or choose another --out"
            )

    def _data_changes(self) -> str:
        try:
            before = storage.require_json_object(self._folder.path / "dataset.json").get("files", {})
        except UsageError:
            return "their names or contents differ"
        now = dict(zip(self._pictures.names, self._pictures.digests, strict=True))
        added, removed = now.keys() - before.keys(), before.keys() - now.keys()
        altered = sum(before[name] != now[name] for name in now.keys() & before.keys())
        return f"{len(added)} added, {len(removed)} removed, {altered} changed"

    def write_plan(self, why: Mapping[str, str], advice: Advice | None) -> None:
        """Write down what will be done, before it is done; ``config.toml`` last, for it marks the start.

        Raises:
            StorageError: if the disk is full or not writable.
        """
        if not self._folder.has_started:
            storage.require_free_bytes(self._folder.path, 3 * self._checkpoint_bytes())
            if advice is not None:
                storage.write_atomically(self._folder.path / "advice.json", advice.to_json() + "\n")
        if not self._restored:
            storage.write_atomically(self._folder.path / "dataset.json", self._dataset_json())
        if not self._folder.has_started:
            storage.write_atomically(self._folder.config, to_toml(self._config, why))
        elif stored_config(self._folder) != self._config:
            text = self._folder.config.read_text(encoding="utf-8")
            storage.write_atomically(self._folder.config, updated_toml(text, self._config))

    def _checkpoint_bytes(self) -> int:
        """Weights, two averages and two optimizer moments."""
        num_bytes = sum(p.numel() * p.element_size() for p in self._state.model.parameters())
        return num_bytes * (3 + len(self._config.ema_half_lives_samples))

    def _dataset_json(self) -> str:
        pictures, chosen = self._pictures, self._split
        document = {
            "schema": DATASET_SCHEMA,
            "source": pictures.source,
            "sha256": pictures.sha256,
            "classes": list(pictures.classes),
            "num_train": len(chosen.train),
            "num_held_out": len(chosen.held_out),
            "held_out": [pictures.names[k] for k in chosen.held_out],
            "files": dict(zip(pictures.names, pictures.digests, strict=True)),
        }
        return json.dumps(document, indent=1, ensure_ascii=False)

    # ---- go -------------------------------------------------------------------------------------

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

    def _execute(self, stop: StopRequest, journal: Journal) -> None:
        journal.event("resume" if self._restored else "start", self._state.samples_seen)
        stepper = Stepper(self._state, self._training_data(), self._config, shrink_on_oom=self._shrink_on_oom)
        health = self._health(journal) if self._watch_health else None
        occasions = self._occasions(stepper, journal, health)
        if self._restored:
            self._observers.on_note(note("resumed", samples=self._state.samples_seen))
        for said in (*self._pictures.notes, *self._size_notes()):
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

    def _is_complete(self) -> bool:
        """Whether all is there; a run that was stopped early is complete as long as that is what the user asks for."""
        outputs = (self._folder.pipeline, self._folder.evaluation)
        is_at_end = self._state.samples_seen >= self._config.samples or (self._stop_early and self._was_stopped_early())
        return is_at_end and all(path.exists() for path in outputs)

    def _was_stopped_early(self) -> bool:
        events = storage.read_json_lines(self._folder.path / "events.jsonl")
        stops = [event["samples"] for event in events if event["kind"] == "stopped_early"]
        return bool(stops) and stops[-1] == self._state.samples_seen

    def _training_data(self) -> TrainingData:
        train_N = torch.from_numpy(self._split.train).to(self._device)
        return TrainingData(x_NCHW=self._x_NCHW[train_N], label_N=self._label_N[train_N])

    def _occasions(self, stepper: Stepper, journal: Journal, health: Health | None) -> Occasions:
        return Occasions(
            self._folder,
            self._config,
            self._state,
            journal,
            self._observers,
            codec=self._codec,
            classes=self._pictures.classes,
            held_out=self._held_out(),
            identity=self._identity(),
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
            num_train=len(self._split.train),
            memory=self._memory,
            health=health,
        )

    def _held_out(self) -> ValidationSet | None:
        held_N = torch.from_numpy(self._split.held_out).to(self._device)
        return fixed_tuples(self._x_NCHW[held_N], self._label_N[held_N], self._config.seed)

    def _health(self, journal: Journal) -> Health:
        """The run's health checks, with what earlier parts of the run have logged."""

        def raise_alarm(said: Note) -> None:
            journal.event("alarm", self._state.samples_seen, text=said.text, id=said.id, values=said.values)
            self._observers.on_note(said)

        health = Health(
            self._config,
            self._state,
            self._training_data(),
            self._held_out(),
            names=[self._pictures.names[k] for k in self._split.train],
            largest_rms=LARGEST_PIXEL_RMS if isinstance(self._codec, Pixels) else LARGEST_LATENT_RMS,
            weights=self._first_weights,
            raise_alarm=raise_alarm,
        )
        health.recall(
            storage.read_json_lines(self._folder.path / "metrics.jsonl"),
            storage.read_json_lines(self._folder.path / "events.jsonl"),
        )
        journal.event("baselines", self._state.samples_seen, **health.baselines())
        return health

    def _require_good_data(self, health: Health | None) -> None:
        fatal = health.start() if health is not None else None
        if fatal is not None:
            raise DataError(f"{self._config.source}: {fatal.text}")

    def _evaluator(self) -> Evaluator:
        return Evaluator(
            self._folder,
            self._config,
            self._pictures,
            self._split,
            self._x_NCHW,
            self._codec,
            on_note=self._observers.on_note,
        )

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint belongs to, and what is needed to use it without the data."""
        return {
            "config": schema.to_plain(self._config),
            "data_sha256": self._pictures.sha256,
            "classes": list(self._pictures.classes),
            "shape": list(self._shape),
        }

    def _size_notes(self) -> list[Note]:
        num_train, batch = len(self._split.train), self._config.effective_batch
        if num_train >= batch:
            return []
        return [note("batch_repeats", num_train=num_train, batch=batch, times=batch / num_train)]

    def _finish(self, occasions: Occasions, journal: Journal) -> None:
        occasions.validate()
        chosen = occasions.judge_in_full()
        export(self._folder.pipeline, chosen.model.cpu(), self._codec.vae, self._pictures.classes)
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
