"""What a search for the learning rate found."""

from typing import Literal

from advisor.records.frozen import record


@record
class SearchBudget:
    """How many trainings, how long each, and what they take together.

    ``runs`` is the price in runs of full length; ``seconds`` are those of its training steps,
    unknown where none was timed.
    """

    num_trials: int
    num_finalists: int
    num_seeds: int
    proxy_samples: int
    run_samples: int
    total_samples: int
    runs: float
    seconds: float | None

    @property
    def proxy_frac(self) -> float:
        """Length of a training as a share of the run."""
        return self.proxy_samples / self.run_samples


@record
class SearchTrial:
    """One finished training of the search: a learning rate and its validation loss (``None``: it diverged)."""

    lr: float
    loss: float | None
    stopped_early: bool = False


@record
class Finalist:
    """One learning rate on fresh seeds. ``gain`` is the share by which its loss is below the start's, paired.

    ``gain_low`` and ``gain_high`` are two standard errors away.
    """

    lr: float
    losses: tuple[float | None, ...]
    gain: float | None
    gain_low: float | None
    gain_high: float | None


@record
class Refinement:
    """What the search found: every training, the contest, and what follows.

    ``min_gain``: the gain from which on another learning rate is believed to be better for the whole run.
    """

    study: str
    storage: str
    start_lr: float
    lr: float
    conclusion: Literal["better", "no_difference", "unfinished"]
    budget: SearchBudget
    trials: tuple[SearchTrial, ...]
    finalists: tuple[Finalist, ...]
    min_gain: float
    seeds: tuple[int, ...]
    num_retried: int
    num_left_out: int
    elapsed_s: float
