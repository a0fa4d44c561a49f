"""Which checkpoint is taken, when to stop, which guidance is advised, and what the user is told to change."""

import dataclasses

import numpy as np
import pytest
from sample_advice import sample_judgement

from advisor.evaluation import CheckpointEvaluation, Evaluation, Judgement
from advisor.records import Claim
from trainer.judge.choice import choose, copies_allowance, copying, rising, stop_reason
from trainer.judge.findings import findings
from trainer.judge.sweep import best_guidance, sweep

RANDOM = np.random.default_rng(0)
LEVEL = RANDOM.uniform(0.05, 0.5, 256)


def checkpoint(samples: int, *, losses: np.ndarray | None = None, **figures: float) -> CheckpointEvaluation:
    known = () if losses is None else tuple(float(one) for one in losses)
    return CheckpointEvaluation(samples=samples, judgements=(sample_judgement(**figures),), validation_losses=known)


def evaluation(*checkpoints: CheckpointEvaluation, held_out: int = 180, **changes) -> Evaluation:
    choice = choose(checkpoints)
    return Evaluation(
        num_train_items=1550, num_held_out_items=held_out, checkpoints=checkpoints, choice=choice, **changes
    )


def ids(found: Evaluation) -> list[str]:
    return [one.id for one in findings(found)]


# ---- the checkpoint -----------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "allowed"), [(256, 0.02), (1000, 0.01), (100_000, 0.01)])
def test_the_allowance_is_that_of_the_method(count, allowed):
    assert copies_allowance(count) == pytest.approx(allowed, abs=1e-3)


def test_copies_beyond_those_of_held_out_pictures_are_refused():
    assert copying(sample_judgement(copied=0.0)) is None
    said = copying(sample_judgement(copied=0.05))
    assert said.id == "checkpoint_copies" and said.values["share"] == 0.05
    in_pixels = sample_judgement(copied=0.05).copies.in_pixels
    plain = sample_judgement()
    assert copying(dataclasses.replace(plain, copies=dataclasses.replace(plain.copies, in_pixels=in_pixels)))


def test_data_with_near_duplicates_may_have_as_many():
    plain = sample_judgement(copied=0.05)
    as_many = dataclasses.replace(plain.copies.in_pca, real=plain.copies.in_pca.generated)
    copies = dataclasses.replace(plain.copies, in_pca=as_many, in_pixels=as_many)
    assert copying(dataclasses.replace(plain, copies=copies)) is None


def test_the_lowest_distance_among_those_without_copies_wins():
    chosen = choose([checkpoint(100, kid=0.05), checkpoint(200, kid=0.02), checkpoint(300, kid=0.01, copied=0.2)])
    assert (chosen.samples, chosen.reason.id) == (200, "choice_kid")
    assert [(one.samples, one.reason.id) for one in chosen.rejected] == [(300, "checkpoint_copies")]


def test_within_one_standard_error_the_earlier_is_taken():
    error = 0.004 / 1.96
    assert choose([checkpoint(100, kid=0.010 + 0.9 * error), checkpoint(200, kid=0.010)]).samples == 100
    assert choose([checkpoint(100, kid=0.010 + 1.5 * error), checkpoint(200, kid=0.010)]).samples == 200


def test_a_difference_that_pairs_show_clearly_is_no_tie():
    halves = RANDOM.normal(0.01, 0.02, 100)  # far wider than the difference, but common to both

    def paired(samples: int, kid: float) -> CheckpointEvaluation:
        one = checkpoint(samples, kid=kid)
        plain = one.judgements[0]
        wide = Claim(value=kid, low=kid - 0.04, high=kid + 0.04, basis="measured", source="")
        its_halves = tuple(halves + kid - 0.01 + RANDOM.normal(0, 0.001, 100))
        likeness = dataclasses.replace(plain.likeness, kid_held_out=wide, kid_halves=its_halves)
        return dataclasses.replace(one, judgements=(dataclasses.replace(plain, likeness=likeness),))

    assert choose([paired(100, 0.020), paired(200, 0.010)]).samples == 200
    assert choose([paired(100, 0.0101), paired(200, 0.010)]).samples == 100


def test_without_a_feasible_one_the_fewest_copies_are_taken_and_it_is_said():
    chosen = choose([checkpoint(100, copied=0.1), checkpoint(200, copied=0.5)])
    assert (chosen.samples, chosen.reason.id) == (100, "choice_none_feasible")


def test_only_what_is_still_there_is_chosen():
    both = [checkpoint(100, kid=0.001), checkpoint(200, kid=0.05)]
    assert choose(both).samples == 100
    assert choose(both, kept={200}).samples == 200
    assert choose(both, kept=set()) is None and choose([]) is None


