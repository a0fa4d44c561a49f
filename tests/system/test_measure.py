"""Real child processes: good, broken, hanging, aborting and talkative workloads."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from advisor.measure.campaign import Place, Subject, measure_settings
from advisor.measure.messages import BuildOrder, Built, Failure, StepReport
from advisor.measure.sandbox import Sandbox
from advisor.workload import synthetic
from advisor.workload.child import Child

SYNTHETIC = "advisor.workload.synthetic:make"
FAULTS = """
import dataclasses, os, subprocess, sys, time
import torch
from advisor import Workload
from advisor.workload import synthetic

def with_loss(device, loss):
    workload = synthetic.make(device, num_features=1000)
    first = workload.loss
    return dataclasses.replace(workload, loss=lambda model, batch: loss(first(model, batch)))

def raises(device):
    def broken(loss):
        raise ValueError("the user's own mistake")
    return with_loss(device, broken)

def hangs(device):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    return with_loss(device, lambda loss: time.sleep(600))

def aborts(device):
    return with_loss(device, lambda loss: os.abort())

def talks(device):
    def talk(loss):
        print("{} garbage")
        os.write(1, b"\\xff more garbage\\n")
        sys.stdin.readline()
        return loss
    print("building")
    return with_loss(device, talk)

def corrupts(device):
    def write_everywhere(loss):
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b"not a reply\\n")
            except OSError:
                pass
        return loss
    return with_loss(device, write_everywhere)

def leaves(device):
    return with_loss(device, lambda loss: os._exit(3))

def is_nan(device):
    return with_loss(device, lambda loss: loss * float("nan"))

def is_too_large(device):
    return with_loss(device, lambda loss: torch.empty(2**50))

def evaluates(device):
    return dataclasses.replace(synthetic.make(device, num_features=1000), eval_step=lambda: time.sleep(0.01))

def fails_to_evaluate(device):
    return dataclasses.replace(synthetic.make(device, num_features=1000), eval_step=lambda: 1 / 0)

def starts_slowly(device):
    pauses = iter([0.5])
    def pause(loss):
        time.sleep(next(pauses, 0.02))
        return loss
    return with_loss(device, pause)

def is_no_workload(device):
    return torch.nn.Linear(1, 1)

def takes_more(device, width):
    return None
"""
HEAVY_TO_IMPORT = """
from advisor.workload.synthetic import make as small

LIBRARY = bytearray(b"x" * 300_000_000)  # as a package with many modules does, and stays

def make(device):
    return small(device, num_features=1000)
