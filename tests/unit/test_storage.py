"""A crash, a full disk or a flipped bit never leaves something half-written that looks whole."""

import errno
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from advisor.errors import StorageError, UsageError
from advisor.storage import (
    MANIFEST,
    Disk,
    JsonLines,
    RunLock,
    folder_problem,
    read_folder,
    read_json_lines,
    remove_folder,
    remove_leftovers,
    require_free_bytes,
    require_json_object,
    require_writable,
    write_atomically,
    write_folder,
)
from tests.fakes.crash_disk import CrashDisk, FullDisk, PowerCut

OLD = {"state.safetensors": bytes(range(256)) * 8, "state.json": b'{"samples": 100}'}
NEW = {"state.safetensors": bytes(reversed(range(256))) * 8, "state.json": b'{"samples": 200}'}


def every_crash(start: Callable[[Path], None], act: Callable[[Path, Disk], None], check: Callable[[Path], None]) -> int:
    """Run ``act`` with the power cut at each of its operations, torn and not; returns how many cuts there were."""
    cuts = 0
    for torn in (False, True):
        for at in range(1, 100):
            place = Path(f"torn-{torn}-at-{at}")
            place.mkdir()
            start(place)
            try:
                act(place, CrashDisk(at, torn=torn))
            except PowerCut:
                cuts += 1
                check(place)
            else:
                break
        else:
            raise AssertionError("the action never completed")
    return cuts


# ---- one file -----------------------------------------------------------------------------------


def test_a_file_is_old_or_new_after_a_crash_at_any_operation():
    def check(place: Path) -> None:
        assert (place / "run" / "advice.json").read_bytes() in (b"old " * 100, b"new " * 100)
        remove_leftovers(place / "run")
        assert [path.name for path in (place / "run").iterdir()] == ["advice.json"]

    cuts = every_crash(
        start=lambda place: write_atomically(place / "run" / "advice.json", b"old " * 100),
        act=lambda place, disk: write_atomically(place / "run" / "advice.json", b"new " * 100, disk),
        check=check,
    )
    assert cuts == 8  # make_folder, write, rename, sync_folder: each torn and not


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_behind():
    path = Path("run/advice.json")
    write_atomically(path, "old")
    for at in (1, 2):
        with pytest.raises(StorageError, match=r"disk full at run.advice\.json"):
            write_atomically(path, "new", FullDisk(at))
        assert path.read_text() == "old"
        assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error_number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_quota_and_size_limit_are_called_a_full_disk(error_number):
    with pytest.raises(StorageError, match="disk full") as caught:
        write_atomically(Path("file"), b"x", FullDisk(1, error_number))
    assert caught.value.exit_code == 6


def test_a_read_only_disk_is_not_called_full():
    with pytest.raises(StorageError, match="cannot write file: as on a full disk; choose another folder"):
        write_atomically(Path("file"), b"x", FullDisk(1, errno.EROFS))


def test_a_text_is_written_as_utf_8():
    write_atomically(Path("报告.md"), "显存")
    assert Path("报告.md").read_bytes() == "显存".encode()


# ---- a folder of files --------------------------------------------------------------------------


def test_after_a_crash_in_a_save_a_complete_checkpoint_can_be_read():
    def check(place: Path) -> None:
        good = [path for path in sorted(place.glob("ckpt-*")) if not folder_problem(path)]
        assert read_folder(good[-1]) in (OLD, NEW)
        assert all(folder_problem(path) is None for path in place.glob("ckpt-*"))
        remove_leftovers(place)
        write_folder(place / "ckpt-200", NEW)
        assert read_folder(place / "ckpt-200") == NEW
        assert sorted(path.name for path in place.iterdir()) == ["ckpt-100", "ckpt-200"]

    cuts = every_crash(
        start=lambda place: write_folder(place / "ckpt-100", OLD),
        act=lambda place, disk: write_folder(place / "ckpt-200", NEW, disk),
        check=check,
    )
    assert cuts == 18  # two folders and a sync, three files, a sync, the rename, a sync: each torn and not


def test_a_crash_while_a_damaged_checkpoint_is_replaced_never_makes_it_look_whole():
    def start(place: Path) -> None:
        write_folder(place / "ckpt-200", OLD)
        (place / "ckpt-200" / "state.json").write_bytes(b"{")

    def check(place: Path) -> None:
        if not folder_problem(place / "ckpt-200"):
            assert read_folder(place / "ckpt-200") == NEW
        write_folder(place / "ckpt-200", NEW)
        assert read_folder(place / "ckpt-200") == NEW

    assert every_crash(start, lambda place, disk: write_folder(place / "ckpt-200", NEW, disk), check) > 18


