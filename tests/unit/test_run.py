"""A run folder is read as far as it can be: killed runs and missing files are told, not fatal."""

import json
from pathlib import Path

import pytest
from sample_advice import MIB, sample_advice, write_sample_run

from advisor.errors import UsageError
from reports.entries import actual
from reports.run import read_run, read_source, source_json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_sample_run(tmp_path / "run-01")


def test_a_finished_run_gives_its_actual_figures(folder: Path) -> None:
    run = read_run(folder)
    assert (run.name, run.status, run.samples, run.step, run.num_resumes) == ("run-01", "finished", 1600, 100, 1)
    assert (run.micro_batch, run.accumulation) == (16, 1)
    assert run.actual.step_s.value == pytest.approx(0.165)
    assert run.actual.elapsed_s.value == 17.2
    assert run.actual.peak_reserved_bytes.value == 1510 * MIB
    assert run.actual.samples_per_s.value == pytest.approx(16 / 0.165)
    assert {claim.basis for claim in (run.actual.step_s, run.actual.elapsed_s)} == {"measured"}
    assert run.problems == ()


def test_records_of_the_folder_are_found(folder: Path) -> None:
    run = read_run(folder)
    assert run.advice == sample_advice()
    assert run.evaluation is not None and run.evaluation.accuracy is not None
    assert run.dataset is not None and run.dataset.num_held_out == 180
    assert [(grid.path, grid.samples) for grid in run.grids] == [
        ("samples/sample-1.png", 800),
        ("samples/sample-2.png", 1600),
    ]
    assert run.checkpoints_samples == (1600,)
    assert [warning.text for warning in run.run_warnings] == ["loss rose"]


def test_the_best_validation_is_the_lowest_of_the_averaged_weights(folder: Path) -> None:
    best = read_run(folder).best_validation
    assert best is not None and best.samples == 800  # 0.4 averaged, though the raw loss at 1600 is lower


def test_a_torn_last_line_is_left_out(folder: Path) -> None:
    before = read_run(folder)
    for name in ("metrics.jsonl", "events.jsonl"):
        with (folder / name).open("ab") as file:
            file.write(b'{"kind": "train", "samples": 99')
    assert read_run(folder) == before


def test_a_damaged_line_is_skipped_and_told(folder: Path) -> None:
    lines = (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    lines[2] = b"\x00\x00\xff\n"
    (folder / "metrics.jsonl").write_bytes(b"".join(lines))
    run = read_run(folder)
    assert len(run.train) == 9
    assert len(run.problems) == 1 and "metrics.jsonl" in run.problems[0] and "3" in run.problems[0]


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "events.jsonl", "dataset.json", "evaluation.json", "config.toml", "advice.json"]
)
def test_any_file_may_be_missing(folder: Path, name: str) -> None:
    (folder / name).unlink()
    run = read_run(folder)
    assert run.problems == ()
    assert run.samples == 1600


@pytest.mark.parametrize("name", ["dataset.json", "evaluation.json", "config.toml", "advice.json"])
def test_any_file_may_be_damaged(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b'{"schema": \xff')
    run = read_run(folder)
    assert len(run.problems) == 1 and name in run.problems[0]


def test_unknown_is_none_where_nothing_was_logged(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[model]\npreset = 'tiny'\n")
    run = read_run(tmp_path)
    assert run.status == "unfinished"
    assert run.actual.step_s.value is None
    assert run.actual.elapsed_s.value is None
    assert run.actual.peak_reserved_bytes.value is None
    assert run.best_validation is None


def test_null_and_missing_figures_of_a_line_are_unknown(tmp_path: Path) -> None:
    lines = [{"kind": "train", "samples": 16, "step": 1, "loss": None}, {"kind": "validation", "samples": 16}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = read_run(tmp_path)
    assert run.train[0].loss is None and run.train[0].peak_reserved_bytes is None
    assert run.validation[0].loss is None and run.best_validation is None


def test_figures_that_are_not_finite_are_unknown(tmp_path: Path) -> None:
    line = '{"kind": "train", "samples": 16, "step": 1, "loss": NaN, "step_s": 1e999, "peak_reserved_bytes": Infinity}'
    (tmp_path / "metrics.jsonl").write_text(line + "\n")
    run = read_run(tmp_path)
    assert run.train[0].loss is None and run.train[0].step_s is None
    assert run.actual.step_s.value is None and run.actual.peak_reserved_bytes.value is None


def test_interrupted_then_resumed_is_not_interrupted_any_more(folder: Path) -> None:
    lines = (folder / "events.jsonl").read_text().splitlines(keepends=True)
    kinds = [json.loads(line)["kind"] for line in lines]
    for last, status in (("interrupted", "interrupted"), ("resume", "unfinished")):
        (folder / "events.jsonl").write_text("".join(lines[: kinds.index(last) + 1]))
        assert read_run(folder).status == status


def test_other_folders_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such run folder"):
        read_run(tmp_path / "missing")
    with pytest.raises(UsageError, match="not a run folder"):
        read_run(tmp_path)


def test_an_advice_file_and_a_run_folder_are_both_sources(folder: Path) -> None:
    assert read_source(folder / "advice.json") == (sample_advice(), None)
    advice, run = read_source(folder)
    assert advice == sample_advice() and run is not None
    (folder / "advice.json").unlink()
    advice, run = read_source(folder)
    assert advice is None and run is not None and run.samples == 1600
    with pytest.raises(UsageError):
        read_source(folder / "nothing.json")


def test_the_json_report_holds_the_records_in_english_keys(folder: Path) -> None:
    plain = json.loads(source_json(*read_source(folder)))
    assert list(plain) == ["schema", "advice", "run"]
    assert plain["schema"] == "cfgadvise.report/1"
    assert plain["run"]["actual"]["step_s"]["basis"] == "measured"
    assert plain["advice"]["recommended"]["micro_batch"] == 16
    assert json.loads(source_json(sample_advice(), None))["run"] is None


def test_the_time_on_the_clock_leaves_out_the_pauses_between_the_parts_of_a_run() -> None:
    def at(kind: str, utc: str) -> dict[str, str]:
        return {"kind": kind, "utc": f"2025-01-01T{utc}+00:00"}

    events = [
        at("start", "10:00:00"), at("checkpoint", "10:00:30"), at("interrupted", "10:01:00"),
        at("resume", "12:00:00"), {"kind": "warning", "utc": "torn"}, at("finished", "12:00:20"),
    ]  # fmt: skip
    assert actual((), events, []).total_s.value == 80
    assert actual((), [{"kind": "start"}], []).total_s.value is None
    assert actual((), [], []).total_s.value is None