"""


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("workloads") / "faults.py"
    path.write_text(FAULTS, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def next_sandbox() -> Iterator[Callable[[], Sandbox]]:
    """Children that import torch side by side while the first tests run."""
    waiting = [Sandbox(SYNTHETIC) for _ in range(2)]
    used: list[Sandbox] = []

    def take() -> Sandbox:
        waiting.append(Sandbox(SYNTHETIC))
        used.append(waiting.pop(0))
        return used[-1]

    yield take
    for sandbox in (*waiting, *used):
        sandbox.close()


def order(spec: str, **parameters: int | float) -> BuildOrder:
    return BuildOrder(
        spec=spec, parameters=dict(parameters), device="cpu", micro_batch=4, accumulation=2, cap_bytes=None
    )


def first_step(sandbox: Sandbox, spec: str, timeout_s: float = 120) -> StepReport | Failure:
    built = sandbox.build(order(spec), timeout_s=120)
    if isinstance(built, Failure):
        return built
    return sandbox.step(tracks_memory=False, timeout_s=timeout_s)


def test_what_the_user_s_file_imports_is_no_part_of_the_step(
    tmp_path: Path, next_sandbox: Callable[[], Sandbox]
) -> None:
    path = tmp_path / "heavy.py"
    path.write_text(HEAVY_TO_IMPORT, encoding="utf-8")
    report = first_step(next_sandbox(), f"{path}:make")
    assert isinstance(report, StepReport)
    assert report.peak_reserved_bytes is not None
    assert report.peak_reserved_bytes < 200_000_000


def test_a_good_workload_is_described_and_takes_what_it_says(next_sandbox: Callable[[], Sandbox]) -> None:
    sandbox, num_features = next_sandbox(), 1_000_000
    built = sandbox.build(order(SYNTHETIC, num_features=num_features), timeout_s=120)
    assert built == Built(
        lr=1e-4,
        beta1=0.9,
        beta2=0.99,
        ema_decay=0.999,
        has_ema=True,
        clip_norm=1.0,
        tracking_costs_time=True,
        real_data=False,
    )
    assert isinstance(sandbox.step(tracks_memory=False, timeout_s=60), StepReport)
    report = sandbox.step(tracks_memory=True, timeout_s=60)
    assert isinstance(report, StepReport)
    known_bytes = synthetic.micro_batch_bytes(num_features, 4) + sum(synthetic.static_bytes(num_features).values())
    assert report.peak_allocated_bytes == pytest.approx(known_bytes, rel=0.001)
    assert report.peak_reserved_bytes is not None
    assert report.peak_reserved_bytes > 0.8 * known_bytes
    sandbox.close()
    sandbox.close()


def test_the_users_error_keeps_its_traceback(next_sandbox: Callable[[], Sandbox], faults: Path) -> None:
    sandbox = next_sandbox()
    failure = first_step(sandbox, f"{faults}:raises")
    assert isinstance(failure, Failure)
    assert failure.outcome == "error"
    assert "a step raised ValueError: the user's own mistake" in failure.message
    assert failure.traceback_text is not None
    assert str(faults) in failure.traceback_text
    assert sandbox.step(tracks_memory=False, timeout_s=1) == failure, "a failed child is not asked again"


def test_a_hanging_step_times_out_and_leaves_no_process(next_sandbox: Callable[[], Sandbox], faults: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    sandbox, started_s = next_sandbox(), time.perf_counter()
    failure = first_step(sandbox, f"{faults}:hangs", timeout_s=1)
    assert isinstance(failure, Failure)
    assert (failure.outcome, failure.message) == ("timeout", "no answer within 1 s")
    assert time.perf_counter() - started_s < 120
    sandbox.close()
    sleeping = [
        child
        for child in psutil.process_iter(["cmdline"])
        if child.info["cmdline"] and "time.sleep(600)" in child.info["cmdline"][-1] and child.pid not in before
    ]
    assert not sleeping


@pytest.mark.parametrize(
    ("name", "outcome", "message"),
    [
        ("aborts", "error", "SIGABRT"),
        ("leaves", "error", "status 3"),
        ("corrupts", "error", "no reply: 'not a reply"),
        ("is_nan", "non_finite", "nan"),
        ("is_too_large", "oom", "DefaultCPUAllocator"),
        ("is_no_workload", "error", "returned Linear; it must return an advisor.Workload"),
        ("takes_more", "error", "must take the device"),
        ("misspelt", "error", "has no function 'misspelt'"),
    ],
)
def test_a_bad_workload_is_an_outcome(
    next_sandbox: Callable[[], Sandbox], faults: Path, name: str, outcome: str, message: str
) -> None:
    failure = first_step(next_sandbox(), f"{faults}:{name}")
    assert isinstance(failure, Failure)
    assert failure.outcome == outcome
    assert message in failure.message


def test_prints_and_reads_of_the_user_do_no_harm(next_sandbox: Callable[[], Sandbox], faults: Path) -> None:
    sandbox = next_sandbox()
    assert isinstance(first_step(sandbox, f"{faults}:talks"), StepReport)
    assert isinstance(sandbox.step(tracks_memory=True, timeout_s=60), StepReport)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit the data segment")
def test_a_cap_makes_a_large_allocation_fail_cleanly(next_sandbox: Callable[[], Sandbox]) -> None:
    capped = BuildOrder(
        spec=SYNTHETIC, parameters={"num_features": 20_000_000}, device="cpu", micro_batch=16, accumulation=1,
        cap_bytes=2**29,
    )  # fmt: skip
    sandbox = next_sandbox()
    assert isinstance(sandbox.build(capped, timeout_s=120), Built)
    failure = sandbox.step(tracks_memory=False, timeout_s=60)
    assert isinstance(failure, Failure)
    assert failure.outcome == "oom"


def test_the_child_ends_with_its_parent() -> None:
    script = (
        "import sys; from advisor.measure.sandbox import Sandbox; "
        f"s = Sandbox({SYNTHETIC!r}); print(flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-uc", script], stdin=-1, stdout=-1, text=True)
    assert parent.stdout is not None
    parent.stdout.readline()
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.communicate()
    child.wait(timeout=60)
    assert not child.is_running()


def test_a_users_own_trainer_folder_is_not_taken_for_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("advisor", "trainer"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('somebody else')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with Sandbox(SYNTHETIC) as sandbox:
        assert isinstance(sandbox.build(order(SYNTHETIC, num_features=10), timeout_s=120), Built)


def test_a_tensor_that_a_module_made_when_it_was_imported_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "with_table.py").write_text(
        "import torch\nfrom advisor.workload.synthetic import make\nTABLE = torch.zeros(20_000_000)\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    with Sandbox("with_table:make") as sandbox:
        assert isinstance(sandbox.build(order("with_table:make", num_features=1000), timeout_s=60), Built)
        report = sandbox.step(tracks_memory=True, timeout_s=60)
    assert isinstance(report, StepReport)
    assert report.peak_allocated_bytes is not None
    assert report.peak_allocated_bytes > 4 * 20_000_000


@pytest.mark.parametrize(("line", "said"), [("raise ValueError('mine')", "mine"), ("import os; os.abort()", "SIGABRT")])
def test_what_a_module_does_when_it_is_imported_is_said_when_it_is_built(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "early.py").write_text(f"print('hello')\n{line}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with Sandbox("early:make") as sandbox:
        failure = sandbox.build(order("early:make"), timeout_s=60)
    assert isinstance(failure, Failure)
    assert said in failure.message


def test_the_first_of_several_steps_without_a_pause_is_not_timed(
    faults: Path, next_sandbox: Callable[[], Sandbox]
) -> None:
    sandbox, spec = next_sandbox(), f"{faults}:starts_slowly"
    assert isinstance(sandbox.build(order(spec), timeout_s=120), Built)
    report = sandbox.step(tracks_memory=False, timeout_s=60, num_steps=4)
    assert isinstance(report, StepReport)
    assert report.num_steps == 4
    assert 0.04 <= report.step_s < 0.2, "two pauses of 20 ms a step; half a second more in the first"


def test_a_campaign_compares_settings_and_leaves_out_what_is_larger_than_a_failure() -> None:
    settings = [(4, 2), (8, 1), (16, 1), (32, 1)]
    parameters = {"num_features": 1000, "alpha_s": 0.05, "max_samples": 8}
    place = Place(torch_device="cpu", environment={}, budget_bytes=8 * 2**30)
    campaign = measure_settings(settings, Subject(spec=SYNTHETIC, parameters=parameters), place)
    outcomes = {(p.measurement.micro_batch, p.measurement.outcome) for p in campaign.points}
    assert outcomes == {(4, "ok"), (8, "ok"), (16, "oom")}
    assert campaign.interleaved
    same = campaign.points[1]
    assert same.measurement.step_s is not None
    assert same.measurement.steps_run > 2 + 2 * same.measurement.step_s.n, "turns of several steps"
    assert same.ratio_to_present is not None
    assert same.ratio_to_present.median < 0.9, "two pauses of 50 ms against one"


def test_a_decision_between_slow_steps_takes_six_rounds_and_the_others_are_left_at_fewer() -> None:
    place = Place(torch_device="cpu", environment={}, budget_bytes=None)
    subject = Subject(spec=SYNTHETIC, parameters={"num_features": 100, "alpha_s": 0.7})
    campaign = measure_settings([(2, 2), (4, 1), (8, 1)], subject, place, decides=True)
    rounds = [point.measurement.step_s.n for point in campaign.points if point.measurement.step_s]
    assert rounds[:2] == [6, 6]
    assert rounds[2] < 6
    assert campaign.points[1].ratio_to_present is not None
    assert campaign.points[1].ratio_to_present.n == 6


def test_an_evaluation_is_timed_after_the_steps_and_its_failure_is_none_of_them(faults: Path) -> None:
    found, place = {}, Place(torch_device="cpu", environment={}, budget_bytes=None)
    for name in ("evaluates", "fails_to_evaluate"):
        subject = Subject(spec=f"{faults}:{name}", parameters={})
        campaign = measure_settings([(2, 1)], subject, place, rehearses=True)
        assert campaign.points[0].measurement.outcome == "ok"
        assert campaign.points[0].measurement.mean_step_s is not None
        found[name] = campaign.rehearsed
    (evaluation,) = found["evaluates"]
    assert (evaluation.id, evaluation.units) == ("evaluation", 1)
    assert evaluation.seconds >= 0.01
    assert found["fails_to_evaluate"] == ()


def test_settings_that_do_not_fit_together_are_timed_in_turn() -> None:
    place = Place(torch_device="cpu", environment={}, budget_bytes=300 * 2**20)
    subject = Subject(spec=SYNTHETIC, parameters={"num_features": 100_000})
    campaign = measure_settings([(4, 1), (8, 1)], subject, place)
    assert [p.measurement.outcome for p in campaign.points] == ["ok", "ok"]
    assert not campaign.interleaved


def test_the_parent_loads_no_torch() -> None:
    code = "import sys, advisor.recommend.planner; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=os.getcwd(), check=False).returncode == 0


def test_a_child_that_is_closed_while_another_thread_waits_answers_with_a_failure() -> None:
    child, answers = Child("advisor.measure.worker", {}), []
    waiting = threading.Thread(target=lambda: answers.append(child.ask("{}", timeout_s=60)))
    waiting.start()
    child.close()
    waiting.join(60)
    assert [type(answer) for answer in answers] == [Failure]
