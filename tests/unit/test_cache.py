"""What was measured before: found again for the same question alone, and never trusted blindly."""

import dataclasses
import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from sample_advice import CPU, HOST

from advisor.measure.attempts import Attempt, Plan
from advisor.measure.cache import MAX_AGE_S, measurement_key, recall, remember
from advisor.measure.campaign import Campaign, Place, Point, Subject
from advisor.measure.found import Found
from advisor.measure.noise_trial import NoiseOutcome
from advisor.recommend.options import Candidate
from advisor.recommend.remembered import (
    Kept,
    Measured,
    Table,
    _is_worth_keeping,
    _still_holds,
    age_remarks,
    packed,
    unpacked,
)
from advisor.recommend.searched import Searched
from advisor.records import Breakdown, Measurement, NoiseScale, StepTime

PLACE = Place(torch_device="cpu", environment={}, budget_bytes=10_000)
SUBJECT = Subject(spec="advisor.workload.synthetic:make", parameters={"num_features": 10})
QUESTION = {"layout": [8, 2], "goal": "balanced"}


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CFGADVISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def key(**changes: Any) -> dict[str, Any]:
    given = {"subject": SUBJECT, "place": PLACE, "device": CPU, "host": HOST, "question": QUESTION, **changes}
    found = measurement_key(**given)
    assert found is not None
    return found


def measured(*, outcome: str = "ok", peak_bytes: int = 6_000) -> Measured:
    step_s = StepTime(median=0.2, low=0.19, high=0.22, n=20)
    one = Measurement(
        micro_batch=8, accumulation=2, outcome=outcome, peak_reserved_bytes=peak_bytes, step_s=step_s, steps_run=5
    )
    point = Point(measurement=one, ratio_to_present=step_s, phase_bytes={"a": 3}, breakdown=Breakdown(weights_bytes=4))
    return Measured(
        budget_bytes=10_000,
        candidates=(Candidate(id="keep", micro_batch=8, accumulation=2),),
        campaign=Campaign(points=(point,), built=None, interleaved=True),
        savers=(),
        noise=NoiseOutcome(noise_scale=NoiseScale(value=40.0, low=30.0, high=55.0, n=200), steps_run=260),
    )


def only_file(folder: Path) -> Path:
    (path,) = (folder / "measured").iterdir()
    return path


def test_what_was_measured_comes_back_with_its_age() -> None:
    remember(key(), measured())
    found = recall(key(), Measured)
    assert found is not None
    assert found[0] == measured()
    assert 0 <= found[1] < 60
    assert age_remarks(found[1])[0].id == "from_cache"
    assert age_remarks(None) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"device": dataclasses.replace(CPU, name="Another CPU")},
        {"device": dataclasses.replace(CPU, power_limit_w=100.0)},
        {"host": dataclasses.replace(HOST, driver_version="570.1")},
        {"host": dataclasses.replace(HOST, torch_version="2.7.0")},
        {"subject": dataclasses.replace(SUBJECT, parameters={"num_features": 11})},
        {"subject": dataclasses.replace(SUBJECT, parameters={"num_features": 10, "precision": "bf16"})},
        {"subject": dataclasses.replace(SUBJECT, spec="trainer.workload:make")},
        {"question": {**QUESTION, "layout": [16, 1]}},
        {"place": dataclasses.replace(PLACE, environment={"CUDA_VISIBLE_DEVICES": "1"})},
    ],
)
def test_another_machine_code_or_question_is_measured_anew(changes: dict[str, Any]) -> None:
    remember(key(), measured())
    assert recall(key(**changes), Measured) is None


def test_the_number_of_threads_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    remember(key(), measured())
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert recall(key(), Measured) is None


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null", "\ud800"])
def test_a_damaged_file_is_as_good_as_none(cache_folder: Path, content: str) -> None:
    remember(key(), measured())
    only_file(cache_folder).write_bytes(content.encode(errors="surrogatepass"))
    assert recall(key(), Measured) is None
    remember(key(), measured())
    assert recall(key(), Measured) is not None


@pytest.mark.parametrize("age_s", [MAX_AGE_S + 60, -3600.0])
def test_too_old_or_from_the_future_does_not_count(cache_folder: Path, age_s: float) -> None:
    remember(key(), measured())
    path = only_file(cache_folder)
    document = json.loads(path.read_text())
    then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=age_s)
    path.write_text(json.dumps({**document, "created_at_utc": then.isoformat()}))
    assert recall(key(), Measured) is None


def test_a_file_of_another_key_or_of_another_version_does_not_count(cache_folder: Path) -> None:
    remember(key(), measured())
    path = only_file(cache_folder)
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "key": {**document["key"], "version": "0"}}))
    assert recall(key(), Measured) is None
    del document["measured"]["noise"]
    path.write_text(json.dumps(document))
    assert recall(key(), Measured) is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CFGADVISE_CACHE", str(tmp_path / "file"))
    remember(key(), measured())
    assert recall(key(), Measured) is None


def test_code_that_cannot_be_read_is_not_cached() -> None:
    subject = dataclasses.replace(SUBJECT, spec="no_such_file.py:make")
    assert measurement_key(subject, PLACE, CPU, HOST, QUESTION) is None


@pytest.mark.parametrize(
    ("outcome", "budget_bytes", "holds"),
    [
        ("ok", 10_000, True), ("ok", 6_500, True), ("ok", 90_000, True), ("ok", None, True), ("ok", 5_000, False),
        ("oom", 10_000, True), ("oom", 9_000, True), ("oom", 11_000, False), ("oom", None, False),
    ],
)  # fmt: skip
def test_with_another_budget_it_counts_if_the_same_settings_fit(outcome: str, budget_bytes: int, holds: bool) -> None:
    assert _still_holds(measured(outcome=outcome), budget_bytes) is holds


def test_a_table_says_what_its_curve_said() -> None:
    table = Table(tuple((batch, 100 + 7 * batch) for batch in (1, 2, 4, 8)))
    assert [table.at(batch) for batch in (1, 2, 3, 7, 8, 16)] == [107, 114, 121, 149, 156, 212]


def searched_then() -> Measured:
    plan = Plan(micro_batch=16, num_steps=3, checks=True)
    attempt = Attempt(plan=plan, outcome="ok", steps_run=3, peak_bytes=5_000, peak_reserved_bytes=5_000)
    found = Found(micro_batch=16, stop="memory", attempts=(attempt,), curve=Table(((1, 1_000), (64, 64_000))))
    return dataclasses.replace(measured(), searched=Searched(found=found, accumulation=2))


def test_a_search_comes_back_with_its_curve() -> None:
    remember(key(), packed(searched_then()))
    found = recall(key(), Kept)
    assert found is not None
    back = unpacked(found[0]).searched
    assert back is not None
    assert (back.micro_batch, back.measurements) == (16, searched_then().searched.measurements)
    assert back.found.curve.at(24) == 24_000


@pytest.mark.parametrize(("budget_bytes", "holds"), [(10_000, True), (9_900, True), (12_000, False), (None, False)])
def test_a_search_only_holds_for_the_same_memory(budget_bytes: int | None, holds: bool) -> None:
    assert _still_holds(searched_then(), budget_bytes) is holds


def test_a_step_that_failed_is_tried_again() -> None:
    assert _is_worth_keeping(measured())
    assert _is_worth_keeping(measured(outcome="oom"))
    assert not _is_worth_keeping(measured(outcome="error"))
    assert not _is_worth_keeping(measured(outcome="timeout"))
