"""``cfgadvise recommend --gpu``: a card that is not here, from the command line to the exit code."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from advisor import schema
from advisor.records import Advice

NETS = str(Path(__file__).resolve().parents[1] / "fakes" / "small_nets.py")
STEP = f"{NETS}:sized"
SETTING = ("--dataset-size", "1550", "--batch-size", "8", "--accumulation", "2", "--lr", "1e-4")


def recommend(*options: str, lang: str = "en") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "advisor", "--lang", lang, "recommend", *options]
    environment = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


@pytest.fixture(scope="module")
def own_step(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("own") / "my_step.py"
    path.write_text(
        "from advisor.workload import synthetic\n\n"
        "def make(device):\n"
        "    assert str(device) == 'cuda:0'\n"
        "    return synthetic.make(device, num_features=1_000_000)\n",
        encoding="utf-8",
    )
    return f"{path}:make"


def test_every_figure_of_memory_and_time_is_predicted_with_an_interval(own_step: str) -> None:
    run = recommend(*SETTING, "--gpu", "Tesla P100", "--workload", own_step, "--json")
    assert run.returncode == 0, run.stderr
    advice = schema.from_json(Advice, run.stdout, where="stdout")
    assert (advice.recommended.id, advice.recommended.micro_batch) == ("no_accumulation", 16)
    assert advice.optimizer_steps_run == 0
    assert advice.device.name.startswith("Tesla P100")
    for option in advice.options:
        peak = option.peak_reserved_bytes
        assert peak.basis == option.memory_frac.basis == "predicted"
        assert peak.low < peak.value < peak.high
        for claim in (option.step_s, option.run_s, option.samples_per_s):
            assert claim.basis == "predicted"
            assert 0 < claim.low < claim.value < claim.high
        assert option.run_s.value == pytest.approx(
            math.ceil(advice.run_samples.value / option.effective_batch) * option.step_s.value
        )
    assert all(one.elapsed_s.value is not None for one in advice.milestones)
    speed = advice.speed
    assert speed.beta_interval_s[0] < speed.beta_s < speed.beta_interval_s[1]
    assert 8 * speed.beta_s < advice.present.step_s.high and 4 <= speed.knee_micro_batch <= 64
    predicted = {one.micro_batch: one for one in advice.memory.predicted}
    assert predicted[16].reserved_bytes == advice.recommended.peak_reserved_bytes.value
    safe = advice.memory.max_micro_batch
    assert predicted[safe].high <= advice.memory.budget_bytes
    assert advice.memory.breakdown.weights_bytes == 4_000_000
    assert advice.memory.breakdown.fragmentation_bytes < advice.recommended.peak_reserved_bytes.value  # at its batch
    assert {"predicted_step", "largest_safe"} <= {one.id for one in advice.warnings}


def test_a_present_setting_that_does_not_fit_gets_more_accumulation(own_step: str) -> None:
    options = ("--gpu", "p100", "--workload", own_step, "--memory-budget", "80MiB", "--json")
    run = recommend("--dataset-size", "1550", "--batch-size", "16", *options)
    assert run.returncode == 0, run.stderr
    advice = schema.from_json(Advice, run.stdout, where="stdout")
    assert advice.present.verdict == "infeasible"
    assert advice.recommended.id == "less_memory"
    assert advice.recommended.effective_batch == 16
    assert advice.recommended.peak_reserved_bytes.high <= 80 * 2**20


def test_where_not_even_two_samples_fit_the_answer_is_what_would_make_it_fit(own_step: str) -> None:
    run = recommend(*SETTING, "--gpu", "P100", "--workload", own_step, "--memory-budget", "20MiB")
    assert run.returncode == 3
    assert run.stdout == ""
    assert "not even micro-batch 2 fits on a Tesla P100" in run.stderr
    assert "To make it fit: a card like the" in run.stderr


def test_the_report_in_chinese(own_step: str) -> None:
    run = recommend(*SETTING, "--gpu", "RTX 3060", "--workload", own_step, lang="zh")
    assert run.returncode == 0, run.stderr
    assert "模拟 GPU" in run.stdout


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--gpu", "P1000000"), 2, "not in the table of GPUs"),
        (("--gpu", "P100", "--device", "cpu"), 2, "--gpu and --device exclude each other"),
        (("--gpu", "MI300X"), 3, "not a CUDA card"),
    ],
)
def test_bad_input_is_one_message(options: tuple[str, ...], status: int, message: str) -> None:
    run = recommend("--dataset-size", "100", "--workload", STEP, *options)
    assert (run.returncode, run.stdout) == (status, "")
    assert message in run.stderr
