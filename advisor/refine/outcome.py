"""What a search means for the advice: another learning rate with its evidence, or the same one with its own."""

import dataclasses

from advisor.recommend.reasons import note, reason
from advisor.records import Advice, Claim, Finalist, Note, Option, Reason, Refinement
from advisor.refine.verdict import SHORT_RUN_FACTOR


def refined(advice: Advice, found: Refinement) -> Advice:
    """The advice after the search; what it had recommended stays one of its options."""
    updated = dataclasses.replace(advice, refinement=found, warnings=(*advice.warnings, *_warnings(found)))
    before = advice.recommended
    if found.conclusion == "unfinished":
        return updated
    said = _reason(found)
    if found.conclusion == "no_difference":
        kept = dataclasses.replace(before, reasons=(said, *before.reasons))
        return dataclasses.replace(updated, recommended=kept, options=_with(advice.options, kept))
    best = dataclasses.replace(before, id="refined", lr=measured_lr(found), reasons=(said, *before.reasons))
    demoted = dataclasses.replace(before, verdict="acceptable")
    options = tuple(one for one in _with(advice.options, demoted) if one.id != "refined")
    return dataclasses.replace(updated, recommended=best, options=(*options, best))


def measured_lr(found: Refinement) -> Claim:
    """The winning learning rate, with the factor by which optima of short trainings may lie off that of the run."""
    best = _finalist(found, found.lr)
    gain = "" if best.gain is None else f", validation loss {100 * best.gain:.2g} % below the start's"
    return Claim(
        value=found.lr,
        low=found.lr / SHORT_RUN_FACTOR,
        high=found.lr * SHORT_RUN_FACTOR,
        basis="measured",
        source=f"search {found.study}: {len(found.trials)} trainings of {100 * found.budget.proxy_frac:.0f} %"
        f" of the run, best of {len(found.finalists)} on {len(found.seeds)} fresh seeds{gain}",
    )


def best_other(found: Refinement) -> Finalist | None:
    """The finalist beside the start with the largest gain, clear or not."""
    others = [one for one in found.finalists if one.lr != found.start_lr and one.gain is not None]
    return max(others, key=lambda one: one.gain or 0.0, default=None)


def _finalist(found: Refinement, lr: float) -> Finalist:
    return next(one for one in found.finalists if one.lr == lr)


def _with(options: tuple[Option, ...], changed: Option) -> tuple[Option, ...]:
    return tuple(changed if one.id == changed.id else one for one in options)


def _reason(found: Refinement) -> Reason:
    plan = {
        "num_trials": len(found.trials),
        "share": found.budget.proxy_frac,
        "num_seeds": len(found.seeds),
        "start_lr": found.start_lr,
    }
    if found.conclusion == "no_difference":
        other = best_other(found)
        if other is None:
            return reason("+", "refined_alone", **plan)
        gains = {"gain": other.gain, "low": other.gain_low, "high": other.gain_high, "min_gain": found.min_gain}
        return reason("+", "refined_kept", **plan, lr=other.lr, **gains)
    best = _finalist(found, found.lr)
    if best.gain is None:
        return reason("+", "refined_stable", **plan, lr=found.lr)
    return reason("+", "refined_lr", **plan, lr=found.lr, gain=best.gain, low=best.gain_low, high=best.gain_high)


def _warnings(found: Refinement) -> tuple[Note, ...]:
    warnings = []
    if found.conclusion == "unfinished":
        warnings.append(note("search_unfinished", ended=len(found.trials), num_trials=found.budget.num_trials))
    if found.conclusion == "better":
        low, high = found.lr / SHORT_RUN_FACTOR, found.lr * SHORT_RUN_FACTOR
        warnings.append(note("search_of_short_runs", share=found.budget.proxy_frac, low=low, high=high))
    return tuple(warnings)
