"""The shell around the commands: help, language, streams, exit codes, and who owns our names."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import advisor
from advisor import errors
from advisor.cli import app as cli_app
from advisor.cli import context
from advisor.cli.context import Settings, choose_lang, current_settings, print_answer, print_progress

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def cfgadvise(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "advisor", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, **environment},
        check=False,
    )


# ---- help and version ---------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", *cli_app.COMMANDS])
def test_help_is_as_agreed(command):
    """The options are a contract. After a wanted change: UPDATE_GOLDEN=1 pytest tests/system/test_cli.py."""
    done = cfgadvise(*command.split(), "--help", TYPER_USE_RICH="0", COLUMNS="100", TERMINAL_WIDTH="100")
    golden = GOLDEN / f"help-{command or 'cfgadvise'}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(done.stdout, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == golden.read_text(encoding="utf-8")


def test_version():
    done = cfgadvise("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"cfgadvise {advisor.__version__}\n", "")
    assert re.fullmatch(r"\d+\.\d+\.\d+", advisor.__version__)


def test_every_command_is_explained_in_the_help():
    done = cfgadvise("--help", COLUMNS="120")
    for command in cli_app.COMMANDS:
        assert re.search(rf"{command} +\S+", done.stdout), f"{command} has no sentence of help"


@pytest.mark.parametrize(
    "arguments", [["nosuch"], ["--nosuch"], ["probe", "--nosuch"], ["--lang", "fr", "probe"], ["recommend", "--data"]]
)
def test_wrong_usage_is_exit_2_on_stderr_without_a_traceback(arguments):
    done = cfgadvise(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() and "Traceback" not in done.stderr


# ---- language -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "environment", "lang"),
    [
        (None, {}, "en"),
        (None, {"LANG": "zh_CN.UTF-8"}, "zh"),
        (None, {"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "de_DE.UTF-8"}, "en"),
        (None, {"LANG": "en_US.UTF-8", "LC_ALL": "zh_TW.UTF-8"}, "zh"),
        (None, {"LANG": "en_US.UTF-8", "LANGUAGE": "zh_CN:en"}, "zh"),
        (None, {"LANG": "zh_CN.UTF-8", "LANGUAGE": "en:zh"}, "en"),
        (None, {"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
        (None, {"LANG": "zh_CN.UTF-8", "CFGADVISE_LANG": "en"}, "en"),
        ("zh", {"LANG": "en_US.UTF-8", "CFGADVISE_LANG": "en"}, "zh"),
        (None, {"LANG": "C"}, "en"),
    ],
)
def test_the_language_comes_from_the_nearest_wish(option, environment, lang):
    assert choose_lang(option, environment) == lang


@pytest.mark.parametrize(("option", "environment"), [("fr", {}), (None, {"CFGADVISE_LANG": "chinese"})])
def test_an_unknown_language_is_a_usage_error(option, environment):
    with pytest.raises(errors.UsageError, match="choose en or zh"):
        choose_lang(option, environment)


# ---- streams ------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "gbk", "latin-1", "utf-8"])
def test_no_stream_fails_for_want_of_a_character(encoding):
    code = (
        "from rich.table import Table\n"
        "from advisor.cli.context import *\n"
        "harden_streams()\n"
        "print_answer('显存 → 14 GiB ✓ \\udcb2')\n"
        "table = Table('批量'); table.add_row('16 × 1'); print_answer(table)\n"
        "print_progress('训练 ✓')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"14 GiB" in done.stdout and done.stderr


def test_a_text_answer_is_printed_as_it_is(capsys):
    print_answer('{"path": "[bold]a:smile:"}')
    assert capsys.readouterr().out == '{"path": "[bold]a:smile:"}\n'


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
@pytest.mark.parametrize("arguments", [["--version"], ["probe"]])
def test_an_answer_that_cannot_be_written_is_noticed(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "advisor", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 6
    assert done.stderr.endswith(
        "error: cannot write the answer to stdout: No space left on device; nothing else is wrong\n"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["--version"], ["probe"], ["probe", "--json"]])
def test_a_reader_that_went_away_is_no_error(arguments):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "advisor", *arguments], stdout=gone, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.stderr == ""


def test_progress_goes_to_stderr_and_is_silent_with_quiet(capsys, monkeypatch):
    monkeypatch.setattr(context, "_current", Settings(quiet=False))
    print_progress("step 1")
    assert capsys.readouterr() == ("", "step 1\n")
    monkeypatch.setattr(context, "_current", Settings(quiet=True))
    print_progress("step 2")
    assert capsys.readouterr() == ("", "")


def test_outside_a_call_the_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setattr(context, "_current", None)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert current_settings() == Settings(lang="zh")


# ---- errors -------------------------------------------------------------------------------------


def leave_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> object:
    failing = typer.Typer(pretty_exceptions_enable=False)

    @failing.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli_app, "app", failing)
    monkeypatch.setattr(sys, "argv", ["cfgadvise"])
    with pytest.raises(SystemExit) as leave:
        cli_app.main()
    return leave.value.code


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (errors.UsageError("no such preset"), 2),
        (errors.DeviceError("nothing fits"), 3),
        (errors.DataError("one picture"), 4),
        (errors.CheckpointError("all damaged"), 5),
        (errors.StorageError("disk full"), 6),
        (errors.NonFiniteError("loss is NaN"), 7),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(error, exit_code, monkeypatch, capsys):
    assert leave_with(error, monkeypatch) == exit_code
    assert capsys.readouterr() == ("", f"error: {error}\n")


def test_a_workload_error_shows_the_users_traceback(monkeypatch, capsys):
    error = errors.WorkloadError("my_step.py: make failed", 'Traceback:\n  File "my_step.py", line 3\nKeyError: 7\n')
    assert leave_with(error, monkeypatch) == 2
    printed = capsys.readouterr().err
    assert printed.endswith("line 3\nKeyError: 7\nerror: my_step.py: make failed\n")
    assert "advisor/cli" not in printed


def test_an_interrupted_run_says_what_was_saved(monkeypatch, capsys):
    assert leave_with(errors.Interrupted("saved at 4 096 samples", 15), monkeypatch) == 143
    assert capsys.readouterr().err == "saved at 4 096 samples\n"


def test_control_c_is_exit_130_without_a_traceback(monkeypatch, capsys):
    assert leave_with(KeyboardInterrupt(), monkeypatch) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_defect_of_ours_is_exit_1_with_its_traceback(monkeypatch, capsys):
    assert leave_with(ZeroDivisionError("division by zero"), monkeypatch) == 1
    printed = capsys.readouterr().err
    assert "Traceback" in printed and "internal error: division by zero" in printed


# ---- who owns our names -------------------------------------------------------------------------


def install(place: Path, name: str, files: dict[str, str]) -> None:
    metadata = place / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    for file, content in files.items():
        (metadata / file).write_text(content)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("coqui-tts-trainer", {"RECORD": "trainer/__init__.py,sha256=x,1\ntrainer/io.py,,\n"}),
        ("news-reports", {"top_level.txt": "reports\n", "RECORD": ""}),
        ("adviser", {"RECORD": "advisor.py,sha256=x,1\n"}),
    ],
)
def test_another_owner_of_our_names_is_named(name, files, tmp_path):
    install(tmp_path / "site", name, files)
    done = cfgadvise("--version", PYTHONPATH=os.pathsep.join([os.environ["PYTHONPATH"], str(tmp_path / "site")]))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"the installed package '{name}' also owns the import name" in done.stderr
    assert "environment of its own" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("cfgadvise", {"top_level.txt": "advisor\nreports\ntrainer\n", "RECORD": "__editable__.cfgadvise.pth,,\n"}),
        ("lightning", {"RECORD": "lightning/trainer/__init__.py,,\nlightning_trainer/__init__.py,,\ntrainers.py,,\n"}),
        ("broken", {}),
    ],
)
def test_our_own_editable_install_and_others_submodules_are_no_owners(name, files, tmp_path):
    install(tmp_path / "site", name, files)
    done = cfgadvise("--version", PYTHONPATH=os.pathsep.join([os.environ["PYTHONPATH"], str(tmp_path / "site")]))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_that_hides_one_of_our_packages_is_named():
    Path("trainer.py").write_text("raise SystemExit('the wrong trainer')")
    done = cfgadvise("--version")  # `python -m` puts the cwd first
    assert done.returncode == 2
    assert re.search(r"cwd.trainer\.py hides the package 'trainer' of cfgadvise; rename it", done.stderr)
