"""One run in one folder: opened and locked, started or resumed, trained, evaluated, exported.

    RUN/config.toml advice.json dataset.json metrics.jsonl events.jsonl samples/sample-<k>.png
        checkpoints/ckpt-<samples>/ pipeline/ evaluation.json run.lock
"""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from advisor import schema, storage
from advisor.errors import DataError, Interrupted, NonFiniteError, StorageError, UsageError
from advisor.records import Advice, Evaluation, Progress
from trainer.checkpoint import load_newest, save_checkpoint
from trainer.config import TrainConfig, changed_fields, preset_named, to_toml
from trainer.data import Pictures, Split, load_pictures, split
from trainer.diffusion import Objective
from trainer.ema import Ema
from trainer.evaluate import evaluate, num_to_generate
from trainer.folder import RunFolder
from trainer.journal import Journal, RemainingTime
from trainer.latents import Codec, encoded, load_codec
from trainer.loop import Due, Stepper, TrainingData, Window, train
from trainer.model import build_model, make_optimizer
from trainer.pipeline import export
from trainer.sampling import draw_grid, generate, grid_labels, png_bytes
from trainer.state import TrainState, read_identity
from trainer.stop import StopRequest
from trainer.validation import best_ema_width, fixed_tuples

DATASET_SCHEMA = "cfgadvise.dataset/1"
_MAX_FAILED_SAVES = 3
_GRID_ROWS = 8
_GRID_CLASSES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Observers:
    """Who is told what while a run goes on."""

    on_progress: Callable[[Progress], None]
    on_note: Callable[[str], None]


def load_data(config: TrainConfig) -> tuple[Pictures, Split]:
    """Decode all pictures and split them.

    Raises:
        DataError: naming every file that cannot be read.
    """
    pictures = load_pictures(config.source, config.image_size)
    return pictures, split(pictures.labels, config.held_out_frac, config.seed)


