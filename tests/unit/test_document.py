"""A report says what the records say, with the basis of every figure, in the order of a reader's questions."""

import dataclasses
import json
from pathlib import Path

import pytest
from sample_advice import CPU, KEEP, RECOMMENDED, TEST_DATA, claim, sample_advice, write_sample_run

from advisor.records import Advice, Claim, WorkloadRef
from reports import markdown
from reports.blocks import Bullets, Code, Document, Figure, Paragraph, Section, Table, line_text, say
from reports.document import build_document
from reports.run import read_run, source_json
from reports.schedule import NUM_GRIDS
from reports.view import RunPlan, RunView
from trainer.config import TrainConfig

SECTIONS = [
    *("verdict", "machine", "measurements", "effective_batch", "dataset", "options", "learning_rate", "performance"),
    *("milestones", "monitoring", "checkpoints", "troubleshooting", "final"),
]
AFTER_A_RUN = ["actual", "quality", "choice", "samples", "config"]
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
        assert [one.id for one in document.sections][-7:] == [*AFTER_A_RUN, *LAST]


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


def numbers_in(plain: object) -> set[float]:
    if isinstance(plain, dict):
        return {found for value in plain.values() for found in numbers_in(value)}
    if isinstance(plain, (list, tuple)):
        return {found for value in plain for found in numbers_in(value)}
    return {float(plain)} if isinstance(plain, (int, float)) and not isinstance(plain, bool) else set()


def test_every_figure_can_be_traced_to_the_records(run: RunView) -> None:
    advice = sample_advice()
    records = numbers_in(json.loads(source_json(advice, run)))
    claims_recorded = [(one.value, one.basis) for one in all_claims(advice)]
    untraced = []
    for figure in build_document(advice, run, "en").figures():
        claim = figure.claim
        value = claim.value
        calculated = any(sign in claim.source for sign in (" / ", " x ", " - ", "sqrt")) or claim.source == "arithmetic"
        if value is None or float(value) in records or calculated:
            continue
        untraced.append((figure.text, claim))
    assert untraced == []
    for figure in build_document(advice, None, "en").figures():
        bases = {basis for value, basis in claims_recorded if value is not None and value == figure.claim.value}
        if figure.claim.source == TEST_DATA and bases:
            assert figure.claim.basis in bases, figure


def test_figures_within_sentences_take_their_basis_from_the_option() -> None:
    predicted = dataclasses.replace(
        RECOMMENDED,
        step_s=dataclasses.replace(RECOMMENDED.step_s, basis="predicted"),
        peak_reserved_bytes=dataclasses.replace(RECOMMENDED.peak_reserved_bytes, basis="predicted"),
    )
    for best, basis in ((RECOMMENDED, "measured"), (predicted, "predicted")):
        part = section(document_of(sample_advice(recommended=best)), "verdict")
        lines = [item.line for block in part.blocks if isinstance(block, Bullets) for item in block.items]
        figures = {one.text: one.claim.basis for line in lines for one in line if isinstance(one, Figure)}
        assert figures["160 ms"] == figures["1.46 GiB"] == basis
        assert figures["14.0 GiB"] == "rule"


def test_neighbours_of_one_basis_are_marked_once() -> None:
    document = document_of(sample_advice())
    said = text_of(section(document, "options"), document)
    assert "1e-4 [U] to 1.41e-4, plausible from 1.19e-4 to 1.68e-4 [R]" in said


def test_english_sentences_of_records_are_said_as_the_records_say_them() -> None:
    document = document_of(sample_advice())
    parts = [section(document, name) for name in ("verdict", "monitoring", "options")]
    lines = [
        "".join(item if isinstance(item, str) else item.text for item in bullet.line)
        for part in parts for block in part.blocks if isinstance(block, Bullets) for bullet in block.items
    ]  # fmt: skip
    texts = [one.text for option in sample_advice().options[1:3] for one in option.reasons]
    texts += [one.text for one in sample_advice().monitoring]
    said = [line.replace("GPU memory", "memory") for line in lines]
    assert [text for text in texts if text.replace("GPU memory", "memory") not in said] == []


