"""Which guidance scale and how many denoising steps to sample with: a small sweep on one checkpoint.

Ho & Salimans, arXiv 2207.12598: guidance trades variety for likeness to the class, so the smallest
scale that loses nothing is taken, and the fewest steps.
"""

from collections.abc import Callable, Sequence

from advisor.evaluation import Judgement, SamplingAdvice
from advisor.records import Claim
from trainer.judge.choice import copying, is_kid_near
from trainer.judge.choice import kid_of as kid
from trainer.judge.intervals import Z_95
from trainer.notes import note

GUIDANCES = (1.0, 1.25, 1.5, 2.0, 3.0)
STEPS = (10, 20, 40)

Trial = Callable[[float, int], Judgement]


def sweep(trial: Trial, *, guidance: float, sampling_steps: int, checkpoint_samples: int) -> SamplingAdvice | None:
    """Try guidance scales, then numbers of steps with the best of them.

    Args:
        trial: generates and judges pictures at a guidance and a number of steps.
        guidance: the scale of the run, which is among those tried.
        sampling_steps: the steps of the run, which are among those tried.
        checkpoint_samples: which checkpoint this is done with.

    Returns:
        ``None`` where no distance can be measured, for lack of held-out pictures.
    """
    tried = [trial(scale, sampling_steps) for scale in sorted({*GUIDANCES, guidance})]
    best = best_guidance(tried)
    if best is None:
        return None
    by_steps = _with_more_and_more_steps(trial, best)
    chosen = _smallest_within_one_error(by_steps) or best
    return SamplingAdvice(
        checkpoint_samples=checkpoint_samples,
        guidance=chosen.guidance,
        sampling_steps=chosen.sampling_steps,
        reason=note(
            "sampling_advised",
            guidance=f"{chosen.guidance:g}",
            steps=chosen.sampling_steps,
            kid=f"{kid(chosen).value:.4f}",
            count=chosen.num_generated,
            recognised=recognised(chosen).value,
        ),
        tried=(*tried, *(one for one in by_steps if one is not best)),
    )


def _with_more_and_more_steps(trial: Trial, best: Judgement) -> list[Judgement]:
    """In the order of their steps, which go on beyond the run's own only while they shorten the distance.

    A solver's error falls with every step, so once more of them gain nothing, still more would not.
    """
    own, found = best.sampling_steps, list[Judgement]()
    for steps in sorted({*STEPS, own}):
        found.append(best if steps == own else trial(best.guidance, steps))
        if steps >= own and len(found) > 1 and is_kid_near(found[-2], found[-1], errors=1.0):
            break
    return found


def best_guidance(tried: Sequence[Judgement]) -> Judgement | None:
    """The smallest scale at which neither the distance nor the classes are clearly worse than at the best.

    Scales whose pictures are copies are left out while there are others.
    """
    known = [one for one in tried if kid(one).value is not None]
    allowed = [one for one in known if copying(one) is None] or known
    if not allowed:
        return None
    nearest = min(allowed, key=lambda one: kid(one).value or 0.0)
    near = [one for one in allowed if is_kid_near(one, nearest, errors=Z_95)]
    told = max((recognised(one).low or 0.0) for one in near)
    return next(one for one in near if (recognised(one).high or 1.0) >= told)


def _smallest_within_one_error(tried: Sequence[Judgement]) -> Judgement | None:
    known = [one for one in tried if kid(one).value is not None]
    if not known:
        return None
    best = min(known, key=lambda one: kid(one).value or 0.0)
    return next(one for one in known if is_kid_near(one, best, errors=1.0))


_UNKNOWN = Claim(value=None, basis="measured", source="not evaluated")


def recognised(judgement: Judgement) -> Claim:
    """Share of the pictures whose class is recognised."""
    return judgement.separability.accuracy.generated if judgement.separability else _UNKNOWN
