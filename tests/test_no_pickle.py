"""No file that we read can run code: the ways to do that do not occur in the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
NAMES = {"eval", "exec"}
ATTRIBUTES = {("torch", "load"), ("torch", "save"), ("os", "system"), ("os", "popen"), ("yaml", "load")}
KEYWORDS = {"allow_pickle", "shell"}


def ways_to_run_code(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module:
            top = node.module.split(".")[0]
            found += [top] if top in MODULES else []
            found += [f"{top}.{alias.name}" for alias in node.names if (top, alias.name) in ATTRIBUTES]
        elif isinstance(node, ast.Name) and node.id in NAMES:
            found.append(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found += [f"{node.value.id}.{node.attr}"] if (node.value.id, node.attr) in ATTRIBUTES else []
        elif isinstance(node, ast.keyword) and node.arg in KEYWORDS:
            off = isinstance(node.value, ast.Constant) and node.value.value is False
            found += [] if off else [f"{node.arg}="]
    return found


@pytest.mark.parametrize("package", ["advisor", "trainer", "reports"])
def test_no_way_to_run_code_from_a_file(package):
    for path in (ROOT / package).rglob("*.py"):
        assert ways_to_run_code(path.read_text(encoding="utf-8")) == [], path


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(p, weights_only=True)",
        "from torch import load",
        "import pickle",
        "from joblib import load",
        "import numpy as np\nnp.load(p, allow_pickle=True)",
        "import subprocess\nsubprocess.run(c, shell=True)",
        "eval('1')",
        "f = exec",
    ],
)
def test_each_of_them_would_be_found(source):
    assert len(ways_to_run_code(source)) == 1


def test_harmless_code_is_not_reported():
    assert ways_to_run_code("model.eval()\nnp.load(p, allow_pickle=False)\nsafetensors.torch.load(b)") == []
