"""The noise scales that a run wrote down are shown beside its batch, in both languages."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
from sample_advice import sample_advice, write_sample_run
from small_run import small_config

from advisor.recommend.options import relative_steps
from advisor.records import Claim, NoiseScale
from reports.blocks import Bullets, Document, Section, Table
from reports.document import build_document
from reports.markdown import render
from reports.noise import worth
from reports.run import read_run, source_json
from trainer.journal import Journal
from trainer.noise import NoiseFound, NoiseReport
from trainer.notes import note

SAMPLES = 1600
REFUSED = NoiseFound(noise_scale=None, num_steps=60, refusal="60 steps were measured; 100 are needed")


def scale(value: float) -> NoiseScale:
    adam = Claim(value=2 * value, low=1.8 * value, high=2.5 * value, basis="measured", source="test")
    return NoiseScale(value=value, low=0.8 * value, high=1.2 * value, n=200, preconditioned=adam)


def found(value: float) -> NoiseFound:
    return NoiseFound(noise_scale=scale(value), num_steps=200)


def write(folder: Path, *windows: tuple[int, NoiseFound]) -> Path:
    """A finished run of batch 16 whose trainer saw these windows."""
    write_sample_run(folder)
    (folder / "config.toml").write_text(f"[batch]\nmicro_batch = 8\naccumulation = 2\n[run]\nsamples = {SAMPLES}\n")
    config = small_config(micro_batch=8, accumulation=2, samples=SAMPLES)
    report = NoiseReport(config, None, Journal(folder, SAMPLES), lambda _: None)
    for samples_seen, one in windows:
        report(samples_seen, one)
    return folder


def section(document: Document) -> Section | None:
    return next((one for one in document.sections if one.id == "noise"), None)


def test_what_the_trainer_wrote_down_is_read(tmp_path: Path) -> None:
    noise = read_run(write(tmp_path / "run", (320, found(48.0)), (800, REFUSED))).noise
    assert noise is not None and noise.better is None
    first, second = noise.readings
    assert (first.samples, first.share, first.scale.value, first.scale.low) == (320, 0.2, 48.0, pytest.approx(38.4))
    assert first.scale.bounds == (pytest.approx(38.4), pytest.approx(240.0))
    assert (second.scale, second.refusal) == (None, REFUSED.refusal)


def test_the_table_says_share_value_and_worth_with_basis_and_source(tmp_path: Path) -> None:
    run = read_run(write(tmp_path / "run", (320, found(48.0)), (800, found(112.0))))
    table = next(block for block in section(build_document(None, run, "en")).blocks if isinstance(block, Table))
    assert [row[0] for row in table.rows] == [("20 %",), ("50 %",)]
    raw, adam, used = (table.rows[0][k][0] for k in (2, 4, 6))
    assert (raw.text, adam.text, used.text) == ("48", "96", "85.7 %")  # 96 / (96 + 16)
    assert {raw.claim.basis, adam.claim.basis} == {"measured"} and used.claim.basis == "predicted"
    assert {raw.claim.source, adam.claim.source} == {"metrics.jsonl: noise_scale"}
    assert "16" in table.columns[6].title
    assert table.rows[1][6][0].text == "93.3 %"  # 224 / (224 + 16)


@pytest.mark.parametrize(("lang", "said"), [("en", "Gradient noise scale, as measured"), ("zh", "梯度噪声尺度")])
def test_both_languages_show_it_with_and_without_an_advice(tmp_path: Path, lang: str, said: str) -> None:
    run = read_run(write(tmp_path / "run", (320, found(48.0)), (800, REFUSED)))
    for advice in (None, sample_advice()):
        document = build_document(advice, run, lang)
        assert said in section(document).title
        text = render(document)
        assert "38.4" in text and "57.6" in text and "60 steps were measured" in text


def test_another_batch_that_was_named_is_said_with_its_bases(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", (320, found(48.0)))
    said = note(
        "other_batch_from_here", share=0.2, value=48.0, low=38.4, high=57.6, micro_batch=32, accumulation=1, lr=1.4e-3,
        ratio=0.71, ratio_low=0.65, ratio_high=0.8,
    )  # fmt: skip
    Journal(folder, SAMPLES).event("noise_advice", 320, id=said.id, text=said.text, values=said.values)
    run = read_run(folder)
    assert run.noise.better == said
    blocks = section(build_document(None, run, "zh")).blocks
    (line,) = [item.line for block in blocks if isinstance(block, Bullets) for item in block.items]
    bases = {part.claim.value: part.claim.basis for part in line if not isinstance(part, str)}
    assert (bases[48.0], bases[0.71], bases[1.4e-3]) == ("measured", "predicted", "rule")


def test_a_run_that_only_refused_has_sentences_and_no_table(tmp_path: Path) -> None:
    shown = section(build_document(None, read_run(write(tmp_path / "run", (320, REFUSED))), "en"))
    assert not [block for block in shown.blocks if isinstance(block, Table)]


def test_a_run_that_was_too_short_has_no_such_section(tmp_path: Path) -> None:
    run = read_run(write(tmp_path / "run"))
    assert run.noise is None
    assert section(build_document(None, run, "en")) is None


def test_a_line_that_lacks_a_bound_is_no_noise_scale(tmp_path: Path) -> None:
    folder = write(tmp_path / "run")
    Journal(folder, SAMPLES).metric("noise_scale", 320, value=48.0, low=38.4, high=None)
    run = read_run(folder)
    assert run.noise.readings[0].scale is None
    assert "could not be determined: unknown" in render(build_document(None, run, "en"))


def test_the_noise_scales_stand_in_the_json_too(tmp_path: Path) -> None:
    told = json.loads(source_json(None, read_run(write(tmp_path / "run", (320, found(48.0))))))
    assert told["run"]["noise"]["readings"][0]["scale"]["value"] == 48.0


def test_what_adam_makes_of_the_noise_counts_where_it_is_known():
    raw = NoiseScale(value=40.0, low=30.0, high=55.0, n=200)
    assert (raw.expected, raw.bounds) == (40.0, (30.0, 55.0))
    adam = Claim(value=12.0, low=10.0, high=15.0, basis="measured", source="test")
    quieter = dataclasses.replace(raw, preconditioned=adam)
    assert (quieter.expected, quieter.bounds) == (12.0, (10.0, 55.0))
    assert dataclasses.replace(quieter, is_early=True).bounds == (10.0, math.inf)


@pytest.mark.parametrize("value", [4.0, 48.0, 5000.0])
def test_the_worth_of_a_sample_is_that_of_the_advice(value: float) -> None:
    """Samples to the same loss are steps times batch; those of a very small batch are fewest."""
    adam = 2 * value
    samples_ratio = relative_steps(16, 1, adam) * 16
    smallest = (1 + adam) / adam  # samples of batch 1 beside those of an ever smaller one
    assert worth(16, scale(value)).value == pytest.approx(1 / (samples_ratio * smallest))
