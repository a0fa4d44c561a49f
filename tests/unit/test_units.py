"""Amounts are read as people write them, and printed without a misleading digit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.errors import UsageError
from advisor.units import (
    GIB,
    KIB,
    MIB,
    format_bytes,
    format_clock,
    format_count,
    format_duration,
    format_lr,
    parse_bytes,
    parse_duration_s,
)


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("14GiB", 14 * GIB),
        (" 14 gib ", 14 * GIB),
        ("512 MB", 512_000_000),
        ("1.5GiB", 3 * GIB // 2),
        ("1073741824", GIB),
        ("1b", 1),
    ],
)
def test_parse_bytes(text, num_bytes):
    assert parse_bytes(text) == num_bytes


@pytest.mark.parametrize(
    "text", ["", "GiB", "-1GiB", "0", "0.2b", "14 apples", "1,5GiB", "nan", "inf", "1e3", "9" * 400]
)
def test_what_is_no_amount_of_memory_is_a_usage_error(text):
    with pytest.raises(UsageError, match="memory"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "duration_s"),
    [("2h", 7200), ("90min", 5400), ("90 m", 5400), ("1h30m", 5400), ("1.5 d", 129600), ("3s", 3)],
)
def test_parse_duration(text, duration_s):
    assert parse_duration_s(text) == duration_s


@pytest.mark.parametrize("text", ["", "h", "90", "1h30", "0s", "-2h", "2 weeks", "1h and 2min", "9" * 400 + "h"])
def test_what_is_no_duration_is_a_usage_error(text):
    with pytest.raises(UsageError, match="not a duration"):
        parse_duration_s(text)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    for parse in (parse_bytes, parse_duration_s):
        try:
            assert parse(text) > 0
        except UsageError as error:
            assert repr(text) in str(error)


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 B"),
        (812, "812 B"),
        (KIB, "1.00 KiB"),
        (17 * MIB, "17.0 MiB"),
        (int(1.42 * GIB), "1.42 GiB"),
        (MIB - 1, "1.00 MiB"),
        (GIB - MIB // 4, "1.00 GiB"),
        (int(9.999 * GIB), "10.0 GiB"),
        (int(99.99 * GIB), "100 GiB"),
        (-3 * MIB, "-3.00 MiB"),
    ],
)
def test_format_bytes(num_bytes, text):
    assert format_bytes(num_bytes) == text


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0, "0 s"),
        (0.046, "46.0 ms"),
        (0.99951, "1.00 s"),
        (4.21, "4.21 s"),
        (59.949, "59.9 s"),
        (59.96, "1 min 00 s"),
        (192, "3 min 12 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (7199.9, "2 h 00 min"),
        (48 * 3600, "2 d 00 h"),
        (50.6 * 3600, "2 d 03 h"),
    ],
)
def test_format_duration(duration_s, text):
    assert format_duration(duration_s) == text


@given(st.floats(min_value=1e-6, max_value=1e8))
def test_a_printed_duration_is_within_two_percent_of_the_true_one(duration_s):
    text = format_duration(duration_s)
    if text.endswith("ms"):
        assert float(text.split()[0]) / 1000 == pytest.approx(duration_s, rel=0.02, abs=6e-6)
    else:
        assert parse_duration_s(text) == pytest.approx(duration_s, rel=0.02)


@given(st.integers(min_value=1, max_value=2**50))
def test_a_printed_amount_of_memory_is_within_one_percent_of_the_true_one(num_bytes):
    assert parse_bytes(format_bytes(num_bytes)) == pytest.approx(num_bytes, rel=0.01)


@pytest.mark.parametrize(("duration_s", "text"), [(0, "0:00"), (125, "2:05"), (3748, "1:02:28"), (59.7, "1:00")])
def test_format_clock(duration_s, text):
    assert format_clock(duration_s) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (999, "999"), (20_000, "20 000"), (1_234_567, "1 234 567")])
def test_format_count(count, text):
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("lr", "text"),
    [
        (1e-4, "1e-4"),
        (1.41421e-4, "1.41e-4"),
        (1.189e-4, "1.19e-4"),
        (1e-5, "1e-5"),
        (9.999e-5, "1e-4"),
        (0.1, "1e-1"),
        (1.0, "1e0"),
        (3e-10, "3e-10"),
        (0.0, "0"),
        (float("nan"), "nan"),
    ],
)
def test_format_lr(lr, text):
    assert format_lr(lr) == text


@given(st.floats(min_value=1e-30, max_value=1e30))
def test_a_printed_learning_rate_is_within_half_a_percent_of_the_true_one(lr):
    assert float(format_lr(lr)) == pytest.approx(lr, rel=0.0051)


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0, "0 秒"), (0.046, "46.0 ms"), (4.21, "4.21 秒"), (192, "3 分 12 秒"), (7500, "2 小时 05 分"),
        (270_000, "3 天 03 小时"),
    ],
)  # fmt: skip
def test_durations_in_chinese(duration_s: float, text: str) -> None:
    assert format_duration(duration_s, "zh") == text
