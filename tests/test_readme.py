"""What the README tells people to type exists."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import typer.main

from advisor import errors
from advisor.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "docs/decisions.md"))]


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", README, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def command_lines(program: str) -> list[list[str]]:
    lines = [shlex.split(line, comments=True) for block in blocks("bash") for line in block.splitlines()]
    words = [[word.rpartition("/")[2] if k == 0 else word for k, word in enumerate(line)] for line in lines if line]
    words = [line[2:] if line[:2] == ["uv", "run"] else line for line in words]
    return [line[1:] for line in words if line[0] == program]


def test_it_opens_with_the_two_commands():
    assert re.match(r"# cfgadvise\n\n```bash\nmake demo .*\nmake test .*\n```\n", README)


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {words[0] for words in command_lines("make")}
    assert {"demo", "test", "check"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("words", command_lines("cfgadvise"), ids=" ".join)
def test_every_command_line_parses(words):
    group = typer.main.get_command(app)
    command = group.commands[words[0]]
    options = {name: parameter for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in words[1:]:
        assert not word.startswith("-") or word in options, f"{words[0]} has no option {word}"
    parsed = command.make_context(words[0], words[1:], resilient_parsing=True)
    assert parsed.params and not parsed.args


def test_every_command_is_shown():
    shown = {words[0] for words in command_lines("cfgadvise")}
    assert shown == set(typer.main.get_command(app).commands)


def test_the_exit_codes_are_those_of_the_errors():
    table = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", README, re.MULTILINE) for code in row.split(",")}
    codes = {getattr(value, "exit_code", None) for value in vars(errors).values()} - {None}
    assert codes <= table


def test_the_example_workload_runs():
    import torch

    (source,) = blocks("python")
    ast.parse(source)
    Path("my_step.py").write_text(source)
    from advisor.workload.load import load_factory

    workload = load_factory("my_step.py:make")(torch.device("cpu"))
    loss = workload.loss(workload.model, workload.batch(4))
    assert loss.ndim == 0 and torch.isfinite(loss)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_local_link_leads_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (document.parent / target).exists(), target


def test_the_dependencies_have_a_reason_each():
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^dependencies = \[\n(.*?)^\]", pyproject, re.MULTILINE | re.DOTALL)
    assert all(re.search(r'",\s+# \w', line) for line in listed.splitlines())
