"""The user's own file: what is found in it, what is changed, and that everything else stays byte for byte."""

import dataclasses
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_advice import KEEP, LARGER, RECOMMENDED, sample_advice

from advisor.errors import StorageError, UsageError
from advisor.recommend.apply import DEFAULT_NAMES, parse_names, propose, read_settings, write_change
from advisor.records import Advice

CONFIG = '''#!/usr/bin/env python
"""My training."""
import torch


class Config:
    image_size = 32
    train_batch_size   = 8    # as much as fits
    gradient_accumulate_every = (2)
    train_lr = 1e-4          # 学习率


print( Config.train_lr )   ;  x=1
'''
ADVICE = sample_advice()  # from 8 x 2 at 1e-4 to 16 x 1 at 1e-4
TO_32 = sample_advice(recommended=LARGER)  # 32 x 1 at 1.41421e-4


def written(tmp_path: Path, text: str | bytes, name: str = "train.py") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def changed(path: Path, advice: Advice = ADVICE, names: str | None = None) -> str:
    change = propose(read_settings(path, parse_names(names)), advice)
    write_change(change)
    return path.read_bytes().decode()


def test_a_config_class_keeps_its_comments_and_layout(tmp_path: Path) -> None:
    path = written(tmp_path, CONFIG)
    found = read_settings(path, DEFAULT_NAMES)
    assert (found.value("batch"), found.value("accumulation"), found.value("lr")) == (8, 2, 1e-4)
    assert changed(path) == CONFIG.replace("= 8 ", "= 16 ").replace("(2)", "(1)")


needs_patch = pytest.mark.skipif(shutil.which("patch") is None, reason="there is no patch command")


@needs_patch
def test_the_diff_applies_with_patch_and_shows_only_what_changes(tmp_path: Path) -> None:
    path = written(tmp_path, CONFIG)
    change = propose(read_settings(path, DEFAULT_NAMES), TO_32)
    added = [line for line in change.diff.splitlines() if line.startswith("+ ")]
    assert added == [
        "+    train_batch_size   = 32    # as much as fits",
        "+    gradient_accumulate_every = (1)",
        "+    train_lr = 0.000141421          # 学习率",
    ]
    assert path.read_bytes() == CONFIG.encode(), "showing is not writing"
    subprocess.run(["patch", "-s", str(path)], input=change.diff.encode() + b"\n", check=True, timeout=30)
    assert path.read_bytes() == change.content


@needs_patch
def test_the_diff_of_a_file_without_a_last_line_end_applies_too(tmp_path: Path) -> None:
    path = written(tmp_path, "# a\fb\ntrain_batch_size = 8\ngradient_accumulate_every = 2")
    change = propose(read_settings(path, DEFAULT_NAMES), ADVICE)
    subprocess.run(["patch", "-s", str(path)], input=change.diff.encode() + b"\n", check=True, timeout=30)
    assert path.read_bytes() == change.content == b"# a\fb\ntrain_batch_size = 16\ngradient_accumulate_every = 1"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("train_batch_size = 8\n", "train_batch_size = 16\n"),
        ("train_batch_size: int = 8", "train_batch_size: int = 16"),
        ("def main(train_batch_size=8, *, other=8): pass\n", "def main(train_batch_size=16, *, other=8): pass\n"),
        ("def main(*, train_batch_size: int = 8): pass\n", "def main(*, train_batch_size: int = 16): pass\n"),
        ("t = Trainer(model, train_batch_size = 8)\n", "t = Trainer(model, train_batch_size = 16)\n"),
        ("class A:\n  def __init__(self):\n    self.train_batch_size = 8\n", None),
        ("config.train_batch_size = 0x8\n", "config.train_batch_size = 16\n"),
        ("@dataclass\nclass C:\n    train_batch_size: int = field(default=8)\n", None),
        ("if True:\r\n\ttrain_batch_size = 8\r\n", "if True:\r\n\ttrain_batch_size = 16\r\n"),
        ("class C:\n    train_batch_size: int\n    train_batch_size = 8\n", None),
    ],
)
def test_where_a_number_may_be_given(before: str, after: str | None, tmp_path: Path) -> None:
    both = "gradient_accumulate_every = 2\n"
    expected = (after or before.replace("8", "16")) if after or "8" in before else ""
    assert changed(written(tmp_path, both + before)) == both.replace("2", "1") + expected


def test_references_to_the_setting_are_not_settings(tmp_path: Path) -> None:
    text = (
        "train_batch_size = 8\ngradient_accumulate_every = 2\n"
        "class T:\n    def __init__(self, train_batch_size):\n        self.train_batch_size = train_batch_size\n"
        "T(train_batch_size=train_batch_size)\n"
    )
    assert changed(written(tmp_path, text)) == text.replace("= 8", "= 16").replace("= 2", "= 1")


