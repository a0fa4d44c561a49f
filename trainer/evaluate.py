"""Judging the checkpoints of a run: generate, judge, choose, and keep ``evaluation.json``.

Training does it cheaply at milestones and at its end; ``cfgadvise evaluate`` does it in full.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from advisor import storage
from advisor.errors import DataError
from advisor.evaluation import CheckpointEvaluation, Evaluation, Judgement, Select
from advisor.records import Note
from trainer.amounts import (
    MAX_GRID_CLASSES,
    even,
    num_at_milestone,
    num_to_generate,
)
from trainer.config import TrainConfig
from trainer.data import Pictures, Split, load_pictures, split_pictures
from trainer.diffusion import Objective
from trainer.drawn import Drawing, DrawnPictures
from trainer.evaluation_file import EvaluationFile
from trainer.folder import RunFolder
from trainer.judge import sweep as sweeping
from trainer.judge.choice import stop_reason
from trainer.judge.judge import Judge
from trainer.judge.spaces import Encoder
from trainer.latents import Codec, encoded
from trainer.notes import note
from trainer.oom import Pieces
from trainer.sampling import draw_grid, grid_labels, png_bytes
from trainer.trained import TrainedModel
from trainer.validation import fixed_tuples, tuple_losses


class Evaluator:
    """Judges models of one run, and writes down what it finds after each."""

    def __init__(
        self,
        folder: RunFolder,
        config: TrainConfig,
        pictures: Pictures,
        split: Split,
        x_NCHW: torch.Tensor,
        codec: Codec,
        *,
        encoder: Encoder | None = None,
        select: Select = "kid",
        pieces: Pieces | None = None,
        on_note: Callable[[Note], None] = lambda _: None,
    ) -> None:
        """Nothing is computed before the first model is judged.

        Args:
            folder: the run.
            config: what it was trained with.
            pictures: its data.
            split: which of them were trained on.
            x_NCHW: the data as the network sees them.
            codec: makes pictures of what the network makes.
            encoder: features of a local network to judge in.
            select: by what the checkpoint to use is chosen.
            pieces: how many pictures are made at once.
            on_note: is told what is being done.
        """
        self._folder, self._config, self._codec = folder, config, codec
        self._pictures, self._split, self._x_NCHW = pictures, split, x_NCHW
        self._encoder, self._pieces, self._on_note = encoder, pieces or Pieces(), on_note
        self._file = EvaluationFile(folder, num_train=len(split.train), num_held_out=len(split.held_out), select=select)
        self._judge: Judge | None = None
        self._drawn = DrawnPictures()

    @property
    def num_at_milestone(self) -> int:
        """Pictures that are judged at each milestone."""
        config = self._config
        return num_at_milestone(config.samples, config.num_milestones, len(self._pictures.classes))

    @property
    def num_at_end(self) -> int:
        """Pictures that are judged at the end of training."""
        return num_to_generate(self._config.samples, len(self._pictures.classes))

    def _prepared(self) -> Judge:
        if self._judge is None:
            self._judge = Judge(self._pictures, self._split, self._x_NCHW, self._codec, encoder=self._encoder)
        return self._judge

    # ---- one checkpoint -------------------------------------------------------------------------

    def evaluate(
        self, model: Any, samples: int, *, counts: Sequence[tuple[float, int]], whole: bool = True
    ) -> CheckpointEvaluation:
        """Judge a model that has seen so many samples, and write that down.

        Args:
            model: with averaged weights.
            samples: that it had seen.
            counts: guidance scales, and how many pictures to make with each.
            whole: also train classifiers on the pictures made without guidance, which costs most.
        """
        self._on_note(note("judging", samples=samples))
        self._drawn.forget(samples)
        found = CheckpointEvaluation(
            samples=samples,
            judgements=tuple(
                self.judged(model, samples, guidance, self._config.sampling_steps, count, whole=whole, draws=True)
                for guidance, count in counts
            ),
            validation_losses=self._validation_losses(model),
        )
        self._file.keep(found, self._real_grid())
        self._drawn.forget_others(self.chosen_samples())
        return found

    def plan(self, num_plain: int, num_guided: int) -> list[tuple[float, int]]:
        """Pictures without guidance, and with the run's own if that is another."""
        plan = [(1.0, num_plain)]
        return plan if self._config.guidance == 1 else [*plan, (self._config.guidance, num_guided)]

    def judged(
        self,
        model: Any,
        samples: int,
        guidance: float,
        steps: int,
        count: int,
        *,
        whole: bool = False,
        draws: bool = False,
        seed: int | None = None,
    ) -> Judgement:
        """Make pictures and judge them, without writing that down.

        Args:
            model: with averaged weights.
            samples: that it had seen.
            guidance: the scale to make them with.
            steps: denoising steps.
            count: how many pictures, rounded to the same number of every class.
            whole: also train classifiers on them, if they are made without guidance.
            draws: write the sheet of the pairs that are closest to training pictures.
            seed: of the noise; else the run's, which is the same for every checkpoint.
        """
        label_N: NDArray[np.int64] = np.arange(even(count, len(self._pictures.classes))) % len(self._pictures.classes)
        drawing = Drawing(samples, guidance, steps, self._config.seed if seed is None else seed)
        x_NCHW = self._drawn.of(drawing, model, torch.from_numpy(label_N), self._pieces)
        judgement, sheet = self._prepared().judge(
            x_NCHW, label_N, guidance=guidance, sampling_steps=steps, whole=whole and guidance == 1
        )
        if sheet is None or judgement.copies is None or not draws:
            return judgement
        path = self._folder.evaluation_pictures / f"pairs-{samples}-{guidance:g}.png"
        storage.write_atomically(path, png_bytes(sheet))
        copies = dataclasses.replace(judgement.copies, sheet=f"{path.parent.name}/{path.name}")
        return dataclasses.replace(judgement, copies=copies)

    def _validation_losses(self, model: Any) -> tuple[float, ...]:
        device = next(model.parameters()).device
        held_N = torch.from_numpy(self._split.held_out).to(self._x_NCHW.device)
        label_N = torch.from_numpy(self._pictures.labels).to(self._x_NCHW.device)
        tuples = fixed_tuples(self._x_NCHW[held_N].to(device), label_N[held_N].to(device), self._config.seed)
        if tuples is None:
            return ()
        losses_V = tuple_losses(model, tuples, Objective(device, self._config.min_snr_gamma), self._pieces)
        return tuple(round(loss, 6) for loss in losses_V.tolist())

    def _real_grid(self) -> str:
        """Training pictures in the layout of a sample grid, to look at beside it."""
        path = self._folder.evaluation_pictures / "real.png"
        if not path.exists():
            classes = self._pictures.classes[:MAX_GRID_CLASSES]
            train, label_N = self._split.train, self._pictures.labels
            members = [train[label_N[train] == k] for k in range(len(classes))]
            num_rows = len(grid_labels(len(classes))) // len(classes)
            chosen = [one[row % len(one)] for row in range(num_rows) for one in members]
            storage.write_atomically(path, png_bytes(draw_grid(self._pictures.pixels[chosen], classes)))
        return f"{path.parent.name}/{path.name}"

    def known(self) -> Evaluation | None:
        """What has been written down so far."""
        return self._file.known()

    def chosen_samples(self) -> tuple[int, ...]:
        """The checkpoint that is best so far, which has to be kept; empty before any was judged."""
        known = self.known()
        return (known.choice.samples,) if known and known.choice else ()

    def stop_reason(self) -> Note | None:
        """Why training may stop now; ``None`` if it should go on."""
        known = self.known()
        return stop_reason(known.checkpoints, self._config.samples) if known else None

    def advise_sampling(self, model: Any, samples: int, num_generated: int) -> None:
        """Try guidance scales and numbers of steps with the chosen checkpoint, and write down what is best."""
        self._on_note(note("sweeping", samples=samples))

        def trial(guidance: float, steps: int) -> Judgement:
            return self.judged(model, samples, guidance, steps, num_generated)

        advised = sweeping.sweep(
            trial,
            guidance=self._config.guidance,
            sampling_steps=self._config.sampling_steps,
            checkpoint_samples=samples,
        )
        self._file.advise(advised)


def evaluator_of(
    folder: RunFolder,
    trained: TrainedModel,
    *,
    encoder: Encoder | None = None,
    select: Select = "kid",
    on_note: Callable[[Note], None] = lambda _: None,
) -> Evaluator:
    """The evaluator of a run that is not in memory: its pictures are read, split and encoded again.

    Raises:
        DataError: if the pictures are not those that the run was trained on.
    """
    config = trained.config
    pictures = load_pictures(config.source, config.image_size)
    if pictures.sha256 != trained.data_sha256:
        raise DataError(
            f"{config.source}: the pictures are not those that {folder.path} was trained on; restore them, or its "
            "figures would be of other data"
        )
    return Evaluator(
        folder,
        config,
        pictures,
        split_pictures(pictures.labels, config.held_out_frac, config.seed),
        encoded(pictures, trained.codec, config.image_size, on_note),
        trained.codec,
        encoder=encoder,
        select=select,
        on_note=on_note,
    )
