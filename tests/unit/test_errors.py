"""Exit codes are a contract with scripts."""

import re
import signal

import pytest

from advisor import errors


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (errors.CfgadviseError("x"), 1),
        (errors.UsageError("x"), 2),
        (errors.WorkloadError("x", "Traceback ..."), 2),
        (errors.DeviceError("x"), 3),
        (errors.DataError("x"), 4),
        (errors.CheckpointError("x"), 5),
        (errors.StorageError("x"), 6),
        (errors.NonFiniteError("x"), 7),
        (errors.Interrupted("x", signal.SIGINT), 130),
        (errors.Interrupted("x", signal.SIGTERM), 143),
    ],
)
def test_each_error_has_its_exit_code_and_keeps_its_message(error, exit_code):
    assert error.exit_code == exit_code
    assert str(error) == "x"
    assert isinstance(error, errors.CfgadviseError)


def test_a_workload_error_carries_the_users_traceback():
    assert errors.WorkloadError("my_step.py failed", "Traceback: line 3").traceback_text == "Traceback: line 3"


def test_the_drawn_tree_names_every_error_with_its_code():
    drawn = dict(re.findall(r"(\w+) +(\d+)[ /]", errors.__doc__ or ""))
    classes = {name: c for name, c in vars(errors).items() if isinstance(c, type)}
    assert drawn.keys() == classes.keys()
    assert {name: int(code) for name, code in drawn.items() if name != "Interrupted"} == {
        name: c.exit_code for name, c in classes.items() if name != "Interrupted"
    }
