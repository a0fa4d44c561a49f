"""``cfgadvise report`` on a run folder and on an advice: every format, both languages, clear refusals."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sample_advice import write_sample_run


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return write_sample_run(tmp_path / "run-01")


def cfgadvise(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "advisor", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", env={**os.environ, **environment}, timeout=60
    )


def test_both_languages_come_in_one_markdown_file(run_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.md"
    done = cfgadvise("report", run_folder, "--format", "md", "--lang", "both", "--output", file)
    assert (done.returncode, done.stdout) == (0, "")
    text = file.read_text(encoding="utf-8")
    assert "## 1. 结论" in text and "## 1. Verdict" in text


def test_the_language_of_the_program_is_the_language_of_the_report(run_folder: Path) -> None:
    assert "预估与实际" in cfgadvise("--lang", "zh", "report", run_folder).stdout
    assert "Predicted and actual" in cfgadvise("report", run_folder).stdout


def test_json_is_one_object_on_stdout(run_folder: Path) -> None:
    done = cfgadvise("report", run_folder / "advice.json", "--format", "json")
    assert done.returncode == 0 and done.stderr == ""
    assert json.loads(done.stdout)["advice"]["recommended"]["effective_batch"] == 16


def test_a_page_holds_both_languages_and_is_known_by_the_name_of_its_file(run_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    done = cfgadvise("--lang", "en", "report", run_folder, "--lang", "both", "--output", file)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    text = file.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>") and 'lang="zh-Hans"' in text and "What happened" not in text
    assert "预估与实际" in text and "Predicted and actual" in text
    alone = cfgadvise("report", run_folder, "--format", "html", "--lang", "en").stdout
    assert "Predicted and actual" in alone and "预估与实际" not in alone


def test_two_sources_are_compared(run_folder: Path) -> None:
    done = cfgadvise("report", run_folder, run_folder / "advice.json")
    assert done.returncode == 0 and done.stdout.startswith("Comparison")
    plain = json.loads(cfgadvise("report", run_folder, run_folder, "--format", "json").stdout)
    assert plain["schema"] == "cfgadvise.comparison/1"


def test_a_run_without_an_advice_is_reported(run_folder: Path) -> None:
    (run_folder / "advice.json").unlink()
    done = cfgadvise("report", run_folder)
    assert done.returncode == 0 and done.stdout.startswith("Training run report")


def test_a_report_loads_no_torch(run_folder: Path) -> None:
    code = (
        "import sys; sys.argv = ['cfgadvise', 'report', sys.argv[1]]\n"
        "from advisor.cli.app import main\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run_folder)], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "False"


@pytest.mark.parametrize("encoding", ["ascii", "gbk"])
def test_a_pipe_of_another_encoding_gets_a_report(run_folder: Path, encoding: str) -> None:
    command = [sys.executable, "-m", "advisor", "--lang", "zh", "report", str(run_folder)]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert b"160 ms" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "nowhere"),
        (("{run}", "--format", "pdf"), "pdf"),
        (("{run}", "--lang", "fr"), "fr"),
        (("{run}/metrics.jsonl",), "metrics.jsonl"),
    ],
)
def test_a_wrong_call_gets_one_message_and_exit_code_2(run_folder: Path, arguments: tuple[str, ...], said: str) -> None:
    done = cfgadvise("report", *(argument.format(run=run_folder) for argument in arguments))
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_report_that_cannot_be_written_says_so(run_folder: Path) -> None:
    blocked = run_folder / "advice.json" / "report.md"
    done = cfgadvise("report", run_folder, "--format", "md", "--output", blocked)
    assert done.returncode == 6
    assert "report.md" in done.stderr and "Traceback" not in done.stderr
