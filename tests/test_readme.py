"""What the READMEs and the documentation tell people to type exists, and both languages tell the same."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import typer.main

from advisor import errors
from advisor.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
READMES = ("README.md", "README.zh.md")
TYPED = (*READMES, "docs/report.md", "docs/reference-report.md")
DOCUMENTS = [ROOT / name for name in (*TYPED, "CONTRIBUTING.md", "CHANGELOG.md", "docs/decisions.md")]
CHINESE = re.compile("[\u4e00-\u9fff]")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text_of(name), re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def command_lines(name: str, program: str) -> list[list[str]]:
    lines = [shlex.split(line, comments=True) for block in blocks(name, "bash") for line in block.splitlines()]
    words = [[word.rpartition("/")[2] if k == 0 else word for k, word in enumerate(line)] for line in lines if line]
    words = [line[2:] if line[:2] == ["uv", "run"] else line for line in words]
    return [line[1:] for line in words if line[0] == program]


@pytest.mark.parametrize("name", READMES)
def test_it_opens_with_the_two_commands(name):
    assert re.match(r"# cfgadvise\n\n```bash\nmake demo .*\nmake test .*\n```\n", text_of(name))


@pytest.mark.parametrize("name", READMES)
def test_every_make_target_exists(name):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {words[0] for words in command_lines(name, "make")}
    assert {"demo", "test", "check"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_both_languages_tell_the_same_commands():
    english, chinese = ([blocks(name, "bash"), blocks(name, "python")] for name in READMES)
    for one, other in zip(english, chinese):
        bare = [[re.sub(r"\s*#.*", "", text) for text in found] for found in (one, other)]
        assert bare[0] == bare[1]
    shape = [[len(head) for head in re.findall(r"^(#+) ", prose(name), re.MULTILINE)] for name in READMES]
    assert shape[0] == shape[1]
    items = [len(re.findall(r"^(?:- |\d+\. |\| )", prose(name), re.MULTILINE)) for name in READMES]
    assert items[0] == items[1]


def prose(name):
    return re.sub(r"^ *```.*?^ *```", "", text_of(name), flags=re.MULTILINE | re.DOTALL)


def test_the_chinese_readme_is_chinese():
    paragraphs = [part for part in prose("README.zh.md").split("\n\n") if re.search(r"[A-Za-z]{3}", part)]
    apart = ("# cfgadvise", "[English]", "[CONTRIBUTING.md]")
    assert [part for part in paragraphs if not CHINESE.search(part) and not part.startswith(apart)] == []
    assert not re.search("[\u4e00-\u9fff][,;:!?](?! )", prose("README.zh.md"))


@pytest.mark.parametrize("words", [words for name in TYPED for words in command_lines(name, "cfgadvise")], ids=" ".join)
def test_every_command_line_parses(words):
    group = typer.main.get_command(app)
    words = words[2:] if words[0] == "--lang" else words
    command = group.commands[words[0]]
    options = {name: parameter for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in words[1:]:
        assert not word.startswith("-") or word in options, f"{words[0]} has no option {word}"
    parsed = command.make_context(words[0], words[1:], resilient_parsing=True)
    assert parsed.params and not parsed.args


@pytest.mark.parametrize("name", READMES)
def test_every_command_is_shown(name):
    shown = {words[0] for words in command_lines(name, "cfgadvise")}
    assert shown == set(typer.main.get_command(app).commands)


@pytest.mark.parametrize("name", READMES)
def test_the_exit_codes_are_those_of_the_errors(name):
    rows = re.findall(r"^\| ([\d, ]+) \|", text_of(name), re.MULTILINE)
    table = {int(code) for row in rows for code in row.split(",")}
    codes = {getattr(value, "exit_code", None) for value in vars(errors).values()} - {None}
    assert codes <= table


@pytest.mark.parametrize("name", READMES)
def test_the_example_workload_runs(name):
    import torch

    (source,) = blocks(name, "python")
    ast.parse(source)
    Path("my_step.py").write_text(source, encoding="utf-8")
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


def test_every_section_that_the_reference_is_mapped_to_exists(tmp_path):
    from sample_advice import sample_advice, write_sample_run

    from reports.document import build_document
    from reports.run import read_run

    run = read_run(write_sample_run(tmp_path / "run"))
    sections = {one.id for one in build_document(sample_advice(), run, "zh").sections}
    (table,) = re.findall(r"## Headings\n(.*?)\n## ", text_of("docs/reference-report.md"), re.DOTALL)
    assert set(re.findall(r"`(\w+)`", table)) == sections


def test_the_arithmetic_of_the_reference_page_is_right():
    from advisor.recommend.dataset import steps_per_epoch, steps_per_epoch_drop_last

    page = text_of("docs/reference-report.md")
    assert f"16 / 1550 = {100 * 16 / 1550:.2f} %" in page
    assert (
        f"ceil(1550 / 16) = {steps_per_epoch(1550, 16)}" in page
        and f"ceil(1550 / 32) = {steps_per_epoch(1550, 32)}" in page
    )
    assert steps_per_epoch_drop_last(1550, 16) == 96 and steps_per_epoch_drop_last(1550, 32) == 48
    assert f"100k steps are {100_000 * 16 / 1550:,.0f} epochs" in page and f"({100 * 32 / 1550:.2f} %)" in page