def test_a_crash_in_a_deletion_leaves_the_whole_folder_or_none():
    def start(place: Path) -> None:
        write_folder(place / "ckpt-100", OLD)
        write_folder(place / "ckpt-200", NEW)

    def check(place: Path) -> None:
        assert read_folder(place / "ckpt-200") == NEW
        if (place / "ckpt-100").exists():
            assert read_folder(place / "ckpt-100") == OLD
        remove_leftovers(place)
        assert {path.name for path in place.iterdir()} <= {"ckpt-100", "ckpt-200"}

    assert every_crash(start, lambda place, disk: remove_folder(place / "ckpt-100", disk), check) == 4


def test_a_disk_that_fills_up_at_any_operation_of_a_save_spoils_nothing():
    write_folder(Path("run/ckpt-100"), OLD)
    failures = 0
    for at in range(1, 100):
        try:
            write_folder(Path("run/ckpt-200"), NEW, FullDisk(at))
        except StorageError as error:
            failures += 1
            assert "disk full" in str(error)
            assert read_folder(Path("run/ckpt-100")) == OLD
            assert [path.name for path in Path("run").iterdir()] == ["ckpt-100"]
        else:
            break
    assert failures == 5  # the folder, two files, the manifest, the rename
    assert read_folder(Path("run/ckpt-200")) == NEW


def test_writing_a_valid_folder_again_keeps_it():
    write_folder(Path("ckpt-100"), OLD)
    write_folder(Path("ckpt-100"), NEW)
    assert read_folder(Path("ckpt-100")) == OLD


@pytest.mark.parametrize("name", [*OLD, MANIFEST])
def test_every_cut_and_every_kind_of_bit_flip_is_noticed(name):
    write_folder(Path("good"), OLD)
    dice = random.Random(7)
    content = Path("good", name).read_bytes()
    for trial in range(60):
        shutil.copytree("good", "bad")
        damaged = bytearray(content)
        if trial % 2:
            del damaged[dice.randrange(len(damaged)) :]
        else:
            damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        Path("bad", name).write_bytes(damaged)
        try:
            assert read_folder(Path("bad")) == OLD, "damage was loaded silently"
        except StorageError as error:
            assert "bad" in str(error)  # the message names the place
        else:
            assert name == MANIFEST  # white space of a manifest may change
        shutil.rmtree("bad")


@pytest.mark.parametrize(
    "manifest",
    [b"", b"[]", b"{", b"3", b'["state.json"]', b'{"../secret": [1, ""]}', b'{"/etc/passwd": [1, ""]}', b"[" * 100_000],
)
def test_a_manifest_of_any_other_form_is_refused(manifest):
    write_folder(Path("ckpt"), OLD)
    Path("ckpt", MANIFEST).write_bytes(manifest)
    assert "incomplete" in (folder_problem(Path("ckpt")) or "")


@pytest.mark.parametrize("name", [*OLD, MANIFEST])
def test_a_missing_file_is_noticed(name):
    write_folder(Path("ckpt"), OLD)
    Path("ckpt", name).unlink()
    with pytest.raises(StorageError, match="incomplete"):
        read_folder(Path("ckpt"))


def test_a_leftover_of_a_process_with_the_same_number_is_no_obstacle():
    write_folder(Path("ckpt"), OLD)
    remove_folder(Path("ckpt"), LeavesHalf())
    write_folder(Path("ckpt"), OLD)
    remove_folder(Path("ckpt"))
    assert list(Path().iterdir()) == []


class LeavesHalf(Disk):
    def remove_folder(self, path: Path) -> None:
        (path / MANIFEST).unlink()


# ---- logs ---------------------------------------------------------------------------------------


def test_a_log_cut_anywhere_keeps_its_complete_lines_and_goes_on():
    log = JsonLines(Path("metrics.jsonl"))
    for k in range(3):
        log.append({"samples": k, "class": "步态"})
    whole = Path("metrics.jsonl").read_bytes()
    for length in range(len(whole)):
        Path("metrics.jsonl").write_bytes(whole[:length])
        complete = read_json_lines(Path("metrics.jsonl"))
        assert complete == [{"samples": k, "class": "步态"} for k in range(whole[:length].count(b"\n"))]
        JsonLines(Path("metrics.jsonl")).append({"samples": 9})
        assert read_json_lines(Path("metrics.jsonl")) == [*complete, {"samples": 9}]