class Run:
    """A run that is ready to go: its data are encoded, its newest checkpoint is loaded."""

    def __init__(
        self,
        folder: RunFolder,
        config: TrainConfig,
        data: tuple[Pictures, Split],
        device: torch.device | str,
        observers: Observers,
        *,
        device_name: str,
        shrink_on_oom: bool = True,
    ) -> None:
        """Build everything; writes nothing but the latent cache.

        Raises:
            DataError: if the data are not those that the run in this folder was started with.
            UsageError: if the configuration would make it another run.
            CheckpointError: if there are checkpoints and none is good.
        """
        self.folder, self.config, self._observers = folder, config, observers
        self._pictures, self._split = data
        self._device, self._device_name = torch.device(device), device_name
        self._rss_before_bytes = psutil.Process().memory_info().rss
        self._peak_rss_bytes = self._rss_before_bytes
        self._codec: Codec = load_codec(config.vae, self._device)
        x_NCHW = encoded(self._pictures, self._codec, config.image_size, observers.on_note).to(self._device)
        labels = torch.from_numpy(self._pictures.labels).to(self._device)
        train_N = torch.from_numpy(self._split.train).to(self._device)
        held_N = torch.from_numpy(self._split.held_out).to(self._device)
        self._shape = (x_NCHW.shape[1], x_NCHW.shape[2], x_NCHW.shape[3])
        self._held_out = fixed_tuples(x_NCHW[held_N], labels[held_N], config.seed)
        self.state = self._new_state()
        self._restored = self._restore()
        self._scratch = copy.deepcopy(self.state.model).eval().requires_grad_(False)
        self._objective = Objective(self._device, config.min_snr_gamma)
        self._stepper = Stepper(
            self.state,
            TrainingData(x_NCHW=x_NCHW[train_N], label_N=labels[train_N]),
            config,
            shrink_on_oom=shrink_on_oom,
        )
        self._ema_width, self._validation_loss = 0, None
        self._failed_saves = 0

    # ---- start or resume ------------------------------------------------------------------------

    def _new_state(self) -> TrainState:
        config = self.config
        model = build_model(preset_named(config.preset), self._shape, len(self._pictures.classes), config.seed)
        model.to(self._device)
        optimizer = make_optimizer(
            model, lr=config.lr, beta1=config.beta1, beta2=config.beta2, weight_decay=config.weight_decay
        )
        return TrainState(model, Ema(model, config.ema_half_lives_samples), optimizer)

    def _restore(self) -> Path | None:
        found = load_newest(self.folder.checkpoints)
        if found is None:
            return None
        path, files = found
        identity = read_identity(files, str(path))
        self._require_same_run(identity, str(path))
        self.state.load_files(files, str(path))
        return path

    def _require_same_run(self, identity: Mapping[str, Any], where: str) -> None:
        if identity.get("data_sha256") != self._pictures.sha256:
            raise DataError(
                f"{self.config.source}: the pictures are not those that {self.folder.path} was started with "
                f"({self._data_changes()}); restore them, or choose another --out"
            )
        before = schema.from_plain(TrainConfig, identity.get("config"), where=where)
        changed = changed_fields(before, self.config)
        if changed:
            raise UsageError(
                f"{self.folder.path} holds a run with another configuration: {'; '.join(changed)}. "
                "Use the old values to go on with it, or choose another --out"
            )

    def _data_changes(self) -> str:
        try:
            before = storage.require_json_object(self.folder.path / "dataset.json").get("files", {})
        except UsageError:
            return "their names or contents differ"
        now = dict(zip(self._pictures.names, self._pictures.digests, strict=True))
        added, removed = now.keys() - before.keys(), before.keys() - now.keys()
        altered = sum(before[name] != now[name] for name in now.keys() & before.keys())
        return f"{len(added)} added, {len(removed)} removed, {altered} changed"

    def write_plan(self, why: Mapping[str, str], advice: Advice | None) -> None:
        """Write down what will be done, before it is done.

        Raises:
            StorageError: if the disk is full or not writable.
        """
        if self._restored is not None:
            return
        storage.write_atomically(self.folder.path / "dataset.json", self._dataset_json())
        if advice is not None:
            storage.write_atomically(self.folder.path / "advice.json", advice.to_json() + "\n")
        storage.write_atomically(self.folder.config, to_toml(self.config, why))

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

    # ---- go ---------------------------------------------------------------------------------------

    def execute(self, stop: StopRequest) -> None:
        """Train to the end from wherever the run stands, then evaluate and export.

        Raises:
            Interrupted: after a signal; progress is saved.
            NonFiniteError: if a loss or gradient is NaN or infinite.
            StorageError: if checkpoints cannot be written three times in a row.
        """
        if self._is_complete():
            self._observers.on_note(f"{self.folder.path} is finished; for another run choose another --out")
            return
        self._journal = Journal(self.folder.path, self.state.samples_seen)
        self._remaining = RemainingTime(self.state.samples_seen)
        self._journal.event("resume" if self._restored else "start", self.state.samples_seen)
        for note in self._pictures.notes:
            self._warn(note.text)
        self._warn_about_size()
        due = Due(
            validate=self._validate,
            milestone=self._milestone,
            checkpoint=self._checkpoint,
            report=self._report,
            note=self._warn,
        )
        try:
            with stop.deferred():
                train(self._stepper, self.state, self.config, due, stop)
        except (Interrupted, NonFiniteError) as error:
            kind = "interrupted" if isinstance(error, Interrupted) else "non_finite"
            self._journal.event(kind, self.state.samples_seen, text=str(error))
            raise
        self._finish()

    def _is_complete(self) -> bool:
        outputs = (self.folder.pipeline, self.folder.path / "evaluation.json")
        return self.state.samples_seen >= self.config.samples and all(path.exists() for path in outputs)

    def _warn_about_size(self) -> None:
        num_train, batch = len(self._split.train), self.config.effective_batch
        if num_train < batch:
            self._warn(f"{num_train} training pictures, batch {batch}: every batch repeats each about {batch / num_train:.1f} times")

    def _finish(self) -> None:
        self._validate()
        evaluation = self._evaluate()
        storage.write_atomically(self.folder.path / "evaluation.json", schema.to_json(evaluation) + "\n")
        self.state.ema.copy_to(self._scratch, self._ema_width)
        export(self.folder.pipeline, copy.deepcopy(self._scratch).cpu(), self._codec.vae, self._pictures.classes)
        batch = self.config.effective_batch
        self._journal.event(
            "finished",
            self.state.samples_seen,
            elapsed_s=self.state.elapsed_s,
            step_s=self.state.elapsed_s * batch / self.state.samples_seen,
            samples_per_s=self.state.samples_seen / self.state.elapsed_s,
            ema_width=self._ema_width,
            **self._peaks(),
        )

    def _evaluate(self) -> Evaluation:
        self.state.ema.copy_to(self._scratch, self._ema_width)
        return evaluate(
            self._scratch,
            self._codec,
            self._pictures,
            self._split,
            num_generated=num_to_generate(self.config.samples, len(self._pictures.classes)),
            num_steps=self.config.sampling_steps,
            seed=self.config.seed,
            checkpoint_samples=self.state.samples_seen,
            on_progress=self._observers.on_note,
        )

    # ---- what is done between two steps --------------------------------------------------------------

    def _report(self, window: Window) -> None:
        state, config = self.state, self.config
        self._peak_rss_bytes = max(self._peak_rss_bytes, psutil.Process().memory_info().rss)
        samples_per_s = config.effective_batch / window.step_s
        self._journal.metric(
            "train",
            state.samples_seen,
            step=state.samples_seen // config.effective_batch,
            epoch=self._epoch(),
            loss=window.loss,
            lr=window.lr,
            grad_norm=window.grad_norm,
            samples_per_s=samples_per_s,
            step_s=window.step_s,
            elapsed_s=state.elapsed_s,
            **self._peaks(),
        )
        self._observers.on_progress(self._progress(window, samples_per_s))

    def _progress(self, window: Window, samples_per_s: float) -> Progress:
        state, config = self.state, self.config
        every = config.samples / config.num_milestones
        reached = min(config.num_milestones, int(state.samples_seen / every + 1e-9) + 1)
        return Progress(
            run_name=self.folder.path.name,
            device_name=self._device_name,
            micro_batch=self._stepper.micro_batch,
            accumulation=-(-config.effective_batch // self._stepper.micro_batch),
            samples=state.samples_seen,
            total_samples=config.samples,
            step=state.samples_seen // config.effective_batch,
            total_steps=config.num_steps,
            epoch=self._epoch(),
            loss=window.loss,
            validation_loss=self._validation_loss,
            lr=window.lr,
            samples_per_s=samples_per_s,
            elapsed_s=state.elapsed_s,
            remaining_s=self._remaining.update(state.samples_seen, config.samples),
            peak_reserved_bytes=self._peaks()["peak_reserved_bytes"],
            next_milestone_samples=round(reached * every) if state.samples_seen < config.samples else None,
        )

    def _epoch(self) -> float:
        return round(self.state.samples_seen / len(self._split.train), 4)

    def _peaks(self) -> dict[str, int | None]:
        """Peak bytes of this process: the allocator's on CUDA, growth of the resident set on a CPU."""
        if self._device.type == "cuda":
            return {
                "peak_allocated_bytes": torch.cuda.max_memory_allocated(self._device),
                "peak_reserved_bytes": torch.cuda.max_memory_reserved(self._device),
            }
        return {"peak_allocated_bytes": None, "peak_reserved_bytes": self._peak_rss_bytes - self._rss_before_bytes}

    def _validate(self) -> None:
        if self._held_out is None:
            return
        self._ema_width, losses = best_ema_width(self._scratch, self.state.ema, self._held_out, self._objective)
        self._validation_loss = losses[self._ema_width]
        self._journal.metric(
            "validation",
            self.state.samples_seen,
            step=self.state.samples_seen // self.config.effective_batch,
            loss=self._validation_loss,
            ema_losses=losses,
            ema_width=self._ema_width,
        )

    def _milestone(self, k: int) -> None:
        """One grid with a column for each class; the same noise at every milestone, to compare them."""
        classes = self._pictures.classes[:_GRID_CLASSES]
        self.state.ema.copy_to(self._scratch, self._ema_width)
        x_NCHW = generate(
            self._scratch,
            grid_labels(len(classes), _GRID_ROWS),
            seed=self.config.seed,
            num_steps=self.config.sampling_steps,
            guidance=self.config.guidance,
        )
        path = self.folder.path / "samples" / f"sample-{k}.png"
        storage.write_atomically(path, png_bytes(draw_grid(self._codec.decode(x_NCHW), classes)))
        self._journal.event("sample", self.state.samples_seen, path=f"samples/{path.name}", milestone=k)
        self._observers.on_note(f"samples at {self.state.samples_seen} pictures seen: {path}")

    def _checkpoint(self) -> None:
        """Save; a full disk is survived twice, since the next attempt may find room."""
        identity = {
            "config": schema.to_plain(self.config),
            "data_sha256": self._pictures.sha256,
            "classes": list(self._pictures.classes),
            "shape": list(self._shape),
            "ema_width": self._ema_width,
        }
        try:
            files = self.state.to_files(identity)
            path = save_checkpoint(
                self.folder.checkpoints, self.state.samples_seen, files, self.config.keep_checkpoints
            )
        except StorageError as error:
            self._failed_saves += 1
            if self._failed_saves >= _MAX_FAILED_SAVES:
                raise
            self._warn(f"no checkpoint at {self.state.samples_seen} samples: {error}")
            return
        self._failed_saves = 0
        self._journal.event("checkpoint", self.state.samples_seen, path=f"checkpoints/{path.name}")

    def _warn(self, text: str) -> None:
        self._journal.event("warning", self.state.samples_seen, text=text)
        self._observers.on_note(text)
