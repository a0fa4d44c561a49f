"""``cfgadvise recommend`` as a user calls it: stdout, stderr, exit codes, files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit
from PIL import Image

from advisor import schema
from advisor.records import Advice

STEP = """
from advisor.workload import synthetic

def make(device):
    return synthetic.make(device, num_features=200_000, alpha_s=0.04)

def broken(device):
    workload = make(device)
    workload.loss = lambda model, batch: model.no_such_layer(batch)
    return workload
"""
SETTING = ("--batch-size", "8", "--accumulation", "2", "--lr", "1e-4")


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "my_step.py"
    path.write_text(STEP, encoding="utf-8")
    return path


def recommend(*options: str, before: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "advisor", "--lang", "en", *before, "recommend", "--device", "cpu", *options]
    environment = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def option(advice: Advice, name: str) -> tuple[int, int, int, int]:
    found = next(one for one in advice.options if one.id == name)
    return found.micro_batch, found.accumulation, found.effective_batch, found.steps_per_epoch


@pytest.mark.slow
def test_the_reference_case_with_a_preset(tmp_path: Path) -> None:
    run = recommend("--dataset-size", "1550", *SETTING, "--preset", "tiny", "--out", str(tmp_path), "--json")
    assert run.returncode == 0, run.stderr
    advice = schema.from_json(Advice, run.stdout, where="stdout")
    assert [option(advice, name) for name in ("keep", "no_accumulation", "larger_batch")] == [
        (8, 2, 16, 97),
        (16, 1, 16, 97),
        (32, 1, 32, 49),
    ]
    keep, same, larger = advice.options[:3]
    assert same.lr.value == keep.lr.value == 1e-4
    assert (same.ema_decay, same.warmup_samples, same.betas) == (keep.ema_decay, keep.warmup_samples, keep.betas)
    assert (larger.lr.value, larger.lr.low, larger.lr.high) == pytest.approx((1.41e-4, 1.19e-4, 1.68e-4), rel=3e-3)
    assert all(one.outcome == "ok" for one in advice.measurements)
    assert advice.workload.name == "tiny"
    assert (tmp_path / "advice.json").read_text(encoding="utf-8") == run.stdout
    assert "16" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "measuring 8 x 2" in run.stderr


def test_a_step_of_ones_own_is_emitted_as_lines_to_paste(step: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ("--workload", f"{step}:make", "--dataset-size", "1550", "--batch-size", "4", "--accumulation", "2")
    run = recommend(
        *options,
        "--max-batch",
        "8",
        "--steps",
        "1000",
        "--emit",
        "python",
        "--report",
        str(report),
        before=("--quiet",),
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    names: dict[str, object] = {}
    exec(run.stdout, names)
    advice = schema.from_json(Advice, report.read_text(encoding="utf-8"), where="report")
    layout = (names["train_batch_size"], names["gradient_accumulate_every"])
    assert layout == (advice.recommended.micro_batch, advice.recommended.accumulation)
    assert layout in {(8, 1), (4, 2)}, "one pause of 40 ms instead of two, unless the machine is too busy to tell"
    assert names["train_lr"] == 1e-4, "read from the optimizer"
    assert names["adam_betas"] == (0.9, 0.99)
    assert advice.run_samples.value == 8000
    assert advice.recommended.ema_decay.value == 0.999


def test_a_file_of_ones_own_is_changed_only_with_write(tmp_path: Path) -> None:
    step = tmp_path / "my_step.py"
    step.write_text(STEP.replace("alpha_s=0.04", "alpha_s=0.15"), encoding="utf-8")
    text = "class Config:\n    train_batch_size = 4  # mine\n    gradient_accumulate_every = 2\n    train_lr = 3e-4\n"
    config = tmp_path / "train.py"
    config.write_text(text, encoding="utf-8")
    options = ("--workload", f"{step}:make", "--dataset-size", "1550", "--max-batch", "8", "--apply", str(config))
    shown = recommend(*options)
    assert shown.returncode == 0, shown.stderr
    assert "+    train_batch_size = 8  # mine" in shown.stdout.splitlines(), "one pause instead of two"
    assert "+    gradient_accumulate_every = 1" in shown.stdout.splitlines()
    assert "train_lr" not in "".join(line for line in shown.stdout.splitlines() if line.startswith("+"))
    assert "nothing was written" in shown.stderr
    assert config.read_text(encoding="utf-8") == text
    done = recommend(*options, "--write")
    assert done.stdout == shown.stdout
    assert config.read_text(encoding="utf-8") == text.replace("= 4", "= 8").replace("= 2", "= 1")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("train_lr = (\n", [], "not valid Python"),
        ("lr = 1e-4\n", [], "none of train_batch_size, gradient_accumulate_every, train_lr is given a number"),
        ("train_lr = 1e-4\n", ["--lr", "2e-4"], "leave --lr out"),
        ("train_batch_size = 0\ntrain_lr = 1e-4\ngradient_accumulate_every = 1", [], "at least 1, found 0"),
        ("train_lr = 1e-4\n", ["--json"], "--apply and --json exclude each other"),
        ("train_lr = 1e-4\n", ["--emit", "toml"], "--apply and --emit exclude each other"),
        ("train_lr = 1e-4\n", ["--apply-names", "x=y"], "write it like batch=BATCH"),
        (None, ["--write"], "belong to --apply FILE.py"),
    ],
)
def test_a_file_that_cannot_be_changed_is_one_message_before_anything_is_measured(
    text: str | None, options: list[str], message: str, tmp_path: Path
) -> None:
    config = tmp_path / "train.py"
    config.write_text(text or "", encoding="utf-8")
    run = recommend("--dataset-size", "9", *(["--apply", str(config)] if text is not None else []), *options)
    assert (run.returncode, run.stdout) == (2, "")
    assert message in run.stderr
    assert "Traceback" not in run.stderr
    assert "measuring" not in run.stderr
    assert config.read_text(encoding="utf-8") == (text or "")


@pytest.mark.slow
def test_a_folder_is_counted_and_the_emitted_toml_configures_a_training(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for k in range(4):
            Image.new("RGB", (16, 16), (40 * k, 90, 10)).save(tmp_path / "data" / name / f"{k}.png")
    data = ("--data", str(tmp_path / "data"))
    run = recommend(*data, "--batch-size", "2", "--max-batch", "2", "--lr", "2e-4", "--emit", "toml")
    assert run.returncode == 0, run.stderr
    config = tmp_path / "config.toml"
    config.write_text(run.stdout, encoding="utf-8")
    command = [sys.executable, "-m", "advisor", "train", *data, "--config", str(config), "--dry-run", "--device", "cpu"]
    planned = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert planned.returncode == 0, planned.stderr
    values = {key: value for table in tomlkit.parse(planned.stdout).unwrap().values() for key, value in table.items()}
    assert (values["micro_batch"], values["accumulation"], values["lr"]) == (2, 1, 2e-4)


def test_the_users_own_error_shows_its_own_traceback(step: Path) -> None:
    run = recommend("--workload", f"{step}:broken", "--dataset-size", "1550")
    assert run.returncode == 2
    assert run.stdout == ""
    assert "AttributeError" in run.stderr
    assert f'File "{step}", line 9' in run.stderr
    assert "advisor/measure" not in run.stderr
    assert "memory" not in run.stderr.splitlines()[-1]


def test_nothing_fits(step: Path) -> None:
    run = recommend("--workload", f"{step}:make", "--dataset-size", "9", "--batch-size", "1", "--memory-budget", "1MiB")
    assert run.returncode == 3
    assert run.stdout == ""
    assert "error: no setting with the effective batch 1 can be run" in run.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--dataset-size", "1550", "--batch-size", "0"], 2, "--batch-size must be at least 1, found 0"),
        (["--dataset-size", "1550", "--lr", "nan"], 2, "--lr must be a positive number such as 1e-4, found nan"),
        (["--dataset-size", "1550", "--lr", "-1"], 2, "--lr must be a positive number"),
        (["--dataset-size", "1550", "--preset", "gait49"], 2, "did you mean 'gait48'?"),
        (["--dataset-size", "0"], 2, "--dataset-size must be at least 1"),
        (["--data", "/no/such/folder"], 4, "/no/such/folder"),
        ([], 2, "give either --dataset-size N or --data DIR"),
        (["--dataset-size", "9", "--goal", "tiem"], 2, "did you mean 'time'?"),
        (["--dataset-size", "9", "--samples", "9", "--epochs", "2"], 2, "--samples and --epochs exclude each other"),
        (["--dataset-size", "9", "--epochs", "nan"], 2, "--epochs must be a positive number"),
        (["--dataset-size", "9", "--emit", "python", "--json"], 2, "exclude each other"),
        (["--dataset-size", "9", "--report", "a.pdf"], 2, "must end in .md or .html or .json"),
        (["--dataset-size", "9", "--memory-budget", "much"], 2, "write it like 14GiB"),
        (["--dataset-size", "9", "--batch-size", "8", "--max-batch", "4"], 2, "above the largest allowed"),
        (["--dataset-size", "9", "--workload", "step.py"], 2, "my_step.py:make"),
        (["--dataset-size", "9", "--workload", "a.py:make", "--preset", "tiny"], 2, "exclude each other"),
        (["--dataset-size", "9", "--out", "/dev/null/below"], 6, "/dev/null"),
    ],
)
def test_bad_input_is_one_message(options: list[str], code: int, message: str) -> None:
    run = recommend(*options)
    assert run.returncode == code
    assert run.stdout == ""
    assert message in run.stderr
    assert "Traceback" not in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


def test_json_is_one_object_and_nothing_else(step: Path) -> None:
    run = recommend(
        "--workload", f"{step}:make", "--dataset-size", "40", "--batch-size", "2", "--max-batch", "2", "--json"
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    plain = json.loads(run.stdout)
    assert next(iter(plain)) == "schema"
    assert plain["schema"] == "cfgadvise.advice/1"
    infeasible = [one["id"] for one in plain["options"] if one["verdict"] == "infeasible"]
    assert infeasible == ["larger_batch"]
