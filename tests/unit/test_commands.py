"""A command that is shown on a narrow terminal is the same command when it is copied and pasted."""

import io
import shlex
import subprocess

import pytest
from rich.cells import cell_len
from rich.console import Console

from advisor.hardware.check_texts import CATALOGUE
from reports.commands import CommandLines, is_command
from reports.messages.catalogue import messages_in

INSTALL = 'pip install --force-reinstall "torch==2.13.*" --index-url https://download.pytorch.org/whl/cu126'
FIXES = {key: text.fix for key, text in CATALOGUE.items() if text.fix and is_command(text.fix)}


def shown(fix: str, columns: int) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=columns, color_system=None).print(CommandLines(fix))
    return stream.getvalue().splitlines()


def words(script: str) -> list[str]:
    """The words of a script as a shell reads them: comments left out, lines joined."""
    return shlex.split(script.replace("\\\n", " "), comments=True)


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_a_long_command_is_broken_between_words(columns):
    lines = shown(INSTALL, columns)
    assert max(map(cell_len, lines)) <= columns
    assert all(line.endswith(" \\") for line in lines[:-1])
    assert words("\n".join(lines)) == words(INSTALL)


def test_a_shell_runs_what_was_pasted(tmp_path):
    pasted = "\n".join(shown('printf "%s\\n" one "two  words" three four    # a comment; with `marks` $(false)', 24))
    answer = subprocess.run(["sh", "-e", "-c", pasted], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == ["one", "two  words", "three", "four"]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("check_id", FIXES)
def test_every_fix_is_pasted_whole(check_id, lang):
    translated = messages_in(lang).checks.get(check_id)
    fix = translated[1] if translated else FIXES[check_id]
    fix = fix.replace("{install}", INSTALL).replace("{uuid}", "MIG-11111111-aaaa-bbbb-cccc-000000000000")
    lines = shown(fix, 80)
    assert max(map(cell_len, lines)) <= 80
    command = [line for line in lines if not line.strip().startswith("#")]
    assert (
        " ".join(words("\n".join(command)) if "\\" in "".join(command) else command).split()
        == (" ".join(words(fix)) if "\\" in "".join(command) else fix.split("    #")[0]).split()
    )


@pytest.mark.parametrize(
    ("fix", "is_one"),
    [
        ("sudo reboot", True),
        ("CUDA_VISIBLE_DEVICES=MIG-1    # in front of the command", True),
        ("{install}", False),  # only what is filled in is looked at
        ("Move the card to a full-length slot", False),
        ("NVIDIA Control Panel > Manage 3D settings", False),
    ],
)
def test_a_command_is_told_from_a_sentence(fix, is_one):
    assert is_command(fix) is is_one


def test_of_a_word_wider_than_the_terminal_nothing_is_lost():
    lines = shown(INSTALL, 24)
    assert max(map(cell_len, lines)) <= 24
    assert "https://download.pytorch.org/whl/cu126" in "".join(line.strip() for line in lines)
