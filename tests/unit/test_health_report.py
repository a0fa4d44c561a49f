"""What the health checks wrote down is found in the run and shown in both languages."""

import json
from pathlib import Path

import pytest
from sample_advice import write_sample_run

from reports.document import build_document
from reports.markdown import render
from reports.run import read_run
from trainer.health.alarms import alarm

BASELINES = {"zero": [1.0] * 8, "wiener": [0.5] * 7 + [None], "copier": None, "floor": [0.01] * 8}


def write(folder: Path, name: str, **entry) -> None:
    with (folder / name).open("a") as file:
        file.write(json.dumps(entry) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = write_sample_run(tmp_path / "run-01")
    said = alarm("lr_too_low", statistic=0.9123, threshold=0.5, n=184, moved=0.01, lr=1e-4)
    write(folder, "events.jsonl", kind="baselines", samples=0, **BASELINES)
    write(folder, "events.jsonl", kind="alarm", samples=800, id=said.id, text=said.text, values=said.values)
    write(
        folder, "metrics.jsonl", kind="validation", samples=1600, step=100, loss=0.3,
        error_by_bucket=[0.25] * 8, label_is_used=False,
    )  # fmt: skip
    return folder


def test_alarms_and_baselines_are_read(folder: Path) -> None:
    health = read_run(folder).health
    assert health is not None and health.samples == 1600 and health.label_is_used is False
    assert [(one.samples, one.note.id) for one in health.alarms] == [(800, "lr_too_low")]
    assert set(health.baselines) == {"zero", "wiener", "floor"}
    assert health.baselines["wiener"] == (*[0.5] * 7, None)


def test_the_section_is_there_in_both_languages(folder: Path) -> None:
    english, chinese = (render(build_document(None, read_run(folder), lang)) for lang in ("en", "zh"))
    for text, said in ((english, "It learns too slowly"), (chinese, "学得太慢")):
        assert said in text and "0.912" in text and "184" in text and "1e-4" in text
        assert "50" in text  # the skill of seven buckets
    assert "The label is not used" in english and "类别没有起作用" in chinese


def test_a_run_without_checks_has_no_such_section(tmp_path: Path) -> None:
    run = read_run(write_sample_run(tmp_path / "run-02"))
    assert run.health is None
    assert "health" not in [section.id for section in build_document(None, run, "en").sections]


def test_a_healthy_run_says_so(tmp_path: Path) -> None:
    folder = write_sample_run(tmp_path / "run-03")
    write(folder, "events.jsonl", kind="baselines", samples=0, **BASELINES)
    assert "No alarm." in render(build_document(None, read_run(folder), "en"))
