"""Times as people type them become milliseconds; a span that is split has the moments of the whole, each once."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charon.adapters.prometheus.query.times import (
    MOST_POINTS,
    Span,
    default_step_ms,
    parse_step,
    parse_time,
    rfc3339,
    unix_seconds,
)
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
def test_a_time(text, expected):
    assert parse_time(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no time"),
        ("yesterday", "no time"),
        ("15m", "no time"),
        ("-15", "no time"),
        ("-15 m", "no time"),
        ("2025-08-18", "no time"),
        ("2025-13-18T14:47:57Z", "month"),
        ("2025-08-18T14:47:57", "zone"),
        ("1755528477000", "seconds"),
        ("-100y", "between 1970"),
        ("9" * 400, "no time"),
        (f"-{'9' * 5000}s", "no time"),
        ("٣", "no time"),
    ],
)
def test_what_is_no_time_is_named(text, words):
    with pytest.raises(UsageError, match=words) as caught:
        parse_time(text, NOW)
    assert "\n" not in str(caught.value)


@given(st.integers(0, 253_402_300_799_999))
def test_a_time_that_was_written_is_read_back(time_ms):
    assert parse_time(rfc3339(time_ms), NOW) == time_ms
    assert parse_time(unix_seconds(time_ms), NOW) == time_ms
    assert datetime.fromisoformat(rfc3339(time_ms)).timestamp() == pytest.approx(time_ms / 1000)


@pytest.mark.parametrize(("text", "expected"), [("5s", 5000), ("1m30s", 90_000), ("15", 15_000), ("0.5", 500)])
def test_a_step(text, expected):
    assert parse_step(text) == expected


@pytest.mark.parametrize("text", ["0", "0s", "0.0001", "-5s", "fast", "", "5 s", "nan", "inf"])
def test_what_is_no_step_is_named(text):
    with pytest.raises(UsageError, match="step"):
        parse_step(text)


def test_the_default_step_gives_a_curve_that_can_be_drawn():
    assert default_step_ms(3_600_000) == 5000
    for span_s in (0, 30, 60, 900, 3600, 86_400, 30 * 86_400, 365 * 86_400):
        points = Span(0, span_s * 1000, default_step_ms(span_s * 1000)).points
        assert points <= MOST_POINTS
        assert points >= min(span_s // 5, 180)


@given(st.integers(0, 10**12), st.integers(0, 10**6), st.integers(1, 5000), st.integers(1, 500))
def test_parts_of_a_span_have_its_moments_each_once(start, length, step, most):
    span = Span(start, start + length, step)
    parts = span.split(most)
    moments = [m for part in parts for m in range(part.start_ms, part.end_ms + 1, part.step_ms)]
    assert moments == list(range(start, start + length + 1, step))
    assert len(moments) == span.points
    assert all(part.points <= most for part in parts)
