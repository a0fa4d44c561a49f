"""What to try next, and when to give up a training that is behind."""

import math
import random
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial

from advisor.records import record
from advisor.refine.bracket import next_outside
from advisor.refine.study.attempts import entry_of

MIN_KNOWN = 5  # trials before TPE has something to go by
AROUND = 4.0  # TPE looks within this factor of the best: what lies further off was shown to be worse
_MAX_DRAWS = 16
_PRUNING_FRAC = 0.4  # of a training: before that, the order of learning rates is not yet that of the end


@record
class Space:
    """What may be tried: learning rates from ``lr_low`` to ``lr_high``, in trainings of ``proxy_samples``.

    ``stops_early``: whether a training that is behind may end before its time.
    """

    lr_low: float
    lr_high: float
    proxy_samples: int
    stops_early: bool


class BracketFirst(optuna.samplers.TPESampler):
    """Factor-2 steps until the best learning rate has a worse one on either side, then TPE around the best."""

    def __init__(self, space: Space, seed: int | None) -> None:
        super().__init__(n_startup_trials=MIN_KNOWN, seed=seed, multivariate=True, constant_liar=True)
        self._space, self._random = space, random.Random(seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The learning rate, from the first trial on."""
        return {"lr": FloatDistribution(self._space.lr_low, self._space.lr_high, log=True)}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next step beyond the best, or what TPE takes for promising."""
        entries = [entry_of(one) for one in study.get_trials(deepcopy=False) if one.number != trial.number]
        known = [one for one in entries if one.lr is not None]
        tried = {one.lr: one.loss for one in known if one.lr and one.state in ("finished", "stopped_early")}
        under_way = {one.lr for one in known if one.lr and one.state in ("running", "waiting")}
        low, high = self._space.lr_low, self._space.lr_high
        outside = next_outside(tried, under_way, low, high)
        if outside is not None:
            return {"lr": outside}
        losses = {lr: loss for lr, loss in tried.items() if loss is not None}
        if losses:
            best = min(losses, key=losses.__getitem__)
            low, high = max(low, best / AROUND), min(high, best * AROUND)
        for _ in range(_MAX_DRAWS):
            lr = super().sample_relative(study, trial, search_space).get("lr")
            if lr is not None and low <= lr <= high:
                return {"lr": lr}
        return {"lr": math.exp(self._random.uniform(math.log(low), math.log(high)))}


def pruner_of(space: Space) -> optuna.pruners.BasePruner:
    """Ends a training that is behind the median of the others, or none."""
    if not space.stops_early:
        return optuna.pruners.NopPruner()
    warmup = int(_PRUNING_FRAC * space.proxy_samples)
    return optuna.pruners.MedianPruner(n_startup_trials=MIN_KNOWN, n_warmup_steps=warmup, n_min_trials=3)