def test_training_memory_alone_is_compared_with_the_advice(tmp_path: Path) -> None:
    folder = write_sample_run(tmp_path / "run-01")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    validation = next(line for line in lines if line["kind"] == "validation")
    lines[-3]["peak_reserved_bytes"] = 3 * 2**30  # sampling has raised the peak by then
    ordered = [*lines[:5], validation, *lines[5:]]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in ordered))
    document = build_document(sample_advice(), read_run(folder), "en")
    table = next(block for block in section(document, "actual").blocks if isinstance(block, Table))
    rows = {row[0][0]: row for row in table.rows}
    actual = {name: rows[name][3][0].text for name in rows if str(name).startswith("Peak")}
    assert actual == {"Peak GPU memory, training": "1.47 GiB", "Peak GPU memory, whole run": "3.00 GiB"}
    assert rows["Peak GPU memory, whole run"][1] == ("-",)


def test_milestones_of_a_run_are_where_the_run_draws(tmp_path: Path) -> None:
    folder = write_sample_run(tmp_path / "run-01")
    with (folder / "config.toml").open("a") as config:
        config.write("[run]\nsamples = 1600\nnum_milestones = 2\n")
    document = build_document(sample_advice(), read_run(folder), "en")
    table = next(block for block in section(document, "milestones").blocks if isinstance(block, Table))
    said = [[line_text(cell, document.marks, basis=False) for cell in row] for row in table.rows]
    assert said[0][:4] == ["sample-1", "800", "50", "0.5"]
    assert said[1][:4] == ["sample-2", "1 600", "100", "1.0"]
    assert said[0][4].startswith("8.00 s") and said[0][5:8] == ["8.25 s", "0.02", "0.4"]
    assert "Step 100 (16.0 s)" in text_of(section(document, "checkpoints"), document)


def test_the_reports_know_how_often_the_trainer_draws() -> None:
    default = next(field.default for field in dataclasses.fields(TrainConfig) if field.name == "num_milestones")
    assert default == NUM_GRIDS
    advice = sample_advice(workload=WorkloadRef(name="gait48", parameters={"preset": "gait48"}))
    assert "k/5 of the run" in text_of(section(document_of(advice), "milestones"), document_of(advice))


def test_a_run_without_an_advice_is_reported(tmp_path: Path) -> None:
    folder = write_sample_run(tmp_path / "run-01")
    (folder / "advice.json").unlink()
    run = read_run(folder)
    assert run.device_kind == "cuda"
    for lang, kind in (("en", "GPU memory"), ("zh", "显存峰值")):
        document = build_document(None, run, lang)
        assert [one.id for one in document.sections] == ["verdict", "milestones", *AFTER_A_RUN, "method"]
        said = "\n".join(text_of(one, document) for one in document.sections)
        assert kind in said and "165 ms" in said and "98.3" in said and "micro_batch = 16" in said
        assert not any(figure.claim.basis == "predicted" and figure.is_known for figure in document.figures())
    with pytest.raises(ValueError, match="advice or a run"):
        build_document(None, None, "en")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_model_of_step_times_is_shown_with_its_intervals(lang: str) -> None:
    speed = dataclasses.replace(
        sample_advice().speed, alpha_interval_s=(0.019, 0.021), beta_interval_s=(0.0071, 0.0089),
        gamma_interval_s=(0.0, 0.03),
    )  # fmt: skip
    text = markdown.render(build_document(sample_advice(speed=speed), None, lang))
    bracket = {"en": " (", "zh": "（"}[lang]
    assert f"20.0 ms{bracket}19.0" in text
    assert f"8.00 ms{bracket}7.10" in text


def test_what_was_not_timed_is_not_judged_by_time() -> None:
    nothing = claim(None, basis="predicted")
    best = dataclasses.replace(KEEP, step_s=nothing, run_s=nothing, samples_per_s=nothing, verdict="recommended")
    looks = tuple(dataclasses.replace(one, elapsed_s=nothing) for one in sample_advice().milestones)
    advice = sample_advice(recommended=best, milestones=looks)
    for lang, words in (("en", "How long they take is not known"), ("zh", "用时未知")):
        document = build_document(advice, None, lang)
        assert words in text_of(section(document, "verdict"), document)
        final = text_of(section(document, "final"), document)
        assert "does not pay" not in final and "不划算" not in final
        titles = [block.text for block in section(document, "checkpoints").blocks if hasattr(block, "text")]
        assert not any("unknown" in title or "未知" in title for title in titles)
