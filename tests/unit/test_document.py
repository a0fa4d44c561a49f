"""A report says what the records say, with the basis of every figure, in the order of a reader's questions."""

import dataclasses
from pathlib import Path

import pytest
from sample_advice import CPU, KEEP, RECOMMENDED, claim, sample_advice, write_sample_run

from advisor.records import Advice, Claim
from reports.blocks import Code, Document, Paragraph, Section, Table, line_text, say
from reports.document import build_document
from reports.run import RunPlan, RunView, read_run

SECTIONS = [
    *("verdict", "machine", "measurements", "effective_batch", "dataset", "options", "learning_rate", "performance"),
    *("milestones", "monitoring", "checkpoints", "troubleshooting", "final"),
]
AFTER_A_RUN = ["actual", "quality", "samples", "config"]
LAST = ["method", "warnings"]


@pytest.fixture
def run(tmp_path: Path) -> RunView:
    return read_run(write_sample_run(tmp_path / "run-01"))


def section(document: Document, section_id: str) -> Section:
    return next(one for one in document.sections if one.id == section_id)


def text_of(part: Section, document: Document) -> str:
    said = []
    for block in part.blocks:
        if isinstance(block, Paragraph):
            said.append(line_text(block.line, document.marks))
        elif isinstance(block, Code):
            said.append(block.text)
        elif isinstance(block, Table):
            said += [line_text(line, document.marks) for row in block.rows for line in row]
        elif hasattr(block, "items"):
            said += [line_text(item.line, document.marks) for item in block.items]
        elif hasattr(block, "text"):
            said.append(block.text)
    return "\n".join(said)


def all_claims(value: object) -> list[Claim]:
    if isinstance(value, Claim):
        return [value]
    if dataclasses.is_dataclass(value):
        return [found for field in dataclasses.fields(value) for found in all_claims(getattr(value, field.name))]
    if isinstance(value, tuple):
        return [found for item in value for found in all_claims(item)]
    return []


def test_sections_come_in_the_order_of_a_readers_questions(run: RunView) -> None:
    for lang in ("en", "zh"):
        planned = build_document(sample_advice(), None, lang)
        assert [one.id for one in planned.sections] == [*SECTIONS, *LAST]
        done = build_document(sample_advice(), run, lang)
        assert [one.id for one in done.sections] == [*SECTIONS, *AFTER_A_RUN, *LAST]


def test_both_languages_hold_the_same_figures(run: RunView) -> None:
    english, chinese = (build_document(sample_advice(), run, lang) for lang in ("en", "zh"))
    said = [sorted(repr(figure.claim) for figure in one.figures()) for one in (english, chinese)]
    assert said[0] == said[1]
    assert [[type(block) for block in one.blocks] for one in english.sections] == [
        [type(block) for block in one.blocks] for one in chinese.sections
    ]


def test_figures_of_the_advice_keep_their_own_claim() -> None:
    advice = sample_advice()
    claims = all_claims(advice)
    shown = [figure.claim for figure in build_document(advice, None, "en").figures()]
    for name in ("lr", "peak_reserved_bytes", "memory_frac", "step_s", "samples_per_s", "run_s"):
        wanted = getattr(advice.recommended, name)
        assert wanted in claims
        assert wanted in shown, name


def test_the_verdict_holds_the_lines_to_paste() -> None:
    document = build_document(sample_advice(), None, "en")
    code = next(block for block in section(document, "verdict").blocks if isinstance(block, Code))
    namespace: dict[str, object] = {}
    exec(code.text, namespace)
    assert namespace["train_batch_size"] == 16
    assert namespace["gradient_accumulate_every"] == 1
    assert namespace["train_lr"] == 1e-4
    assert namespace["adam_betas"] == (0.9, 0.99)
    assert namespace["ema_decay"] == 0.9995
    assert "was 8" in code.text and "unchanged" in code.text


def test_keeping_the_setting_is_said_as_such() -> None:
    advice = sample_advice(recommended=KEEP)
    assert "Keep your setting" in text_of(section(build_document(advice, None, "en"), "verdict"), document_of(advice))
    changed = sample_advice()
    assert "Keep your setting" not in text_of(
        section(build_document(changed, None, "en"), "verdict"), document_of(changed)
    )


def document_of(advice: Advice) -> Document:
    return build_document(advice, None, "en")


