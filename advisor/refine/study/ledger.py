"""The slots of a study, each a row before it is trained, and the attempts at them."""

import contextlib
import datetime
import time
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from advisor.refine.process_name import is_gone
from advisor.refine.records import Entry, Slot
from advisor.refine.study.attempts import entry_of, wait_again
from advisor.refine.study.storage import Place, asked, storage_errors

_SLOTS_READY_S = 15.0


class Ledger:
    """Which slots there are, which wait, and whose worker is gone."""

    def __init__(self, study: optuna.Study, place: Place) -> None:
        self._study, self._place = study, place

    def entries(self) -> tuple[Entry, ...]:
        """Every attempt at every slot, in the order in which they were asked for."""
        with storage_errors(self._place.url):
            found = asked(lambda: self._study.get_trials(deepcopy=False))
            return tuple(entry_of(trial) for trial in found)

    def fill(self, slots: Sequence[Slot]) -> None:
        """Let every slot wait that is not there yet, or whose attempts all failed."""
        attempts: dict[str | None, list[Entry]] = {}
        for entry in self.entries():
            attempts.setdefault(entry.slot, []).append(entry)
        for slot in slots:
            before = attempts.get(slot.id, [])
            if all(entry.state == "failed" for entry in before):
                lr = before[-1].lr if before else slot.lr
                params = {} if lr is None else {"lr": lr}
                self._study.enqueue_trial(params, user_attrs={"slot": slot.id, "seed": slot.seed})
        self._study.set_user_attr("slots_ready", True)

    def wait_for_slots(self) -> None:
        """Leave the program that created the study the time to fill it."""
        until_s = time.monotonic() + _SLOTS_READY_S
        while not self._study.user_attrs.get("slots_ready") and time.monotonic() < until_s:
            time.sleep(0.1)

    def release_dead(self) -> None:
        """Let slots wait again whose worker is gone: one on this machine, or one that never gave its name."""
        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            if not self._is_dead(trial):
                continue
            with contextlib.suppress(ValueError, optuna.exceptions.UpdateFinishedTrialError):  # somebody else was first
                self._study.tell(trial.number, state=TrialState.FAIL)
                wait_again(self._study, trial)

    def _is_dead(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get("worker")
        if worker is None:
            started = trial.datetime_start
            return started is not None and (datetime.datetime.now() - started).total_seconds() > self._place.grace_s
        return is_gone(str(worker))
