"""Who may import whom, read from the source, so that the house keeps its shape.

foundations < hardware, workload < measure, predict < recommend < refine < trainer | reports < advisor.cli
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("advisor", "trainer", "reports")
FOUNDATIONS = ("errors", "units", "schema", "notebook", "records", "evaluation", "storage")
LAYERS = (
    tuple(f"advisor.{name}" for name in FOUNDATIONS),
    ("advisor.hardware", "advisor.workload"),
    ("advisor.measure", "advisor.predict"),
    ("advisor.recommend",),
    ("advisor.refine",),
    ("trainer", "reports"),
    ("advisor.cli", "advisor.__main__"),
)
ONLY_IMPORTER = {"pynvml": "advisor.hardware.nvml", "optuna": "advisor.refine.study"}
HEAVY = ("torch", "diffusers", "optuna", "numpy", "sklearn", "matplotlib", "PIL")


def is_below(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def layer(module: str) -> int | None:
    return next((k for k, names in enumerate(LAYERS) if any(is_below(module, name) for name in names)), None)


def imports(tree: ast.AST, module: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(module.split(".")[: -node.level]) + "." if node.level else ""
            origin = (base + (node.module or "")).rstrip(".")
            if origin in PACKAGES:  # `from advisor import storage` imports a module, not a name
                yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, origin


def forbidden(module: str, imported: str) -> str | None:
    """Why this import is wrong, or ``None``."""
    top = imported.split(".")[0]
    if not is_below(module, ONLY_IMPORTER.get(top, module)):
        return f"only {ONLY_IMPORTER[top]} imports {top}"
    if is_below(module, "reports") and top in ("torch", "diffusers", "trainer"):
        return "reports read files; they need neither torch nor the trainer"
    if is_below(module, "trainer") and top == "reports":
        return "the trainer writes files; it does not report on them"
    if layer(module) == 0 and top not in {*sys.stdlib_module_names, "advisor", "typing_extensions"}:
        return "foundations use the standard library alone"
    here, there = layer(module), layer(imported)
    if here is not None and there is not None and there > here:
        return "imports point downwards"
    return None


def violations(sources: Mapping[str, str]) -> list[str]:
    found = []
    for module, source in sources.items():
        for line, imported in imports(ast.parse(source), module):
            reason = forbidden(module, imported)
            if reason:
                found.append(f"{module}, line {line}: {imported}: {reason}")
    return found


def our_sources() -> dict[str, str]:
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths}
    return {name: path.read_text(encoding="utf-8") for path, name in names.items() if name != "advisor"}


def test_imports_point_downwards():
    sources = our_sources()
    assert {"advisor.records", "advisor.cli.app"} <= sources.keys()
    assert violations(sources) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("trainer.loop", "from reports.run import read_run"),
        ("reports.run", "def f():\n    import trainer.loop"),
        ("reports.figures", "import torch.nn as nn"),
        ("advisor.recommend.planner", "from trainer import workload"),
        ("advisor.measure.worker", "import advisor.recommend.planner"),
        ("advisor.hardware.probe", "from advisor import measure"),
        ("advisor.hardware.probe", "from ..measure import worker"),
        ("advisor.hardware.probe", "import pynvml"),
        ("advisor.refine.search", "import optuna"),
        ("advisor.records", "import numpy"),
        ("advisor.storage", "from advisor.hardware import probe"),
        ("trainer.loop", "from advisor.cli.context import print_answer"),
    ],
)
def test_a_planted_violation_is_caught(module, source):
    assert len(violations({module: source})) == 1


def test_what_is_allowed_is_not_reported():
    allowed = "import torch\nfrom advisor import storage\nfrom advisor.workload.protocol import Workload\nimport json"
    assert violations({"trainer.loop": allowed}) == []


def test_commands_import_nothing_heavy_at_their_top():
    for module, source in our_sources().items():
        if not is_below(module, "advisor.cli"):
            continue
        top_level = [node for node in ast.parse(source).body if isinstance(node, (ast.Import, ast.ImportFrom))]
        for _, imported in imports(ast.Module(body=list(top_level), type_ignores=[]), module):
            assert imported.split(".")[0] not in HEAVY, f"{module}: {imported}"
            assert (layer(imported) or 0) in (0, len(LAYERS) - 1), f"{module}: {imported} belongs inside the function"


def test_every_package_folder_has_an_init_file():
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