def test_the_classifier_can_decide_instead():
    better = checkpoint(200, kid=0.05)
    early = checkpoint(100, kid=0.001)
    plain = early.judgements[0]
    worse = dataclasses.replace(
        plain.accuracy, synthetic_only=Claim(value=0.5, low=0.45, high=0.55, basis="measured", source="")
    )
    early = dataclasses.replace(early, judgements=(dataclasses.replace(plain, accuracy=worse),))
    assert choose([early, better]).samples == 100
    chosen = choose([early, better], "classifier")
    assert (chosen.samples, chosen.reason.id) == (200, "choice_classifier")


def test_without_held_out_distances_the_validation_loss_decides_then_the_last():
    def without_kid(one: CheckpointEvaluation) -> CheckpointEvaluation:
        return dataclasses.replace(one, judgements=(dataclasses.replace(one.judgements[0], likeness=None),))

    both = [without_kid(checkpoint(100, losses=LEVEL)), without_kid(checkpoint(200, losses=LEVEL * 1.2))]
    assert (choose(both).samples, choose(both).reason.id) == (100, "choice_validation")
    bare = [dataclasses.replace(one, validation_losses=()) for one in both]
    assert (choose(bare).samples, choose(bare).reason.id) == (200, "choice_last")


# ---- rising and stopping ------------------------------------------------------------------------


def losses_after(change: np.ndarray | float) -> np.ndarray:
    return LEVEL + change + RANDOM.normal(0, 0.002, 256)


def test_a_loss_that_rises_twice_at_high_noise_is_found_and_at_low_noise_is_not():
    high, low = np.where(np.arange(256) >= 224, 0.05, 0.0), np.where(np.arange(256) < 64, 0.3, 0.0)
    at_high = [checkpoint(k, losses=losses_after(k * high)) for k in range(3)]
    said = rising(at_high)
    assert (said.id, said.values["bucket"]) == ("checkpoint_rising", 8)
    assert rising([checkpoint(k, losses=losses_after(k * low)) for k in range(3)]) is None
    once = [checkpoint(k, losses=losses_after(rise)) for k, rise in enumerate((0.0, 0.0, high))]
    assert rising(once) is None and rising(at_high[:2]) is None


def test_checkpoints_that_only_fluctuate_are_never_rising():
    runs = ([checkpoint(k, losses=losses_after(0.0)) for k in range(3)] for _ in range(100))
    assert sum(rising(run) is not None for run in runs) <= 2  # four buckets at 0.01 twice: 0.04 %


def test_training_stops_after_two_with_copies_and_not_after_one():
    first, second, third = checkpoint(100), checkpoint(200, copied=0.2), checkpoint(300, copied=0.3)
    assert stop_reason([first, second], 1000) is None
    assert stop_reason([first, second, third], 1000).id == "stop_infeasible"
    assert stop_reason([], 1000) is None


def test_training_stops_where_nothing_improved_over_a_fifth_of_it():
    flat = [checkpoint(samples, losses=losses_after(0.0)) for samples in (100, 200, 300)]
    assert stop_reason(flat, 1000).id == "stop_flat"
    assert stop_reason(flat, 5000) is None  # a fifth is not yet over
    better_loss = [*flat[:2], checkpoint(300, losses=losses_after(-0.02))]
    assert stop_reason(better_loss, 1000) is None
    better_pictures = [*flat[:2], checkpoint(300, losses=losses_after(0.0), kid=-0.02)]
    assert stop_reason(better_pictures, 1000) is None


# ---- guidance and steps -------------------------------------------------------------------------


def test_the_weakest_guidance_that_loses_nothing_is_advised():
    tried = [sample_judgement(guidance=scale, kid=kid) for scale, kid in ((1.0, 0.01), (1.5, 0.009), (3.0, 0.05))]
    assert best_guidance(tried).guidance == 1.0
    alike = [sample_judgement(guidance=1.0, kid=0.01, told=0.5), sample_judgement(guidance=1.5, kid=0.012, told=0.9)]
    assert best_guidance(alike).guidance == 1.5
    assert best_guidance([dataclasses.replace(one, likeness=None) for one in tried]) is None


def test_a_guidance_that_makes_copies_is_not_advised():
    tried = [sample_judgement(guidance=1.0, kid=0.05), sample_judgement(guidance=2.0, kid=0.001, copied=0.3)]
    assert best_guidance(tried).guidance == 1.0


def test_the_sweep_takes_the_fewest_steps_that_lose_nothing():
    asked = []

    def trial(guidance: float, steps: int) -> Judgement:
        asked.append((guidance, steps))
        kid = 0.01 + 0.02 * (guidance - 1) + (0.05 if steps < 20 else 0.0)
        return dataclasses.replace(sample_judgement(guidance=guidance, kid=kid), sampling_steps=steps)

    advised = sweep(trial, guidance=6.0, sampling_steps=20, checkpoint_samples=100)
    assert (advised.guidance, advised.sampling_steps) == (1.0, 20)
    assert (6.0, 20) in asked and len(asked) == len(advised.tried) == len(set(asked))