def test_the_data_arithmetic_is_right() -> None:
    document = document_of(sample_advice())
    said = text_of(section(document, "dataset"), document)
    assert "16 / 1 550 = 1.03 %" in said
    assert "1 550 / 16 = 96.88 -> 97" in said
    assert "16 of 1 550 samples: 1.03 %" in said
    assert "1 548" in said


def test_the_learning_rate_interval_is_shown() -> None:
    document = document_of(sample_advice())
    said = text_of(section(document, "learning_rate"), document)
    assert "1e-4 × sqrt(32 / 16) = 1.41e-4" in said
    assert "1.19e-4 - 1.68e-4" in said
    assert "5e-5 [R] → 1e-4 [R] → 2e-4 [R]" in said


def test_the_present_option_is_among_the_options_and_the_recommended_one_is_marked() -> None:
    document = document_of(sample_advice())
    table = next(block for block in section(document, "options").blocks if isinstance(block, Table))
    assert len(table.rows) == 4
    assert table.chosen == 1
    assert table.rows[0][0] == ("8 × 2",)


def test_memory_is_named_by_the_device() -> None:
    gpu = build_document(sample_advice(), None, "zh")
    cpu = build_document(sample_advice(device=CPU), None, "zh")
    texts = ["\n".join(text_of(one, document) + one.title for one in document.sections) for document in (gpu, cpu)]
    assert "显存峰值" in texts[0] and "内存" not in texts[0]
    assert "内存峰值" in texts[1] and "显存" not in texts[1]


def test_predicted_stands_beside_actual(run: RunView) -> None:
    document = build_document(sample_advice(), run, "en")
    said = text_of(section(document, "actual"), document)
    assert "165 ms" in said and "+3.1 %" in said  # step time: 160 ms were expected
    assert "17.2 s" in said and "16.0 s" in said  # 100 steps of the 150 000: the time is scaled to them
    assert "1.47 GiB" in said
    quality = text_of(section(document, "quality"), document)
    assert all(accuracy in quality for accuracy in ("98.3 %", "94.4 %", "98.9 %"))
    assert "within chance" in quality


def test_a_run_with_another_batch_is_not_compared(run: RunView) -> None:
    other = dataclasses.replace(run, plan=RunPlan(micro_batch=5, accumulation=3))
    document = build_document(sample_advice(), other, "en")
    assert "5 × 3" in text_of(section(document, "actual"), document)
    titles = [
        column.title
        for block in section(document, "actual").blocks
        if isinstance(block, Table)
        for column in block.columns
    ]
    assert "Actual" in titles and "Predicted" not in titles


def test_commands_against_trouble_carry_the_values_of_the_run(run: RunView) -> None:
    planned, done = build_document(sample_advice(), None, "en"), build_document(sample_advice(), run, "en")
    before = text_of(section(planned, "troubleshooting"), planned)
    assert "train_batch_size = 8\ngradient_accumulate_every = 2" in before
    assert "train_lr = 5e-5" in before and "cfgadvise sample RUN --checkpoint 1200000" in before
    after = text_of(section(done, "troubleshooting"), done)
    assert "cfgadvise train --config run-01/config.toml \\\n    --set lr=5e-5 --out run-01-lr-5e-5" in after
    assert "--set micro_batch=8 --set accumulation=2" in after
    assert "train_lr" not in after and "RUN" not in after


def test_a_killed_run_without_anything_still_makes_a_report(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "samples": 1')
    for lang in ("en", "zh"):
        document = build_document(sample_advice(), read_run(tmp_path), lang)
        assert [one.id for one in document.sections][-6:] == [*AFTER_A_RUN, *LAST]


def test_unknown_figures_are_said_to_be_unknown() -> None:
    unknown = dataclasses.replace(
        RECOMMENDED,
        memory_frac=claim(None),
        run_s=claim(None, basis="predicted"),
        time_to_same_progress=claim(None, 0.8, 1.1, basis="predicted"),
    )
    advice = sample_advice(
        recommended=unknown, run_samples=claim(None, basis="user"), milestones=(), monitoring=(), measurements=()
    )
    document = build_document(advice, None, "en")
    said = text_of(section(document, "performance"), document)
    assert "unknown" in said
    assert "80 - 110 % [P]" in said
    assert "unknown [" not in said  # what is not known has no basis
    assert "0 s" not in said


def test_a_template_that_names_an_absent_value_fails() -> None:
    with pytest.raises(KeyError):
        say("{missing}", present="x")
