"""``RUN/evaluation.json``: read strictly, and written anew with every checkpoint that is judged."""

import dataclasses

from advisor import schema, storage
from advisor.errors import UsageError
from advisor.evaluation import CheckpointEvaluation, Evaluation, SamplingAdvice, Select
from trainer.checkpoint import list_checkpoints, samples_of
from trainer.folder import RunFolder
from trainer.judge.choice import choose
from trainer.judge.findings import findings


def read_evaluation(folder: RunFolder) -> Evaluation | None:
    """What is known of a run's checkpoints; ``None`` if nothing is.

    Raises:
        UsageError: if the file is damaged or of another version.
    """
    if not folder.evaluation.exists():
        return None
    plain = storage.require_json_object(folder.evaluation)
    try:
        return schema.from_plain(Evaluation, plain, where=str(folder.evaluation))
    except UsageError as error:
        raise UsageError(f"{error}; delete the file, and `cfgadvise evaluate` writes it anew") from None


class EvaluationFile:
    """What was found in a run's checkpoints, which of them to use, and what that means."""

    def __init__(self, folder: RunFolder, *, num_train: int, num_held_out: int, select: Select) -> None:
        self._folder, self._select = folder, select
        self._num_train, self._num_held_out = num_train, num_held_out

    def known(self) -> Evaluation | None:
        """What has been written down so far."""
        return read_evaluation(self._folder)

    def keep(self, found: CheckpointEvaluation, real_grid: str) -> None:
        """Take in what was found in one checkpoint; it replaces an earlier judgement of the same one.

        Args:
            found: the judgements.
            real_grid: path of a picture of training pictures in the run folder, to look at beside generated ones.
        """
        before = self.known()
        others = [one for one in (before.checkpoints if before else ()) if one.samples != found.samples]
        checkpoints = tuple(sorted([*others, found], key=lambda one: one.samples))
        self._write(checkpoints, before.sampling if before else None, real_grid)

    def advise(self, sampling: SamplingAdvice | None) -> None:
        """Take in which guidance and steps to sample with, if any checkpoint was judged."""
        known = self.known()
        if known is not None:
            self._write(known.checkpoints, sampling, known.real_grid)

    def _write(
        self,
        checkpoints: tuple[CheckpointEvaluation, ...],
        sampling: SamplingAdvice | None,
        real_grid: str | None,
    ) -> None:
        kept = {samples_of(path) for path in list_checkpoints(self._folder.checkpoints)}
        newest = checkpoints[-1].samples  # in training it is judged before it is saved
        choice = choose(checkpoints, self._select, kept={*kept, newest})
        is_current = sampling is not None and choice is not None and sampling.checkpoint_samples == choice.samples
        evaluation = Evaluation(
            num_train_items=self._num_train,
            num_held_out_items=self._num_held_out,
            checkpoints=checkpoints,
            choice=choice,
            sampling=sampling if is_current else None,
            real_grid=real_grid,
        )
        evaluation = dataclasses.replace(evaluation, findings=findings(evaluation))
        storage.write_atomically(self._folder.evaluation, schema.to_json(evaluation) + "\n")
