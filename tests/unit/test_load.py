"""Which functions are found, and whose traceback is shown when one is not."""

from pathlib import Path

import pytest
import torch

from advisor.errors import UsageError, WorkloadError
from advisor.workload.load import load_factory
from advisor.workload.protocol import Workload


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_gives_its_function_and_may_import_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, "neighbour_of_step.py", "WIDTH = 7\n")
    path = write(
        tmp_path, "step.py", "import neighbour_of_step\ndef make(device):\n    return neighbour_of_step.WIDTH\n"
    )
    assert load_factory(f"{path}:make")("cpu") == 7


def test_a_module_gives_its_function() -> None:
    assert load_factory("advisor.workload.load:load_factory") is load_factory


def test_a_missing_function_names_those_that_exist(tmp_path: Path) -> None:
    path = write(tmp_path, "step.py", "from os import getcwd\ndef make(device): ...\ndef other(): ...\n")
    with pytest.raises(
        UsageError, match=r"no function 'mak' \(did you mean 'make'\?\); it defines make, other"
    ) as caught:
        load_factory(f"{path}:mak")
    assert not isinstance(caught.value, WorkloadError)


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, "my_step.py", "")
    with pytest.raises(UsageError, match=r"no such file: .*my_stepp.py \(did you mean 'my_step.py'\?\)"):
        load_factory(f"{tmp_path / 'my_stepp.py'}:make")


@pytest.mark.parametrize("spec", ["step.py", "step.py:", ":make", "step.py:not a name"])
def test_a_spec_without_a_function_says_how_to_write_one(spec: str) -> None:
    with pytest.raises(UsageError, match=r"my_step\.py:make"):
        load_factory(spec)


def test_a_missing_module_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no module 'nowhere_at_all'") as caught:
        load_factory("nowhere_at_all.step:make")
    assert not isinstance(caught.value, WorkloadError)


@pytest.mark.parametrize("statement", ["1 / 0", "import nowhere_at_all", "raise SystemExit(3)", "def broken(:"])
def test_the_users_own_exception_keeps_its_own_traceback(tmp_path: Path, statement: str) -> None:
    path = write(tmp_path, "step.py", f"\n{statement}\n")
    with pytest.raises(WorkloadError, match="importing") as caught:
        load_factory(f"{path}:make")
    assert f'File "{path}", line 2' in caught.value.traceback_text
    assert "advisor" not in caught.value.traceback_text


def parts() -> dict[str, object]:
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return {"model": model, "optimizer": optimizer, "batch": lambda n: n, "loss": lambda model, batch: batch}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", 3), ("optimizer", None), ("batch", 16), ("loss", None), ("ema", object()), ("eval_step", 1),
        ("clip_norm", 0), ("clip_norm", float("nan")), ("clip_norm", "1"), ("autocast_dtype", "bf16"),
        ("autocast_dtype", torch.float32),
    ],
)  # fmt: skip
def test_a_wrong_part_of_a_workload_is_named(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"Workload: {name} must be"):
        Workload(**{**parts(), name: value})  # type: ignore[arg-type]


def test_a_complete_workload_is_accepted() -> None:
    assert Workload(**parts(), clip_norm=1.0, autocast_dtype=torch.bfloat16).ema is None  # type: ignore[arg-type]
