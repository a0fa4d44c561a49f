"""A prepared run from wherever it stands to its end: its parts put together, then trained, judged, exported."""

from collections.abc import Mapping, Sequence
from typing import Any

from advisor import storage
from advisor.errors import DataError, Interrupted, NonFiniteError
from advisor.recommend.duration import at_the_end
from advisor.records import Note
from trainer.evaluate import Evaluator
from trainer.folder import stored_advice
from trainer.health.monitor import Health
from trainer.health.stopping import early_stop
from trainer.if_it_fits import IfItFits
from trainer.journal import Journal
from trainer.latents import Pixels
from trainer.loop import Due, Stepper, train
from trainer.notes import note
from trainer.occasions import Observers, Occasions
from trainer.oom import NoRoomError, Pieces
from trainer.pipeline import export
from trainer.prepared import Prepared
from trainer.remarks import Remarks
from trainer.reporting import PeakMemory, Reporter
from trainer.stop import StopRequest
from trainer.validation import ValidationSet

# Root mean square that data may have: pixels lie between -1 and 1, and latents are scaled to unit variance (Rombach
# et al., arXiv 2112.10752, appendix G); a scaling factor that is missing or applied twice shows as 5 or more.
LARGEST_PIXEL_RMS, LARGEST_LATENT_RMS = 1.0, 4.0


