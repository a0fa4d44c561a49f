"""Both languages say everything, with the same figures, and nothing in the other language."""

import dataclasses
import re
import string

import pytest

from advisor.hardware.check_texts import CATALOGUE
from advisor.measure.messages import Rehearsed
from advisor.measure.timing import mean_time
from advisor.recommend import duration, options, scaling
from advisor.recommend.note_texts import NOTES
from advisor.recommend.reason_texts import REASONS
from advisor.records import Claim, Measurement, StepTime
from reports.messages.catalogue import Messages, messages_in
from reports.messages.zh_sources import WORK
from trainer.health.alarms import ALARMS
from trainer.health.stopping import STOPS
from trainer.notes import NOTES as RUN_NOTES

EN, ZH = messages_in("en"), messages_in("zh")
CJK = re.compile("[\u3000-\u9fff\uff00-\uffef]")
HALF_WIDTH_AFTER_CJK = re.compile("[\u4e00-\u9fff][,;:!?]")
# English words that a Chinese engineer writes in English too.
KEPT_WORDS = {
    *("batch", "epoch", "Epoch", "loss", "lr", "betas", "EMA", "Config", "NaN", "OOM", "fp16", "Adam", "drop_last"),
    *("alpha", "beta", "gamma", "a", "b", "B", "cfgadvise", "ctrl", "c", "TFLOP", "s", "GB"),
    *("A", "JSON", "k", "bf16"),
    *("KID", "optuna", "dashboard"),
    *("GPU", "PCIe", "PyTorch", "arXiv", "bench", "json", "dev", "shm"),
}
TYPED = re.compile(r"cfgadvise \w+(?: --\w+)*|[\w-]+\.(?:jsonl|toml|png)")  # commands and names of files
RECORDS = ("reasons", "notes", "checks", "source")


def placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def flat(messages: Messages) -> dict[str, str]:
    """Every sentence of a catalogue, except those of records."""
    found: dict[str, str] = {}
    for field in dataclasses.fields(Messages):
        value = getattr(messages, field.name)
        if field.name in RECORDS:
            continue
        found.update(
            {field.name: value} if isinstance(value, str) else {f"{field.name}.{k}": v for k, v in value.items()}
        )
    return found


def test_both_languages_have_the_same_sentences_with_the_same_placeholders() -> None:
    english, chinese = flat(EN), flat(ZH)
    assert english.keys() == chinese.keys()
    assert {key: placeholders(text) for key, text in english.items()} == {
        key: placeholders(text) for key, text in chinese.items()
    }


def test_english_has_no_chinese() -> None:
    assert {key: text for key, text in flat(EN).items() if CJK.search(text)} == {}


def test_chinese_has_no_leftover_english() -> None:
    left_over = {}
    for key, text in flat(ZH).items():
        without_places = re.sub(r"\{[^}]*\}", " ", TYPED.sub(" ", text))
        words = set(re.findall(r"[A-Za-z][A-Za-z0-9_]*", without_places)) - KEPT_WORDS
        if words:
            left_over[key] = words
    assert left_over == {}


def test_chinese_prose_has_full_width_punctuation() -> None:
    sentences = {**flat(ZH), **ZH.reasons, **ZH.notes, **{key: said for key, (said, _) in ZH.checks.items()}}
    assert {key: text for key, text in sentences.items() if HALF_WIDTH_AFTER_CJK.search(text)} == {}


def test_no_two_notes_have_the_same_id() -> None:
    found = [key for notes in (NOTES, RUN_NOTES, ALARMS, STOPS) for key in notes]
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("english", "chinese"), [(REASONS, ZH.reasons), ({**NOTES, **RUN_NOTES, **ALARMS, **STOPS}, ZH.notes)]
)
def test_every_sentence_of_an_advice_has_its_chinese(english: dict[str, str], chinese: dict[str, str]) -> None:
    assert english.keys() == chinese.keys()
    for key, template in chinese.items():
        assert CJK.search(template), key
        assert placeholders(template) - {"memory"} == placeholders(english[key]), key


def test_every_check_of_the_machine_has_its_chinese() -> None:
    assert CATALOGUE.keys() == ZH.checks.keys()
    for key, (message, fix) in ZH.checks.items():
        assert CJK.search(message), key
        assert (fix is None) == (CATALOGUE[key].fix is None), key
        assert placeholders(message) <= placeholders(CATALOGUE[key].message), key
        assert placeholders(fix or "") <= placeholders(CATALOGUE[key].fix or ""), key


def test_sources_of_the_advisor_are_said_in_chinese() -> None:
    step_s = StepTime(median=1.0, low=0.9, high=1.1, n=12)
    samples = Claim(value=1000, basis="user", source="given")
    measurement = Measurement(micro_batch=4, accumulation=1, outcome="ok", peak_reserved_bytes=10, steps_run=3)
    timed = dataclasses.replace(
        measurement, first_step_s=9.0, step_s=step_s, mean_step_s=mean_time([1.0, 1.1, 0.9, 1.0])
    )
    beside = duration.beside_steps((), [Rehearsed(id="evaluation", seconds=1.0, units=1)], timed)
    sources = [
        duration.training_time(samples, 10, timed).source,
        duration.training_time(samples, 10, None).source,
        duration.elapsed(0.5, duration.training_time(samples, 10, timed), ()).source,
        *(one.each_s.source for one in beside.occasions),
        duration.run_time(duration.training_time(samples, 10, timed), beside).source,
        options.throughput(10, step_s).source,
        options.step_time(step_s).source,
        options.peak_memory(measurement).source,
        options.peak_memory(None).source,
        options.memory_share(measurement, 100).source,
        options.UNKNOWN_PROGRESS.source,
    ]
    assert [source for source in sources if not CJK.search(ZH.source(source))] == []
    assert ZH.source("something new") == "something new"
    assert EN.source(sources[0]) == sources[0]


def test_scaling_rules_keep_their_paper_in_chinese() -> None:
    given = Claim(value=0.99, basis="user", source="given")
    for scaled in (
        scaling.scale_lr(given, 16, 32),
        scaling.scale_beta2(given, 16, 32),
        scaling.scale_ema(given, 16, 32),
    ):
        chinese = ZH.source(scaled.source)
        assert CJK.search(chinese), scaled.source
        assert "arXiv" in chinese


def test_everything_that_a_run_does_is_said_in_chinese() -> None:
    assert set(WORK) == set(duration.NAMES.values())
    assert EN.occasion_names.keys() | {"classifiers", "decoding"} == duration.NAMES.keys()
    said = ZH.source("8 steps x mean of 3 timings + 2 x sample grid, 1 x validation; without checkpoint; 80 % band")
    assert said == "8 步 × 3 次计时的平均 + 2 × 样本图、1 × 验证；不含检查点；80% 区间"
    before = ZH.source("8 steps x median of 3 timed steps")  # in advice of earlier versions
    assert before == "8 步 × 3 步的中位数"
