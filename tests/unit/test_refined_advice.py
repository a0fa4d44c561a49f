"""What a search does to an advice, to its report and to the training that follows."""

import dataclasses

import pytest
from sample_advice import sample_advice

from advisor import schema
from advisor.recommend.dataset import exposure
from advisor.records import Advice, Claim, Dataset, Refinement, SearchTrial
from advisor.refine.budget import plan_budget
from advisor.refine.outcome import refined
from advisor.refine.verdict import judge, winner
from reports import markdown
from reports.document import build_document
from trainer.plan import plan_config, survey

LOSSES = {
    "better": {1e-4: (0.20, 0.21, 0.19), 2e-4: (0.18, 0.19, 0.171), 5e-5: (0.23, 0.24, 0.22)},
    "no_difference": {1e-4: (0.20, 0.21, 0.19), 2e-4: (0.20, 0.209, 0.191)},
    "diverged": {1e-4: (None, None, None), 5e-5: (0.2, 0.2, 0.2)},
    "alone": {1e-4: (0.20, 0.21, 0.19), 2e-4: (None, 0.2, 0.2)},
}


def found(case: str) -> Refinement:
    """A search around 1e-4 that ended like this."""
    finalists = judge(LOSSES[case], 1e-4) if case in LOSSES else ()
    best = winner(finalists, 1e-4) if finalists else None
    return Refinement(
        study="refine-0123456789ab",
        storage="sqlite:///refine.db",
        start_lr=1e-4,
        lr=best.lr if best else 1e-4,
        conclusion="unfinished" if not finalists else "better" if best else "no_difference",
        budget=plan_budget(100_000, 500.0),
        trials=(SearchTrial(lr=1e-4, loss=0.2), SearchTrial(lr=2e-4, loss=0.19), SearchTrial(lr=4e-4, loss=None)),
        finalists=finalists,
        min_gain=0.005,
        seeds=(1, 2, 3),
        num_retried=1,
        num_left_out=0,
        elapsed_s=100.0,
    )


def test_a_better_learning_rate_is_recommended_as_measured_and_the_old_one_stays_an_option():
    before = sample_advice()
    after = refined(before, found("better"))
    assert (after.recommended.id, after.recommended.lr.value, after.recommended.lr.basis) == (
        "refined",
        2e-4,
        "measured",
    )
    assert "refine-0123456789ab" in after.recommended.lr.source
    assert after.recommended in after.options
    assert [one.verdict for one in after.options if one.id == before.recommended.id] == ["acceptable"]
    assert after.recommended.reasons[0].id == "refined_lr"
    assert "search_of_short_runs" in [one.id for one in after.warnings]
    assert schema.from_json(Advice, after.to_json(), where="advice") == after


@pytest.mark.parametrize(
    ("case", "reason"),
    [("no_difference", "refined_kept"), ("alone", "refined_alone"), ("diverged", "refined_stable")],
)
def test_the_reason_says_how_it_ended(case, reason):
    before = sample_advice()
    after = refined(before, found(case))
    assert after.recommended.reasons[0].id == reason
    changed = case == "diverged"
    assert (after.recommended.lr != before.recommended.lr) == changed
    assert after.recommended in after.options


def test_an_unfinished_search_changes_nothing_but_says_so():
    before = sample_advice()
    after = refined(before, found("unfinished"))
    assert after.recommended == before.recommended
    assert after.warnings[-1].id == "search_unfinished"


def test_train_takes_the_measured_learning_rate():
    config, why = plan_config(survey("digits"), "cpu", {}, refined(sample_advice(), found("better")))
    assert config.lr == 2e-4
    assert why["lr"].startswith("measured: search refine-")


@pytest.mark.parametrize("case", ["better", "no_difference", "diverged", "alone", "unfinished"])
def test_the_report_shows_the_search_in_both_languages(case):
    advice = refined(sample_advice(), found(case))
    english, chinese = (build_document(advice, None, lang) for lang in ("en", "zh"))
    sections = [next(one for one in document.sections if one.id == "refinement") for document in (english, chinese)]
    assert sections[0].title == "Search for the learning rate"
    assert sections[1].title == "学习率搜索"
    text = markdown.render(chinese)
    assert "optuna-dashboard sqlite:///refine.db" in text
    assert "发散" in text
    assert "None" not in markdown.render(english)


def test_without_a_search_there_is_no_such_section():
    assert "refinement" not in [one.id for one in build_document(sample_advice(), None, "en").sections]


# ---- copies -------------------------------------------------------------------------------------


def test_the_onset_of_copies_grows_with_the_items_and_has_an_interval():
    length = Claim(value=387_500, basis="user", source="--epochs 250")
    one, two = (exposure(length, Dataset(num_items=n, source="x")) for n in (1550, 3100))
    assert one.samples_per_item.value == 250
    assert one.samples_per_item.basis == "user"
    onset = one.memorization_onset_samples
    assert onset.low < onset.value < onset.high
    assert two.memorization_onset_samples.value == 2 * onset.value
    assert onset.basis == "rule"
    assert "2505.17638" in onset.source
    assert (
        exposure(Claim(value=None, basis="user", source=""), Dataset(num_items=5, source="x")).samples_per_item.value
        is None
    )


@pytest.mark.parametrize(("epochs", "is_said"), [(100, False), (500, True)])
def test_where_to_look_for_copies_is_said_if_the_run_gets_there(epochs, is_said):
    advice = sample_advice()
    length = Claim(value=epochs * advice.dataset.num_items, basis="user", source="given")
    advice = dataclasses.replace(advice, run_samples=length, exposure=exposure(length, advice.dataset))
    assert ("look for copies of training items" in markdown.render(build_document(advice, None, "en"))) == is_said
    assert ("检查是否有训练样本的复制品" in markdown.render(build_document(advice, None, "zh"))) == is_said
