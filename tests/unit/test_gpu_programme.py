"""The frame of the programme for a real GPU: time boxes, failures, and what is in the file."""

import json
import math
import time

import pytest

from advisor.errors import WorkloadError
from benchmarks.gpu_boundary import largest_that_runs
from benchmarks.gpu_frame import Part, SkippedError, error_frac, run_parts, stopped_after


def run(tmp_path, *parts, seconds: float = 30.0, grace_s: float = 15.0):
    path = tmp_path / "out" / "gpu.json"
    returned = run_parts(parts, {"benchmark": "gpu"}, path, end_s=time.monotonic() + seconds, grace_s=grace_s)
    written = json.loads(path.read_text())
    assert written == json.loads(json.dumps(returned))
    return written["parts"]


def test_a_part_that_fails_is_recorded_with_what_it_found_and_the_others_go_on(tmp_path):
    def fails(box):
        box.note("so_far", 3)
        raise ValueError("no such kernel")

    found = run(tmp_path, Part(name="bad", weight=1, run=fails), Part(name="good", weight=1, run=lambda box: None))
    bad = found["bad"]
    assert (bad["status"], bad["reason"], bad["found"]) == ("failed", "ValueError: no such kernel", {"so_far": 3})
    assert "in fails" in bad["traceback"]
    assert found["good"]["status"] == "done"


def test_a_workload_that_fails_in_its_child_shows_the_childs_traceback(tmp_path):
    def fails(box):
        raise WorkloadError("a step raised", "File net.py, line 7")

    assert run(tmp_path, Part(name="bad", weight=1, run=fails))["bad"]["traceback"] == "File net.py, line 7"


def test_a_part_that_cannot_run_here_says_why(tmp_path):
    def skips(box):
        raise SkippedError("no CUDA device")

    skipped = run(tmp_path, Part(name="constants", weight=1, run=skips))["constants"]
    assert (skipped["status"], skipped["reason"]) == ("skipped", "no CUDA device")


def test_the_file_holds_every_finding_at_once(tmp_path):
    seen = []

    def works(box):
        for batch in (8, 16):
            box.add("rows", {"batch": batch, "error_frac": math.nan})
            seen.append(json.loads((tmp_path / "out" / "gpu.json").read_text())["parts"]["first"])

    run(tmp_path, Part(name="first", weight=1, run=works))
    assert [one["status"] for one in seen] == ["running", "running"]
    assert seen[0]["found"]["rows"] == [{"batch": 8, "error_frac": None}]
    assert [row["batch"] for row in seen[1]["found"]["rows"]] == [8, 16]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["gpu.json"]


def test_time_is_shared_by_weight_and_what_is_left_goes_to_the_others(tmp_path):
    parts = [Part(name=name, weight=weight, run=lambda box: None) for name, weight in (("a", 1), ("b", 1), ("c", 2))]
    found = run(tmp_path, *parts, seconds=80.0)
    assert [round(found[name]["box_s"]) for name in "abc"] == [20, 27, 80]


def test_a_part_that_asks_ends_with_its_box_and_is_called_cut(tmp_path):
    def asks(box):
        assert box.left_s > 0
        while not box.is_over():
            time.sleep(0.005)

    assert run(tmp_path, Part(name="long", weight=1, run=asks), seconds=0.05)["long"]["status"] == "cut"


def test_a_part_that_does_not_ask_is_stopped(tmp_path):
    def hangs(box):
        box.note("so_far", 1)
        time.sleep(20)

    found = run(tmp_path, Part(name="hung", weight=1, run=hangs), seconds=0, grace_s=-0.9)
    assert (found["hung"]["status"], found["hung"]["found"]) == ("overrun", {"so_far": 1})
    assert "in hangs" in found["hung"]["traceback"]


def test_nothing_is_stopped_after_the_end():
    with stopped_after(0.05):
        pass
    time.sleep(0.1)


@pytest.mark.parametrize("true", [100, 101, 119, 400, 777])
@pytest.mark.parametrize("width", [1, 3])
def test_the_real_boundary_is_closed_in_from_a_size_that_runs(true, width):
    low, high = largest_that_runs(lambda n: n <= true, 100, num_workers=width, is_over=lambda: False)
    assert low <= true < high
    assert high - low <= max(1, 0.01 * low)


def test_a_boundary_that_time_did_not_find_stays_open():
    assert largest_that_runs(lambda n: True, 100, num_workers=2, is_over=lambda: True) == (100, None)


def test_a_size_that_could_not_be_tried_bounds_nothing():
    tried = {103: True, 109: None}
    assert largest_that_runs(tried.get, 100, num_workers=1, is_over=lambda: False) == (103, None)


def test_an_error_is_a_share_of_what_was_measured():
    assert (error_frac(90, 100), error_frac(None, 100), error_frac(90, None)) == (-0.1, None, None)
