"""Asking for help costs no deep-learning library."""

import json
import subprocess
import sys

import pytest

from advisor.cli.app import COMMANDS

HEAVY = {"torch", "diffusers", "optuna", "numpy", "sklearn", "matplotlib", "PIL", "transformers"}


def loaded_after(code: str) -> set[str]:
    script = f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def after_command(*arguments: str) -> str:
    return (
        f"sys.argv = ['cfgadvise', *{list(arguments)}]\n"
        "from advisor.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as leave:\n    assert not leave.code, leave.code"
    )


def test_import_advisor():
    assert not loaded_after("import advisor") & HEAVY
    assert not loaded_after("from advisor import Advice") & HEAVY


def test_the_probe_sees_a_heavy_import():
    assert "numpy" in loaded_after("import numpy")


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), *((name, "--help") for name in COMMANDS)], ids=str)
def test_help_and_version(arguments):
    assert not loaded_after(after_command(*arguments)) & HEAVY


def test_reports_read_without_torch():
    assert not loaded_after("import reports.run, reports.document") & {"torch", "diffusers", "optuna"}