def test_a_crash_in_a_log_loses_at_most_the_line_being_written():
    def act(place: Path, disk: Disk) -> None:
        log = JsonLines(place / "events.jsonl", disk)
        log.append({"kind": "start"})
        log.append({"kind": "checkpoint"})
        log.rewrite([{"kind": "start"}])

    def check(place: Path) -> None:
        kinds = [entry["kind"] for entry in read_json_lines(place / "events.jsonl")]
        assert kinds in (["old"], ["old", "start"], ["old", "start", "checkpoint"], ["start"])
        JsonLines(place / "events.jsonl").append({"kind": "resume"})
        assert [entry["kind"] for entry in read_json_lines(place / "events.jsonl")] == [*kinds, "resume"]

    def start(place: Path) -> None:
        (place / "events.jsonl").write_text('{"kind": "old"}\n{"kind": "ol')

    assert every_crash(start, act, check) > 12


def test_an_append_that_finds_the_disk_full_half_way_takes_its_half_back():
    resource = pytest.importorskip("resource")
    Path("metrics.jsonl").write_text('{"samples": 1}\n')
    child = (
        "import resource, signal, pathlib\n"
        "from advisor.storage import JsonLines\n"
        "from advisor.errors import StorageError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40))\n"
        "try:\n"
        "    JsonLines(pathlib.Path('metrics.jsonl')).append({'text': 'x' * 100})\n"
        "except StorageError as error:\n"
        "    print(error)\n"
    )
    assert resource.RLIMIT_FSIZE is not None
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("disk full at metrics.jsonl")
    assert Path("metrics.jsonl").read_text() == '{"samples": 1}\n'


@pytest.mark.parametrize("line", [b"{broken}", b"3", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(line):
    Path("metrics.jsonl").write_bytes(b'{"a": 1}\n' + line + b'\n{"a": 2}\n')
    with pytest.raises(StorageError, match=r"metrics\.jsonl: line 2 is damaged"):
        read_json_lines(Path("metrics.jsonl"))


def test_a_missing_log_is_empty():
    assert read_json_lines(Path("none.jsonl")) == []


def test_an_undecodable_file_name_survives_a_log():
    name = b"\xb2\xbd\xcc\xac.png".decode("utf-8", "surrogateescape")
    JsonLines(Path("log.jsonl")).append({"path": name})
    assert read_json_lines(Path("log.jsonl")) == [{"path": name}]


# ---- places -------------------------------------------------------------------------------------


def test_a_writable_place_is_made_and_left_empty():
    require_writable(Path("runs/first"))
    assert list(Path("runs/first").iterdir()) == []


def test_a_place_below_a_file_is_refused_and_nothing_is_left():
    Path("file").write_text("mine")
    with pytest.raises(StorageError, match="cannot write") as caught:
        require_writable(Path("file/run"))
    assert caught.value.exit_code == 6
    assert Path("file").read_text() == "mine"


def test_a_full_place_is_refused_and_nothing_is_left():
    for at in range(1, 4):
        with pytest.raises(StorageError, match="disk full"):
            require_writable(Path("a/b/c"), FullDisk(at))
        assert not Path("a").exists()
    require_writable(Path("a/b/c"), FullDisk(4))


def test_too_little_room_is_said_with_both_figures(monkeypatch):
    usage = shutil.disk_usage(".")._replace(free=3 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    require_free_bytes(Path(), 3 * 2**20)
    with pytest.raises(StorageError, match=r"3\.00 MiB free, 4\.00 MiB needed"):
        require_free_bytes(Path(), 4 * 2**20)


@pytest.mark.parametrize("content", ["", "[]", "{", "1" * 5000])
def test_a_file_without_a_json_object_is_a_usage_error(content):
    Path("advice.json").write_text(content)
    with pytest.raises(UsageError, match=r"advice\.json"):
        require_json_object(Path("advice.json"))


# ---- one run a folder ---------------------------------------------------------------------------


def test_a_second_run_in_the_same_folder_is_refused_until_the_first_one_dies():
    hold = (
        "import pathlib, time\n"
        "from advisor.storage import RunLock\n"
        "with RunLock(pathlib.Path('.')):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and first.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match=rf"in use by process {first.pid} on .*choose another --out") as caught:
            RunLock(Path()).__enter__()
        assert caught.value.exit_code == 6
        first.kill()
    with RunLock(Path()):
        pass


def test_a_lock_is_free_again_after_its_run():
    for _ in range(2):
        with RunLock(Path()), pytest.raises(StorageError, match="in use"):
            RunLock(Path()).__enter__()


def test_a_lock_in_a_missing_folder_is_a_storage_error():
    with pytest.raises(StorageError, match=r"cannot lock .*run\.lock"):
        RunLock(Path("missing")).__enter__()
