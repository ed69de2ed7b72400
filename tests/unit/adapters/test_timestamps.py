"""Times and durations are parsed to milliseconds; invalid ones raise UsageError."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charon.adapters.timestamps import parse_duration, parse_time, rfc3339
from charon.errors import UsageError

NOW = 1_755_529_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-08-18T14:47:57Z", 1_755_528_477_000),
        ("2025-08-18T16:47:57+02:00", 1_755_528_477_000),
        ("2025-08-18 14:47:57.25z", 1_755_528_477_250),
        ("2025-08-18T14:47:57.123456789Z", 1_755_528_477_123),
        ("1755528477", 1_755_528_477_000),
        ("1755528477.781", 1_755_528_477_781),
        ("now", NOW),
        ("-15m", NOW - 900_000),
        ("-1h30m", NOW - 5_400_000),
        ("-2d", NOW - 172_800_000),
        ("-250ms", NOW - 250),
    ],
)
def test_parse_time_accepts_each_format(text, expected):
    assert parse_time(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a valid time"),
        ("yesterday", "not a valid time"),
        ("15m", "not a valid time"),
        ("-15", "not a valid time"),
        ("-15 m", "not a valid time"),
        ("2025-08-18", "not a valid time"),
        ("2025-13-18T14:47:57Z", "month"),
        ("2025-08-18T14:47:57", "zone"),
        ("1755528477000", "seconds"),
        ("-100y", "between 1970"),
        ("9" * 400, "not a valid time"),
        (f"-{'9' * 5000}s", "not a valid time"),
        ("٣", "not a valid time"),
    ],
)
def test_parse_time_rejects_invalid_text(text, reason):
    with pytest.raises(UsageError, match=reason) as caught:
        parse_time(text, NOW)
    assert "\n" not in str(caught.value)


@given(st.integers(0, 253_402_300_799_999))
def test_rfc3339_round_trips(time_ms):
    assert parse_time(rfc3339(time_ms), NOW) == time_ms
    assert datetime.fromisoformat(rfc3339(time_ms)).timestamp() == pytest.approx(time_ms / 1000)


@pytest.mark.parametrize(
    ("text", "expected"), [("5s", 5000), ("1m30s", 90_000), ("15", 15_000), ("0.5", 500), ("-5s", None), ("fast", None)]
)
def test_duration_is_parsed_to_milliseconds(text, expected):
    assert parse_duration(text) == expected
