"""What ``RUN/evaluation.json`` holds: figures of generated items, each beside that of real ones.

Every figure is a :class:`~advisor.records.Claim` whose source says how its interval came about. Items
were seen by training or *held out* from it; a *checkpoint* is named by the samples that it had seen.
"""

from typing import Literal

from advisor.records import Claim, Note, record

Apart = Literal["apart", "partly", "alike", "unjudged"]
Select = Literal["kid", "classifier"]


@record
class Compared:
    """A figure of generated items, and the same figure of real items as its control."""

    generated: Claim
    real: Claim


@record
class Copies:
    """Share of items whose nearest training item is less than a third as far as the second nearest.

    The control is the same share among held-out items. ``sheet`` is a picture of the closest pairs, by
    its path in the run folder.
    """

    num_train_items: int
    in_pca: Compared
    in_pixels: Compared
    sheet: str | None = None


@record
class Likeness:
    """How near the generated items are, as a set, to the real ones.

    ``kid_floor`` is the distance of the training items from those held out: what a perfect model would
    reach. A distance to the training items below the floor means that they were memorised. The control
    of ``precision``, ``recall`` and ``coverage`` is a draw of as many training items. ``diversity`` is
    the mean distance of two items of a class, relative to that of real ones.

    ``kid_halves`` are the values of ``kid_held_out`` on halves of the items, the same ones wherever there are as many,
    so that two checkpoints or settings can be compared pair by pair.
    """

    features: str
    kid_held_out: Claim
    kid_train: Claim
    kid_floor: Claim
    precision: Compared
    recall: Compared
    coverage: Compared
    diversity: Claim
    narrowest_class: str | None
    kid_halves: tuple[float, ...] = ()


@record
class Confusion:
    """Which class was taken for which other one, and in what share of its items."""

    asked: str
    judged: str
    share_frac: float


@record
class Separability:
    """Whether a classifier that was trained on real items recognises the class of the generated ones.

    The control is its accuracy on held-out real items; ``chance`` is what guessing would reach.
    """

    classifier: str
    accuracy: Compared
    chance: float
    confusions: tuple[Confusion, ...] = ()

    @property
    def verdict(self) -> Apart:
        """``apart`` as well as real ones, ``partly``, ``alike`` (as if guessed), or ``unjudged``.

        A classifier that cannot tell real classes apart does not judge.
        """
        generated, real = self.accuracy.generated, self.accuracy.real
        if generated.low is None or generated.high is None or real.low is None or real.low <= self.chance:
            return "unjudged"
        if generated.low <= self.chance:
            return "alike"
        return "apart" if generated.high >= real.low else "partly"


@record
class ClassifierAccuracy:
    """Accuracy on held-out real items of one classifier, by what it was trained on (0 to 1).

    ``gain`` is the accuracy on both kinds less that on real ones, paired item by item.
    """

    classifier: str
    num_test_items: int
    real_only: Claim
    synthetic_only: Claim
    real_and_synthetic: Claim
    gain: Claim


@record
class Judgement:
    """What was found in one set of generated items; ``None`` where there was too little to judge by."""

    guidance: float
    sampling_steps: int
    num_generated: int
    copies: Copies | None
    likeness: Likeness | None
    separability: Separability | None
    accuracy: ClassifierAccuracy | None


@record
class CheckpointEvaluation:
    """One checkpoint: what it generates without guidance and with that of the run.

    ``validation_losses`` belong to the run's fixed tuples, from little noise to much, so that two
    checkpoints can be compared pair by pair.
    """

    samples: int
    judgements: tuple[Judgement, ...]
    validation_losses: tuple[float, ...] = ()

    @property
    def plain(self) -> Judgement | None:
        """The judgement of items without guidance: what a model makes by itself."""
        return next((one for one in self.judgements if one.guidance == 1), None)


@record
class Rejected:
    """A checkpoint that is not to be used, and why."""

    samples: int
    reason: Note


@record
class Choice:
    """Which checkpoint to use, and why."""

    samples: int
    select: Select
    reason: Note
    rejected: tuple[Rejected, ...] = ()


@record
class SamplingAdvice:
    """Guidance scale and denoising steps to use with the chosen checkpoint, and what was tried."""

    checkpoint_samples: int
    guidance: float
    sampling_steps: int
    reason: Note
    tried: tuple[Judgement, ...]


@record
class Evaluation:
    """``RUN/evaluation.json``."""

    schema: Literal["cfgadvise.evaluation/2"] = "cfgadvise.evaluation/2"
    num_train_items: int
    num_held_out_items: int
    checkpoints: tuple[CheckpointEvaluation, ...]
    choice: Choice | None = None
    sampling: SamplingAdvice | None = None
    findings: tuple[Note, ...] = ()
    real_grid: str | None = None

    @property
    def chosen(self) -> CheckpointEvaluation | None:
        """The evaluation of the checkpoint to use; the last one's where none was chosen."""
        if self.choice is None:
            return self.checkpoints[-1] if self.checkpoints else None
        return next((one for one in self.checkpoints if one.samples == self.choice.samples), None)

    @property
    def accuracy(self) -> ClassifierAccuracy | None:
        """Classifier accuracies with items of the chosen checkpoint, without guidance."""
        plain = self.chosen.plain if self.chosen else None
        return plain.accuracy if plain else None
