"""Which files a workload's code is made of."""

from pathlib import Path

import pytest

from advisor.workload.fingerprint import code_digest


@pytest.fixture
def step(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "net").mkdir(parents=True)
    (folder / "my_step.py").write_text("import math\nfrom net import layers\n\ndef make(device):\n    import late\n")
    (folder / "net" / "__init__.py").write_text("")
    (folder / "net" / "layers.py").write_text("from . import parts\nfrom .. import nowhere\n")
    (folder / "net" / "parts.py").write_text("WIDTH = 1\n")
    (folder / "late.py").write_text("x = 1\n")
    (folder / "other.py").write_text("x = 1\n")
    return folder / "my_step.py"


@pytest.mark.parametrize("changed", ["my_step.py", "net/__init__.py", "net/layers.py", "net/parts.py", "late.py"])
def test_a_change_in_any_imported_file_is_seen(step: Path, changed: str) -> None:
    before = code_digest(f"{step}:make")
    path = step.parent / changed
    path.write_text(path.read_text() + "y = 2\n")
    assert code_digest(f"{step}:make") not in (before, None)


def test_other_files_and_times_do_not_matter(step: Path) -> None:
    before = code_digest(f"{step}:make")
    (step.parent / "other.py").write_text("x = 2\n")
    step.touch()
    assert code_digest(f"{step}:make") == before is not None


def test_what_is_no_python_or_not_there_has_no_digest(step: Path, tmp_path: Path) -> None:
    (step.parent / "late.py").write_text("def (:\n")
    assert code_digest(f"{step}:make") is None
    assert code_digest(f"{tmp_path / 'none.py'}:make") is None
    assert code_digest("no.such.module:make") is None


def test_a_module_of_ours_counts_with_what_it_imports_of_ours() -> None:
    assert code_digest("trainer.workload:make") not in (None, code_digest("advisor.workload.synthetic:make"))


def test_a_module_in_the_current_folder_is_found(step: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(step.parent)
    step.rename(step.with_name("step_to_find.py"))  # a name that no other test has imported
    before = code_digest("step_to_find:make")
    assert before is not None
    (step.parent / "net" / "parts.py").write_text("WIDTH = 2\n")
    assert code_digest("step_to_find:make") not in (before, None)


@pytest.mark.parametrize(
    "block",
    [
        "try:\n    pass\nexcept ImportError:\n    import late",
        "try:\n    pass\nfinally:\n    import late",
        "if False:\n    pass\nelse:\n    import late",
        "class Step:\n    def run(self):\n        with open('x'):\n            import late",
        "match 1:\n    case 1:\n        import late",
    ],
)
def test_imports_are_found_wherever_a_statement_may_stand(step: Path, block: str) -> None:
    step.write_text(f"{block}\n")
    before = code_digest(f"{step}:make")
    (step.parent / "late.py").write_text("x = 2\n")
    assert code_digest(f"{step}:make") not in (before, None)