def test_other_names_and_one_of_several_places(tmp_path: Path) -> None:
    text = "class Config:\n    BATCH = 8\n    ACC = 2\n    lr = 1e-4\nclass Eval:\n    BATCH = 8\nRun(lr=3e-4)\n"
    path = written(tmp_path, text)
    names = "batch=Config.BATCH, accumulation=ACC, lr=Config.lr"
    assert changed(path, TO_32, names) == text.replace("8\n    ACC = 2", "32\n    ACC = 1").replace(
        "1e-4", "0.000141421"
    )
    assert read_settings(path, parse_names("batch=Eval.BATCH,lr=Run().lr")).value("lr") == 3e-4


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        ("def broken(:\n", None, "not valid Python"),
        ("x = 1\n", None, "none of train_batch_size, gradient_accumulate_every, train_lr is given a number"),
        ("", None, "none of"),
        ("train_lr = 1e-4\ntrain_lr = 2e-4\n", None, "in 2 places (line 1: module.train_lr, line 2: module.train_lr)"),
        ("class A:\n  train_lr = 1.0\nclass B:\n  train_lr = 1.0\n", None, "--apply-names lr=module.A.train_lr"),
        ("train_batch_size = 1\nf(train_batch_size=1)\n", None, "--apply-names batch=module.train_batch_size"),
        ("train_lr = 1\n", "lr=X,batch=X", "one name stands for two things"),
        ("\f\n\ftrain_lr = 1\n", None, "would not survive an edit"),
        ("train_lr = 1e-4 * 2\n", None, "is not a plain number (line 1"),
        ("train_lr = None\n", None, "is not a plain number"),
        ("train_lr = 1e-4\ntrain_lr *= 2\n", None, "is also computed (line 2"),
        ("a = train_lr = 1e-4\n", None, "is not a plain number"),
        ("train_batch_size = 8.0\n", None, "must be a whole number, found 8.0"),
        ("train_lr = 1\n", "rate=LR", "cannot read 'rate=LR'"),
        ("train_lr = 1\n", "lr", "write it like"),
        ("train_lr = 1\n", "lr=a-b", "write it like"),
        (b"# -*- coding: nonsense -*-\ntrain_lr = 1\n", None, "unknown encoding: nonsense"),
        (b"\xff\xfe\x00train_lr", None, "not"),
        ("x = " + "(" * 5000 + ")" * 5000, None, "nothing was written"),
        ("x = " + "not " * 900 + "y\ntrain_lr = 1\n", None, "nested too deeply"),
        ("x = " + "not " * 20_000 + "y\ntrain_lr = 1\n", None, "nested too deeply"),
        ("x = " + " and ".join(["a"] * 20_000) + "\ntrain_lr = 1\n", None, "nested too deeply"),
        ("x = " + " + ".join(["1"] * 20_000) + "\ntrain_lr = 1\n", None, "nested too deeply"),
        ("if a: pass\n" + "elif b: pass\n" * 20_000 + "train_lr = 1\n", None, "nested too deeply"),
    ],
)
def test_what_cannot_be_edited_is_one_message(
    text: str | bytes, names: str | None, message: str, tmp_path: Path
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as error:
        read_settings(path, parse_names(names))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_long_file_is_not_a_deep_one(tmp_path: Path) -> None:
    table = "x = [" + ", ".join(["1"] * 2_000) + "]\n" + "y = a < " + " < ".join(["b"] * 2_000) + "\n"
    assert changed(written(tmp_path, CONFIG + table)).endswith(table)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_settings(tmp_path / "none.py", DEFAULT_NAMES)


def test_half_a_change_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "train_batch_size = 8\n")
    with pytest.raises(UsageError, match="also needs gradient_accumulate_every = 1") as error:
        propose(read_settings(path, DEFAULT_NAMES), ADVICE)
    assert "train_lr" not in str(error.value), "it stays"
    with pytest.raises(UsageError, match=r"gradient_accumulate_every = 1, train_lr = 0\.000141421"):
        propose(read_settings(path, DEFAULT_NAMES), TO_32)


def test_nothing_changes_if_the_advice_is_to_keep(tmp_path: Path) -> None:
    path = written(tmp_path, CONFIG)
    change = propose(read_settings(path, DEFAULT_NAMES), sample_advice(recommended=KEEP))
    assert (change.diff, change.content) == ("", CONFIG.encode())
    again = written(tmp_path, changed(path), "again.py")
    assert propose(read_settings(again, DEFAULT_NAMES), ADVICE).diff == ""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "latin-1"])
def test_the_encoding_stays(encoding: str, tmp_path: Path) -> None:
    word = "é" if encoding == "latin-1" else "学习"
    text = f"# -*- coding: {encoding} -*-\ntrain_batch_size = 8  # {word}\ngradient_accumulate_every = 2"
    path = written(tmp_path, text.encode(encoding))
    change = propose(read_settings(path, DEFAULT_NAMES), ADVICE)
    assert change.content == text.replace("= 8", "= 16").replace("= 2", "= 1").encode(encoding)


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    path = written(tmp_path, CONFIG)
    path.chmod(0o755)
    link = tmp_path / "link.py"
    link.symlink_to(path)
    changed(link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert b"train_batch_size   = 16" in path.read_bytes()


def test_a_file_that_somebody_edits_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = written(tmp_path, CONFIG)
    change = propose(read_settings(path, DEFAULT_NAMES), ADVICE)
    path.write_text("# mine now\n")
    with pytest.raises(UsageError, match="was changed while this ran"):
        write_change(change)
    assert path.read_text() == "# mine now\n"
    path.unlink()
    with pytest.raises(StorageError):
        write_change(change)


@given(
    st.lists(
        st.sampled_from(["# note\n", "\n", "y = 3   ;z=4\n", "def f( a,b = 2 ) : return a\n", "if 1:\n\t pass\n"])
    ),
    st.integers(1, 10**7),
    st.integers(1, 64),
)
@settings(max_examples=40, deadline=None)
def test_all_other_bytes_stay_whatever_is_around(
    tmp_path_factory: pytest.TempPathFactory, around: list[str], batch: int, accumulation: int
) -> None:
    half = len(around) // 2
    lines = [
        *around[:half],
        f"train_batch_size={batch}#b\n",
        *around[half:],
        f"gradient_accumulate_every={accumulation}",
    ]
    path = written(tmp_path_factory.mktemp("own"), "".join(lines))
    option = dataclasses.replace(RECOMMENDED, micro_batch=1234567, accumulation=7)
    lines[half], lines[-1] = "train_batch_size=1234567#b\n", "gradient_accumulate_every=7"
    assert changed(path, sample_advice(recommended=option)) == "".join(lines)
