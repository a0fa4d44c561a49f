"""Workloads that do everything wrong: each ends in one clear message and the right exit code, and leaves no process.

Through a device that is here and through a card that is not, as ``cfgadvise recommend`` asks, with short time limits.
"""

from pathlib import Path

import psutil
import pytest

from advisor.errors import CfgadviseError, DeviceError, NonFiniteError, UsageError, WorkloadError
from advisor.recommend.planner import advise
from advisor.records import Advice

FAULTS = """
import os, sys, time
import torch
from advisor import Workload

def workload(device, loss=None, batch=None, model=None):
    model = (model or torch.nn.Linear(64, 64)).to(device)
    return Workload(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        batch=batch or (lambda n: torch.ones(n, 64, device=device)),
        loss=loss or (lambda model, x: model(x).square().mean()),
    )

def raises(device):
    raise RuntimeError("no such file of weights")

def wrong_shapes(device):
    return workload(device, batch=lambda n: torch.ones(n, 63, device=device))

def out_of_memory_by_hand(device):
    def loss(model, x):
        raise torch.OutOfMemoryError("thrown by hand")
    return workload(device, loss)

def aborts(device):
    return workload(device, lambda model, x: os.abort())

def loops(device):
    def loss(model, x):
        while True:
            time.sleep(0.01)
    return workload(device, loss)

def prints_garbage(device):
    def loss(model, x):
        print('{"built": null}')
        os.write(1, b"\\xff\\x00 garbage\\n")
        return model(x).square().mean()
    return workload(device, loss)

def needs_two(device):
    return workload(device, model=torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.BatchNorm1d(64)))

def grows_with_the_square(device):
    return workload(device, lambda model, x: (model(x) @ model(x).T).square().mean())

def without_gradient(device):
    return workload(device, lambda model, x: model(x).square().mean().detach())

def is_not_finite(device):
    return workload(device, lambda model, x: model(x).square().mean() * float("inf"))
"""


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("workloads") / "faults.py"
    path.write_text(FAULTS, encoding="utf-8")
    return path


def ask(faults: Path, name: str, **changes: object) -> Advice:
    """The advice; whatever happens, no process is left."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    arguments = {"dataset_size": 64, "batch_size": 4, "device": "cpu", "timeout_s": 120.0, **changes}
    try:
        return advise(workload=f"{faults}:{name}", **arguments)  # type: ignore[arg-type]
    finally:
        left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
        assert [child for child in left if child.status() != psutil.STATUS_ZOMBIE] == []


BROKEN: list[tuple[str, type[CfgadviseError], int, str]] = [
    ("raises", WorkloadError, 2, "building the workload raised RuntimeError: no such file of weights"),
    ("wrong_shapes", WorkloadError, 2, "shapes cannot be multiplied"),
    ("aborts", WorkloadError, 2, "SIGABRT"),
    ("without_gradient", UsageError, 2, "without gradient"),
]


@pytest.mark.parametrize(
    ("name", "kind", "exit_code", "message"),
    [
        *BROKEN,
        ("out_of_memory_by_hand", DeviceError, 3, "no setting with the effective batch 4 can be run"),
        ("is_not_finite", NonFiniteError, 7, "the loss is inf"),
    ],
)
def test_on_a_device_that_is_here(
    faults: Path, name: str, kind: type[CfgadviseError], exit_code: int, message: str
) -> None:
    with pytest.raises(CfgadviseError, match=message) as raised:
        ask(faults, name)
    assert (type(raised.value), raised.value.exit_code) == (kind, exit_code)


@pytest.mark.parametrize(
    ("name", "kind", "exit_code", "message"),
    [*BROKEN, ("out_of_memory_by_hand", WorkloadError, 2, "OutOfMemoryError: thrown by hand")],
)
def test_on_a_card_that_is_not_here(
    faults: Path, name: str, kind: type[CfgadviseError], exit_code: int, message: str
) -> None:
    message = message.replace("building the workload raised", "raised")
    with pytest.raises(CfgadviseError, match=message) as raised:
        ask(faults, name, device="auto", gpu="Tesla P100")
    assert (type(raised.value), raised.value.exit_code) == (kind, exit_code)


@pytest.mark.parametrize("place", [{"device": "cpu"}, {"device": "auto", "gpu": "Tesla P100"}])
def test_an_endless_loop_is_ended(faults: Path, place: dict[str, str]) -> None:
    with pytest.raises(DeviceError, match="no answer within 20 s"):
        ask(faults, "loops", timeout_s=20.0, **place)


@pytest.mark.parametrize("name", ["prints_garbage", "is_not_finite"])
def test_a_simulated_card_minds_neither_garbage_nor_values(faults: Path, name: str) -> None:
    assert ask(faults, name, device="auto", gpu="Tesla P100").recommended.micro_batch == 4


def test_garbage_on_the_streams_is_harmless(faults: Path) -> None:
    assert ask(faults, "prints_garbage").measurements[0].outcome == "ok"


def test_a_batch_of_one_that_fails_is_an_option_less_not_an_end(faults: Path) -> None:
    advice = ask(faults, "needs_two", batch_size=2)
    single = next(one for one in advice.options if one.micro_batch == 1)
    assert single.verdict == "infeasible"
    assert "more than 1 value per channel" in single.reasons[0].text
    with pytest.raises(WorkloadError, match="more than 1 value per channel"):
        ask(faults, "needs_two", batch_size=1)


def test_memory_that_grows_with_the_square_is_said_to(faults: Path) -> None:
    advice = ask(faults, "grows_with_the_square", device="auto", gpu="Tesla P100")
    assert "quadratic_memory" in {one.id for one in advice.warnings}