@pytest.mark.parametrize(
    ("own", "kid_by_steps", "advised_steps", "tried_steps"),
    [
        (20, {10: 0.05, 20: 0.01}, 20, [10, 20, 40]),  # twice as many helped, so twice again may
        (20, {10: 0.01, 20: 0.01}, 10, [10, 20]),
        (20, {10: 0.05, 20: 0.03, 40: 0.01}, 40, [10, 20, 40]),
        (10, {10: 0.01, 20: 0.01}, 10, [10, 20]),
        (2, {2: 0.5, 10: 0.01}, 10, [2, 10, 20]),
        (50, {10: 0.05, 20: 0.03, 40: 0.01}, 40, [10, 20, 40, 50]),
    ],
)
def test_more_steps_are_tried_only_while_they_help(own, kid_by_steps, advised_steps, tried_steps):
    def trial(guidance: float, steps: int) -> Judgement:
        kid = kid_by_steps.get(steps, min(kid_by_steps.values())) + 0.1 * (guidance - 1)
        return dataclasses.replace(sample_judgement(guidance=guidance, kid=kid), sampling_steps=steps)

    advised = sweep(trial, guidance=1.0, sampling_steps=own, checkpoint_samples=100)
    assert advised.sampling_steps == advised_steps
    assert sorted(one.sampling_steps for one in advised.tried if one.guidance == 1.0) == tried_steps


# ---- what the user is told ----------------------------------------------------------------------


def test_a_good_run_is_told_so_and_nothing_else():
    assert ids(evaluation(checkpoint(100))) == ["found_apart"]


def test_copies_of_the_newest_are_told_with_their_control():
    found = findings(evaluation(checkpoint(100), checkpoint(200, copied=0.3)))
    assert [one.id for one in found] == ["found_copies", "found_apart"]
    assert found[0].values["control"] == 0 and found[0].values["samples"] == 200


def test_a_guidance_of_twenty_is_found_and_one_that_does_no_harm_is_not():
    def with_guidance(scale: float, kid: float) -> Evaluation:
        both = (sample_judgement(kid=0.01), sample_judgement(guidance=scale, kid=kid))
        return evaluation(CheckpointEvaluation(samples=100, judgements=both))

    assert ids(with_guidance(20.0, 0.4)) == ["found_guidance", "found_apart"]
    assert ids(with_guidance(1.5, 0.012)) == ["found_apart"]


def test_classes_that_are_alike_get_the_remedy_that_the_figures_speak_for():
    assert ids(evaluation(checkpoint(100, told=0.6))) == ["found_partly", "found_confused", "remedy_unknown"]
    growing = evaluation(checkpoint(100, told=0.55, kid=0.05), checkpoint(200, told=0.7))
    said = findings(growing)[-1]
    assert (said.id, said.values["longer"]) == ("remedy_longer", 400)
    in_vain = sweep(
        lambda scale, steps: dataclasses.replace(sample_judgement(guidance=scale, told=0.6), sampling_steps=steps),
        guidance=1.5, sampling_steps=20, checkpoint_samples=200,
    )  # fmt: skip
    tried = evaluation(checkpoint(100, told=0.6, kid=0.05), checkpoint(200, told=0.6), sampling=in_vain)
    assert findings(tried)[-1].id == "remedy_condition"
    both = {1.0: 0.6, 1.5: 0.9}
    advised = sweep(
        lambda scale, steps: dataclasses.replace(
            sample_judgement(guidance=scale, told=both.get(scale, 0.9), kid=0.01 if scale < 2 else 0.3),
            sampling_steps=steps,
        ),
        guidance=1.5, sampling_steps=20, checkpoint_samples=100,
    )  # fmt: skip
    said = findings(evaluation(checkpoint(100, told=0.6), sampling=advised))[-1]
    assert (said.id, said.values["guidance"]) == ("remedy_guidance", "1.25")


def test_guessing_is_told_as_such_and_a_bad_judge_does_not_judge():
    assert ids(evaluation(checkpoint(100, told=0.5)))[0] == "found_alike"  # two classes
    one = checkpoint(100, told=0.5)
    told = one.judgements[0].separability
    blind = Claim(value=0.52, low=0.45, high=0.59, basis="measured", source="")
    told = dataclasses.replace(told, accuracy=dataclasses.replace(told.accuracy, real=blind))
    one = dataclasses.replace(one, judgements=(dataclasses.replace(one.judgements[0], separability=told),))
    assert ids(evaluation(one)) == ["found_unjudged"]


def test_little_variety_and_few_held_out_pictures_are_told():
    one = checkpoint(100)
    narrow = Claim(value=0.5, low=0.45, high=0.55, basis="measured", source="")
    plain = dataclasses.replace(
        one.judgements[0], likeness=dataclasses.replace(one.judgements[0].likeness, diversity=narrow)
    )
    one = dataclasses.replace(one, judgements=(plain,))
    assert ids(evaluation(one, held_out=6)) == ["found_apart", "found_narrow", "found_few_held_out"]
