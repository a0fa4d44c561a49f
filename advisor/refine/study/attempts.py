"""Trials of Optuna as attempts at slots: read, let wait again after a failure, and told how they ended."""

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from advisor.refine.objective import Outcome
from advisor.refine.records import Entry, State

MAX_RETRIES = 2
_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "stopped_early",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
    TrialState.FAIL: "failed",
}


def entry_of(trial: FrozenTrial) -> Entry:
    """The attempt that a trial stands for."""
    attrs, state = trial.user_attrs, _STATES[trial.state]
    failed = "diverged" in attrs
    return Entry(
        number=trial.number,
        slot=attrs.get("slot"),
        state="finished" if failed and state == "stopped_early" else state,
        lr=trial.params.get("lr", trial.system_attrs.get("fixed_params", {}).get("lr")),
        seed=attrs.get("seed"),
        loss=None if failed or state not in ("finished", "stopped_early") else trial.value,
        worker=attrs.get("worker"),
        peak_bytes=attrs.get("peak_bytes"),
        fits=attrs.get("diverged", True),
        message=attrs.get("message"),
    )


def wait_again(study: optuna.Study, failed: FrozenTrial) -> None:
    """Let the slot of a failed attempt wait again, with the same learning rate, unless it failed too often.

    Optuna's own callback would hand on the name of the dead worker, and the new attempt would look dead, too.
    """
    history = [*failed.system_attrs.get("retry_history", []), failed.number]
    slot, lr = failed.user_attrs.get("slot"), entry_of(failed).lr
    others = [one for one in study.get_trials(deepcopy=False) if one.number > failed.number]
    is_there = any(one.user_attrs.get("slot") == slot and one.state != TrialState.FAIL for one in others)
    if slot is None or len(history) > MAX_RETRIES or is_there:
        return
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            user_attrs={"slot": slot, "seed": failed.user_attrs["seed"]},
            system_attrs={
                "fixed_params": {} if lr is None else {"lr": lr},
                "failed_trial": history[0],
                "retry_history": history,
            },
        )
    )


def told(trial: Trial, outcome: Outcome) -> float:
    """The loss of a training that ended, once the trial knows what memory it took.

    Raises:
        optuna.TrialPruned: if it diverged or did not fit.
    """
    trial.set_constraint("memory", -1.0 if outcome.fits else 1.0)
    if outcome.peak_bytes is not None:
        trial.set_user_attr("peak_bytes", outcome.peak_bytes)
    if outcome.loss is None or not outcome.fits:
        trial.set_user_attr("diverged", outcome.fits)  # False: it was memory that it lacked
        raise optuna.TrialPruned
    return outcome.loss
