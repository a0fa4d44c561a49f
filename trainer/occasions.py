"""What a run does between two steps: report, validate, draw samples, save.

None of it touches the draws or the weights that are trained, so none of it changes the run.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advisor import storage
from advisor.errors import StorageError
from advisor.records import Advice, Note, Progress
from trainer.amounts import MAX_AT_MILESTONE, MAX_GRID_CLASSES
from trainer.checkpoint import save_checkpoint
from trainer.config import TrainConfig
from trainer.diffusion import Objective
from trainer.evaluate import Evaluator
from trainer.folder import RunFolder
from trainer.health.errors import null_errors, validate
from trainer.health.monitor import Health
from trainer.if_it_fits import IfItFits
from trainer.journal import Journal
from trainer.judge.choice import copying
from trainer.latents import Codec
from trainer.loop import Due
from trainer.noise import NoiseReport
from trainer.notes import note
from trainer.remarks import Remarks
from trainer.reporting import Reporter
from trainer.sampling import draw_grid, generate, grid_labels, png_bytes
from trainer.state import TrainState
from trainer.trained import TrainedModel, load_trained
from trainer.validation import ValidationSet

_MAX_FAILED_SAVES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Observers:
    """Who is told what while a run goes on."""

    on_progress: Callable[[Progress], None]
    on_note: Callable[[Note], None]


class Occasions:
    """The actions that :func:`trainer.loop.train` calls when they are due.

    ``averaged`` is a second model that holds the averaged weights for validation and sampling.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: TrainConfig,
        state: TrainState,
        journal: Journal,
        observers: Observers,
        *,
        codec: Codec,
        classes: tuple[str, ...],
        held_out: ValidationSet | None,
        identity: Mapping[str, Any],
        remarks: Remarks,
        if_it_fits: IfItFits,
        reporter: Reporter,
        evaluator: Evaluator,
        advice: Advice | None = None,
        health: Health | None = None,
    ) -> None:
        self._folder, self._config, self._state = folder, config, state
        self._journal, self._observers, self._codec = journal, observers, codec
        self._classes, self._held_out, self._identity = classes, held_out, identity
        self._remarks, self._if_it_fits = remarks, if_it_fits
        self._report, self._evaluator = reporter, evaluator
        self._objective = Objective(state.model.device, config.min_snr_gamma)
        self._averaged = copy.deepcopy(state.model).eval().requires_grad_(False)
        self._noise = NoiseReport(config, advice, journal, observers.on_note)
        self._health = health
        self._validation_loss: float | None = None
        self._validated_at = -1
        self._failed_saves = 0
        self.ema_width = 0

    def recall(self, metrics: Sequence[Mapping[str, Any]]) -> None:
        """Take over the last validation that an earlier part of the run has logged."""
        last = next((entry for entry in reversed(metrics) if entry["kind"] == "validation"), None)
        if last is not None:
            self._validated_at, self._validation_loss = int(last["samples"]), last["loss"]
            self.ema_width = int(last.get("ema_width", 0))

    def as_due(self) -> Due:
        """The actions in the form that the loop takes."""
        return Due(
            validate=self.validate,
            milestone=self.milestone,
            checkpoint=self.checkpoint,
            report=lambda window: self._report(window, self._validation_loss),
            note=self._remarks.warn,
            noise=lambda found: self._noise(self._state.samples_seen, found),
            stepped=self._health.stepped if self._health is not None else lambda _: None,
        )

    def judged_reason_to_stop(self) -> Note | None:
        """What the generated pictures of the milestones say against training on."""
        return self._evaluator.stop_reason()

    def averaged_model(self) -> Any:
        """The model with the better of the averages, as of the last validation."""
        self._state.ema.copy_to(self._averaged, self.ema_width)
        return self._averaged

    def validate(self) -> None:
        """Find out which average does better on the held-out pictures."""
        held_out = self._held_out
        if held_out is not None and self._validated_at != self._state.samples_seen:
            self._if_it_fits("validation_left_out", lambda: self._validate(held_out))

    def _validate(self, held_out: ValidationSet) -> None:
        state, pieces = self._state, self._if_it_fits.pieces
        found = validate(self._averaged, state.ema, held_out, self._objective, pieces)
        self._validated_at, self.ema_width = state.samples_seen, found.width
        self._validation_loss = found.losses[found.width]
        if self._health is not None:
            self._health.validated(
                state.samples_seen, found, lambda: null_errors(self._averaged, held_out, self._objective, pieces)
            )
        self._journal.metric(
            "validation",
            state.samples_seen,
            step=state.samples_seen // self._config.effective_batch,
            loss=self._validation_loss,
            ema_losses=found.losses,
            ema_width=self.ema_width,
            **(self._health.fields() if self._health is not None else {}),
        )

    def milestone(self, k: int) -> None:
        """Draw a grid of samples and, before the end, judge a few where that is affordable."""
        self._if_it_fits("grid_left_out", lambda: self._draw(k))
        num_generated = self._evaluator.num_at_milestone
        if num_generated and self._state.samples_seen < self._config.samples:
            self._if_it_fits("judgement_left_out", lambda: self._judge(num_generated))

    def _draw(self, k: int) -> None:
        """One grid with a column for each class; the same noise at every milestone, to compare them."""
        classes = self._classes[:MAX_GRID_CLASSES]
        x_NCHW = generate(
            self.averaged_model(),
            grid_labels(len(classes)),
            seed=self._config.seed,
            num_steps=self._config.sampling_steps,
            guidance=self._config.guidance,
            pieces=self._if_it_fits.pieces,
        )
        path = self._folder.samples / f"sample-{k}.png"
        storage.write_atomically(path, png_bytes(draw_grid(self._codec.decode(x_NCHW), classes)))
        self._journal.event("sample", self._state.samples_seen, path=f"samples/{path.name}", milestone=k)
        self._observers.on_note(note("samples_drawn", samples=self._state.samples_seen, path=str(path)))
        health = self._health
        if health is not None:
            self._if_it_fits("checks_left_out", lambda: health.sampled(self._state.samples_seen, x_NCHW))

    def _judge(self, num_generated: int) -> None:
        """Look for copies and the like in a few pictures; at the end it is done in full."""
        found = self._evaluator.evaluate(
            self.averaged_model(), self._state.samples_seen, counts=[(1.0, num_generated)], whole=False
        )
        said = copying(found.plain)
        if said is not None:
            self._remarks.warn(said)

    def judge_in_full(self) -> TrainedModel:
        """Judge the end of the run with and without guidance and by classifiers; returns the checkpoint to use.

        An earlier one that a milestone's few pictures speak for is judged in full, too, before it is taken.
        """
        self._judge_whole(self.averaged_model(), self._state.samples_seen)
        chosen = load_trained(self._folder, "best", "cpu")  # on the device there may be no room for another
        if chosen.samples_seen != self._state.samples_seen:
            self._judge_whole(chosen.model, chosen.samples_seen)
            chosen = load_trained(self._folder, "best", "cpu")
        return chosen

    def _judge_whole(self, model: Any, samples: int) -> None:
        evaluator = self._evaluator
        plan = evaluator.plan(evaluator.num_at_end, min(MAX_AT_MILESTONE, evaluator.num_at_end))
        device = self._state.model.device
        self._if_it_fits("judgement_left_out", lambda: evaluator.evaluate(model.to(device), samples, counts=plan))

    def checkpoint(self) -> None:
        """Save; a full disk is survived twice, since the next attempt may find room."""
        try:
            files = self._state.to_files({**self._identity, "ema_width": self.ema_width})
            path = save_checkpoint(
                self._folder.checkpoints,
                self._state.samples_seen,
                files,
                self._config.keep_checkpoints,
                also_keep=self._evaluator.chosen_samples(),
            )
        except StorageError as error:
            self._failed_saves += 1
            if self._failed_saves >= _MAX_FAILED_SAVES:
                raise
            self._remarks.warn(note("save_failed", samples=self._state.samples_seen, problem=str(error)))
            return
        self._failed_saves = 0
        self._journal.event("checkpoint", self._state.samples_seen, path=f"checkpoints/{path.name}")
