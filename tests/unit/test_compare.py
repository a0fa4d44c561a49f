"""Two pieces of advice or two runs side by side, and whether they can be compared at all."""

import dataclasses
import json
from pathlib import Path

import pytest
from sample_advice import CPU, KEEP, sample_advice, write_sample_run

from reports import markdown
from reports.blocks import Document, Table, line_text
from reports.compare import build_comparison, comparison_json
from reports.run import read_run


def rows(document: Document, section_id: str) -> dict[str, list[str]]:
    part = next(one for one in document.sections if one.id == section_id)
    (table,) = (block for block in part.blocks if isinstance(block, Table))
    said = [[line_text(cell, document.marks, intervals=False, basis=False) for cell in row] for row in table.rows]
    return {name: values for name, *values in said}


def test_two_pieces_of_advice_differ_in_what_they_recommend() -> None:
    first, second = sample_advice(recommended=KEEP), sample_advice()
    document = build_comparison(("a.json", first, None), ("b.json", second, None), "en")
    assert [one.id for one in document.sections] == ["verdict", "settings", "expected"]
    assert rows(document, "settings")["Micro-batch"] == ["8", "16"]
    assert rows(document, "expected")["Step time"] == ["200 ms", "160 ms", "0.8", "yes"]
    assert rows(document, "expected")["Peak GPU memory"] == ["1.07 GiB", "1.46 GiB", "1.36", "-"]
    assert "Both were made for the same device and step." in markdown.render(document)


def test_what_else_differs_is_said_first() -> None:
    other = sample_advice(device=CPU, dataset=dataclasses.replace(sample_advice().dataset, num_items=9))
    document = build_comparison(("a", sample_advice(), None), ("b", other, None), "en")
    assert "They differ in more than the setting: device, data." in markdown.render(document)


def test_two_runs_differ_in_what_happened(tmp_path: Path) -> None:
    first = read_run(write_sample_run(tmp_path / "one"))
    folder = write_sample_run(tmp_path / "two")
    (folder / "metrics.jsonl").write_text((folder / "metrics.jsonl").read_text().replace('"loss":0.3', '"loss":0.2'))
    (folder / "evaluation.json").unlink()
    second = read_run(folder)
    document = build_comparison(("one", first.advice, first), ("two", second.advice, second), "en")
    happened = rows(document, "happened")
    assert happened["Step time"][3] == "no"
    assert happened["Accuracy: real samples only"] == ["98.3 %", "unknown", "-", "-"]
    assert [chart.id for chart in document.charts()] == ["losses"]


def test_runs_of_other_lengths_do_not_compare_settings_alone(tmp_path: Path) -> None:
    first = read_run(write_sample_run(tmp_path / "one"))
    second = dataclasses.replace(first, samples=first.samples // 2)
    document = build_comparison(("one", None, first), ("two", None, second), "zh")
    assert "两者不同的不只是配置：训练长度。" in markdown.render(document)
    assert [one.id for one in document.sections] == ["verdict", "settings", "happened"]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_an_advice_beside_a_run(lang: str, tmp_path: Path) -> None:
    run = read_run(write_sample_run(tmp_path / "one"))
    document = build_comparison(("a", sample_advice(), None), ("one", None, run), lang)
    assert [one.id for one in document.sections] == ["verdict", "settings"]


def test_the_records_of_both_are_one_object() -> None:
    plain = json.loads(comparison_json(("a", sample_advice(), None), ("b", sample_advice(), None)))
    assert list(plain) == ["schema", "first", "second"]
    assert plain["second"]["name"] == "b" and plain["second"]["advice"]["recommended"]["micro_batch"] == 16
