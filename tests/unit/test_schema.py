"""Records come back from JSON as they were; anything else is one clear message."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from advisor import records, schema
from advisor.errors import UsageError
from advisor.evaluation import Evaluation
from advisor.records import Claim, Device, Measurement, Memory, Note, Option, Probe, Speed, record

finite = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(min_value=-(2**63) + 1, max_value=2**63 - 1)
texts = st.text(st.characters(codec="utf-8"), max_size=12) | st.just("显存 \udcb2\udcbd")  # an undecodable file name


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    low, value, high = sorted(draw(st.lists(finite | whole, min_size=3, max_size=3)))
    return Claim(
        value=value,
        low=draw(st.sampled_from([low, None])),
        high=draw(st.sampled_from([high, None])),
        basis=draw(st.sampled_from(["measured", "predicted", "rule", "user"])),
        source=draw(texts),
    )


# Every union that our records use; hypothesis would otherwise also draw NaN, which no record accepts.
st.register_type_strategy(Claim, claims())
st.register_type_strategy(float, finite)
st.register_type_strategy(int, whole)
st.register_type_strategy(str, texts)

ALL_RECORDS = sorted(
    (value for value in vars(records).values() if isinstance(value, type) and dataclasses.is_dataclass(value)),
    key=lambda record_type: record_type.__name__,
)


@pytest.mark.parametrize("record_type", ALL_RECORDS, ids=lambda record_type: record_type.__name__)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_record_comes_back_as_it_was(record_type, data):
    value = data.draw(st.from_type(record_type))
    text = schema.to_json(value)
    text.encode()
    again = schema.from_json(record_type, text, where="here")
    assert again == value
    assert schema.to_json(again) == text  # to the last digit: 16 does not become 16.0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(plain=json_values, record_type=st.sampled_from(ALL_RECORDS))
def test_random_json_is_a_record_or_a_usage_error(plain, record_type):
    try:
        value = schema.from_plain(record_type, plain, where="here")
    except UsageError as error:
        assert str(error).startswith("here: ")
    else:
        assert isinstance(value, record_type)


PROBE = Probe(
    host=records.Host(
        os="Linux",
        cpu_name=None,
        num_cores=2,
        ram_total_bytes=1,
        ram_available_bytes=1,
        python_version="3.11",
        torch_version=None,
        torch_cuda_version=None,
        driver_version=None,
        driver_cuda_version=None,
        in_container=False,
    ),
    devices=(),
    checks=(records.Check(id="ARCH", severity="blocker", device=0, message="m", fix=None, values={"a": 1, "b": 0.5}),),
)


@settings(deadline=None)
@given(path=st.sampled_from(["host", "devices", "checks", "schema"]), value=json_values)
def test_one_random_value_in_a_good_record_is_read_or_refused(path, value):
    plain = {**schema.to_plain(PROBE), path: value}
    try:
        assert schema.to_plain(schema.from_plain(Probe, plain, where="here"))[path] == value
    except UsageError as error:
        assert str(error).startswith("here: ")


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda content: content.decode("latin-1")))
def test_random_text_is_a_usage_error(text):
    with pytest.raises(UsageError, match="here: "):
        schema.from_json(Claim, text, where="here")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("1" * 5_000, "not valid JSON"),
        ('{"basis": "rule", "basis": "user"}', "key 'basis' stands twice"),
        ("[]", "expected an object, found a list"),
        (
            '{"value": 1, "basis": "rule", "sauce": "x"}',
            r"unknown key 'sauce' \(did you mean 'source'\?\); missing key",
        ),
        ('{"value": 1, "basis": "ruler", "source": ""}', "basis: 'ruler' is none of measured, predicted, rule, user"),
        ('{"value": "16", "basis": "rule", "source": ""}', "value: expected a number, found a text '16'"),
        ('{"value": true, "basis": "rule", "source": ""}', "value: expected a number, found true or false"),
        ('{"value": NaN, "basis": "rule", "source": ""}', "value: must be a finite number"),
        ('{"value": 1e999, "basis": "rule", "source": ""}', "value: must be a finite number"),
        (f'{{"value": {10**400}, "basis": "rule", "source": ""}}', "value: a number of 1329 bits is out of range"),
        ('{"value": 1, "low": 2, "basis": "rule", "source": ""}', "expected low <= value <= high"),
    ],
)
def test_each_mistake_has_its_message(text, problem):
    with pytest.raises(UsageError, match=problem):
        schema.from_json(Claim, text, where="advice.json")


def test_all_problems_are_named_at_once_with_their_paths():
    plain = {
        "micro_batch": 1.5,
        "accumulation": 1,
        "outcome": "fine",
        "step_s": {"median": 1, "low": "x"},
        "stepsrun": 3,
    }
    with pytest.raises(UsageError) as caught:
        schema.from_plain(Measurement, plain, where="advice.json")
    message = str(caught.value)
    for part in (
        "unknown key 'stepsrun' (did you mean 'steps_run'?)",
        "micro_batch: expected a whole number, found a number 1.5",
        "outcome: 'fine' is none of ok, oom, error, timeout, non_finite",
        "step_s.low: expected a number, found a text 'x'",
        "missing key 'step_s.high'",
        "missing key 'step_s.n'",
    ):
        assert part in message


def test_a_later_schema_is_refused():
    plain: dict[str, Any] = {**schema.to_plain(PROBE), "schema": "cfgadvise.probe/2"}
    with pytest.raises(UsageError, match=r"'cfgadvise\.probe/2' is none of cfgadvise\.probe/1"):
        schema.from_plain(Probe, plain, where="here")


def test_the_schema_stands_first():
    for record_type in (Probe, records.Advice, Evaluation):
        assert dataclasses.fields(record_type)[0].name == "schema"


def test_absent_keys_take_their_defaults_and_tuples_their_length():
    memory = schema.from_plain(Memory, {"max_micro_batch": None, "budget_bytes": 5}, where="here")
    assert memory.predicted == () and memory.breakdown.weights_bytes is None

    @record
    class Pair:
        both: tuple[int, int]

    assert schema.from_plain(Pair, {"both": [1, 2]}, where="here").both == (1, 2)
    with pytest.raises(UsageError, match="both: expected 2 values, found 3"):
        schema.from_plain(Pair, {"both": [1, 2, 3]}, where="here")


def test_nan_is_never_written():
    with pytest.raises(ValueError, match="JSON"):
        schema.to_json(Speed(alpha_s=float("nan")))


def test_a_record_cannot_be_changed_or_built_by_position():
    note = Note(id="a", text="b")
    with pytest.raises(dataclasses.FrozenInstanceError):
        note.text = "c"
    with pytest.raises(TypeError):
        Note("a", "b")


def test_chinese_stays_readable():
    assert "显存" in schema.to_json(Note(id="memory", text="显存"))
    assert json.loads(schema.to_json(Note(id="memory", text="显存")))["text"] == "显存"


def test_units_are_the_last_word_of_a_name():
    numbers = {f.name for r in (Device, Measurement, Option) for f in dataclasses.fields(r) if "byte" in f.name}
    assert all(name.endswith("_bytes") for name in numbers)
