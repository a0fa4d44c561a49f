"""One worker of a study: takes a waiting slot, trains it, and says how it ended."""

import time
from collections.abc import Callable

import optuna
from optuna.storages import fail_stale_trials
from optuna.trial import Trial

from advisor.errors import StorageError
from advisor.refine.objective import Order, Training
from advisor.refine.study.attempts import told
from advisor.refine.study.ledger import Ledger
from advisor.refine.study.sampling import BracketFirst, Space, pruner_of
from advisor.refine.study.storage import Place, asked, storage_errors, without_warnings


class Study(Ledger):
    """One study, as a ledger of slots and as work to do."""

    def __init__(self, study: optuna.Study, place: Place, space: Space, sampler_seed: int | None = None) -> None:
        super().__init__(study, place)
        self._space = space
        self._failure: Exception | None = None
        study.sampler = BracketFirst(space, sampler_seed)
        study.pruner = pruner_of(space)

    def work(self, training: Training, may_start: Callable[[], bool] = lambda: True, *, poll_s: float = 2.0) -> None:
        """Train slot after slot until none waits and nobody is at one.

        A slot that another worker is at may come back if that worker dies, so this waits for it.

        Raises:
            Exception: whatever the training raised; its slot has failed.
            StorageError: if the storage cannot be reached or written.
        """
        while True:
            with storage_errors(self._place.url), without_warnings():
                asked(lambda: fail_stale_trials(self._study))
                asked(self.release_dead)
            states = {entry.state for entry in self.entries() if entry.slot is not None}
            if "waiting" in states and may_start():
                self._train_one(training)
            elif "running" in states:
                time.sleep(poll_s)
            else:
                return

    def _train_one(self, training: Training) -> None:
        try:
            with storage_errors(self._place.url), without_warnings():
                self._study.optimize(lambda trial: self._objective(trial, training), n_trials=1)
        except (StorageError, KeyboardInterrupt):
            raise
        except Exception:  # noqa: BLE001 - Optuna's own: this slot was taken for dead meanwhile, and its retry counts
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure from None

    def _objective(self, trial: Trial, training: Training) -> float:
        if "slot" not in trial.user_attrs:
            raise LookupError("another worker took the last slot")
        if self._has_ended(trial.user_attrs["slot"]):
            raise LookupError("this slot has ended meanwhile")
        space = self._space
        lr = trial.suggest_float("lr", space.lr_low, space.lr_high, log=True)
        order = Order(lr=lr, seed=trial.user_attrs["seed"], samples=space.proxy_samples)

        def report(samples: int, loss: float) -> None:
            trial.report(loss, step=samples)
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            outcome = training(order, report)
        except optuna.TrialPruned:
            raise
        except Exception as error:
            trial.set_user_attr("message", f"{type(error).__name__}: {error}")
            self._failure = error
            raise
        return told(trial, outcome)

    def _has_ended(self, slot: str) -> bool:
        return any(one.slot == slot and one.state in ("finished", "stopped_early") for one in self.entries())
