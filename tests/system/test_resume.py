"""A run that is killed at random moments and started again ends as the uninterrupted run does."""

import hashlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SAMPLES = 2400
NUM_KILLS = 5


def _command(run: Path) -> list[str]:
    return [
        sys.executable, "-m", "advisor", "train", "--device", "cpu", "--out", str(run), "--samples", str(SAMPLES),
        "--set", "micro_batch=16", "--set", "num_milestones=2", "--set", "checkpoint_every_samples=64",
        "--set", "validate_every_samples=800",
    ]  # fmt: skip


def _start(run: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(_command(run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _weights(run: Path) -> str:
    """Hash of every tensor of the last checkpoint: model, averages and optimizer."""
    return hashlib.sha256((run / "checkpoints" / f"ckpt-{SAMPLES:012d}" / "state.safetensors").read_bytes()).hexdigest()


def _wait_for_training(run: Path, process: subprocess.Popen[bytes], more_than: int) -> None:
    """Until there are more checkpoints than before, so that every life of the run makes some progress."""
    while process.poll() is None and _progress(run) <= more_than:
        time.sleep(0.02)


def _progress(run: Path) -> int:
    return max((int(path.name[5:]) for path in run.glob("checkpoints/ckpt-*")), default=0)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> str:
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert subprocess.run(_command(run), capture_output=True, check=False).returncode == 0
    return _weights(run)


@pytest.mark.kill
def test_killed_runs_end_with_the_same_bits(tmp_path, uninterrupted):
    run, chance, kills = tmp_path / "run", random.Random(3), 0
    while kills < NUM_KILLS:
        process = _start(run)
        _wait_for_training(run, process, _progress(run))
        time.sleep(chance.random() * 0.4)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the run ended before it was killed: make it longer"
        kills += 1
    assert _start(run).wait() == 0
    assert _weights(run) == uninterrupted
    assert not [*run.rglob(".tmp-*"), *run.rglob(".del-*")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_same_command_goes_on(tmp_path, uninterrupted, number):
    run = tmp_path / "run"
    process = _start(run)
    _wait_for_training(run, process, 0)
    process.send_signal(number)
    assert process.wait() == 128 + number
    assert 0 < _progress(run) < SAMPLES
    assert '"kind": "interrupted"' in (run / "events.jsonl").read_text()
    assert _start(run).wait() == 0
    assert _weights(run) == uninterrupted