class Execution:
    """The rest of one run."""

    def __init__(
        self,
        run: Prepared,
        journal: Journal,
        observers: Observers,
        *,
        pieces: Pieces,
        memory: PeakMemory,
        device_name: str,
        watch_health: bool,
        stop_early: bool,
    ) -> None:
        """Put the parts together; the health checks compute their baselines.

        Args:
            run: what there is to work with.
            journal: where it is written down.
            observers: who is told.
            pieces: how much is done at once.
            memory: measured since before the run was prepared.
            device_name: for the screen.
            watch_health: whether to look for what is wrong.
            stop_early: whether to end before all samples were seen, if there is a reason.
        """
        self._run, self._journal, self._observers, self._memory = run, journal, observers, memory
        self._state, self._config, self._stop_early = run.state, run.config, stop_early
        self._remarks = Remarks(journal, run.state, observers.on_note)
        self._if_it_fits = IfItFits(pieces, self._remarks)
        self._stepper = Stepper(run.state, run.training_data, run.config, shrink_on_oom=pieces.may_shrink)
        logged = storage.read_json_lines(run.folder.metrics)
        self._health = self._health_checks(logged) if watch_health else None
        self._occasions = self._new_occasions(device_name)
        self._occasions.recall(logged)

    def go(self, stop: StopRequest, *, only_finish: bool) -> None:
        """Train, unless that is over, then judge and export.

        Raises:
            Interrupted: after a signal; progress is saved.
            NonFiniteError: if a loss or gradient is NaN or infinite.
            NoRoomError: if memory ran out and nothing could be made smaller or left out; progress is saved.
        """
        try:
            self._say_first()
            if not only_finish:
                self._train(stop)
            self._finish()
        except Interrupted as error:
            self._journal.event("interrupted", self._state.samples_seen, text=str(error))
            raise
        except NonFiniteError as error:
            if self._health is not None:
                self._health.non_finite()
            self._journal.event("non_finite", self._state.samples_seen, text=str(error))
            raise
        except NoRoomError as error:
            self._journal.event("out_of_memory", self._state.samples_seen, text=str(error))
            raise NoRoomError(f"{error}{self._saved()}") from None

    def _say_first(self) -> None:
        run = self._run
        if run.is_resumed:
            self._observers.on_note(note("resumed", samples=self._state.samples_seen))
        for said in (*run.pictures.notes, *self._size_notes()):
            self._remarks.warn(said)
        fatal = self._if_it_fits("checks_left_out", self._health.start) if self._health is not None else None
        if fatal is not None:
            raise DataError(f"{self._config.source}: {fatal.text}")

    def _size_notes(self) -> list[Note]:
        num_train, batch = len(self._run.split.train), self._config.effective_batch
        if num_train >= batch:
            return []
        return [note("batch_repeats", num_train=num_train, batch=batch, times=batch / num_train)]

    def _train(self, stop: StopRequest) -> None:
        with stop.deferred():
            train(self._stepper, self._state, self._config, self._due(), stop)
        if self._state.samples_seen < self._config.samples:
            self._journal.event("stopped_early", self._state.samples_seen)

    def _due(self) -> Due:
        due = self._occasions.as_due()
        if self._stop_early:
            learning = self._health.learning if self._health is not None else None
            due.stop_reason = lambda: early_stop(
                self._config, learning, self._state.samples_seen, self._occasions.judged_reason_to_stop
            )
        return due

    def _finish(self) -> None:
        run, state = self._run, self._state
        self._occasions.validate()
        chosen = self._occasions.judge_in_full()
        export(run.folder.pipeline, chosen.model.cpu(), run.codec.vae, run.pictures.classes)
        self._journal.event(
            "finished",
            state.samples_seen,
            elapsed_s=state.elapsed_s,
            step_s=state.elapsed_s * self._config.effective_batch / state.samples_seen,
            samples_per_s=state.samples_seen / state.elapsed_s,
            ema_width=self._occasions.ema_width,
            **self._memory.read(),
        )

    def _saved(self) -> str:
        """Save where memory ran out, for no weight has changed by it; says so."""
        samples = self._state.samples_seen
        if not samples:
            return ""
        self._occasions.checkpoint()
        return f". Saved at {samples} samples: the same command goes on from here"

    # ---- the parts ------------------------------------------------------------------------------

    def _health_checks(self, logged: Sequence[Mapping[str, Any]]) -> Health:
        """The run's health checks, with what earlier parts of the run have logged."""
        health = self._if_it_fits("baselines_left_out", lambda: self._new_health(self._run.held_out))
        health = health or self._new_health(None)
        health.recall(logged, storage.read_json_lines(self._run.folder.events))
        self._journal.event("baselines", self._state.samples_seen, **health.baselines())
        return health

    def _new_health(self, held_out: ValidationSet | None) -> Health:
        run = self._run
        return Health(
            run.config,
            run.state,
            run.training_data,
            held_out,
            names=[run.pictures.names[k] for k in run.split.train],
            largest_rms=LARGEST_PIXEL_RMS if isinstance(run.codec, Pixels) else LARGEST_LATENT_RMS,
            weights=run.first_weights,
            raise_alarm=self._remarks.alarm,
        )

    def _new_occasions(self, device_name: str) -> Occasions:
        run = self._run
        return Occasions(
            run.folder,
            run.config,
            run.state,
            self._journal,
            self._observers,
            codec=run.codec,
            classes=run.pictures.classes,
            held_out=run.held_out,
            identity=run.identity,
            remarks=self._remarks,
            if_it_fits=self._if_it_fits,
            reporter=self._new_reporter(device_name),
            evaluator=self._new_evaluator(),
            advice=stored_advice(run.folder),
            health=self._health,
        )

    def _new_reporter(self, device_name: str) -> Reporter:
        run, advice = self._run, stored_advice(self._run.folder)
        timed_here = advice is not None and advice.device.kind == run.state.model.device.type
        return Reporter(
            run.config,
            run.state,
            self._stepper,
            self._journal,
            self._observers.on_progress,
            run_name=run.folder.path.name,
            device_name=device_name,
            num_train=len(run.split.train),
            memory=self._memory,
            health=self._health,
            at_the_end_s=at_the_end(advice.occasions if advice is not None and timed_here else ()),
        )

    def _new_evaluator(self) -> Evaluator:
        run = self._run
        return Evaluator(
            run.folder,
            run.config,
            run.pictures,
            run.split,
            run.x_NCHW,
            run.codec,
            pieces=self._if_it_fits.pieces,
            on_note=self._observers.on_note,
        )
