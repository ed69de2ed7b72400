"""Steps are parsed; a split range contains each time of the full range once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charon.adapters.prometheus.query import QueryRange, default_step_ms, parse_step
from charon.adapters.prometheus.query.query_range import MAX_POINTS, unix_seconds
from charon.adapters.timestamps import parse_time
from charon.errors import UsageError


@pytest.mark.parametrize(("text", "expected"), [("5s", 5000), ("1m30s", 90_000), ("15", 15_000), ("0.5", 500)])
def test_parse_step_accepts_both_formats(text, expected):
    assert parse_step(text) == expected


@pytest.mark.parametrize("text", ["0", "0s", "0.0001", "-5s", "fast", "", "5 s", "nan", "inf"])
def test_parse_step_rejects_invalid_text(text):
    with pytest.raises(UsageError, match="step"):
        parse_step(text)


def test_default_step_gives_enough_points():
    assert default_step_ms(3_600_000) == 5000
    for duration_s in (0, 30, 60, 900, 3600, 86_400, 30 * 86_400, 365 * 86_400):
        points = QueryRange(0, duration_s * 1000, default_step_ms(duration_s * 1000)).points
        assert points <= MAX_POINTS
        assert points >= min(duration_s // 5, 180)


@given(st.integers(0, 253_402_300_799_999))
def test_unix_seconds_round_trip(time_ms):
    assert parse_time(unix_seconds(time_ms), 0) == time_ms


@given(st.integers(0, 10**12), st.integers(0, 10**6), st.integers(1, 5000), st.integers(1, 500))
def test_split_keeps_each_time_once(start, length, step, max_points):
    query_range = QueryRange(start, start + length, step)
    parts = query_range.split(max_points)
    times = [at for part in parts for at in range(part.start_ms, part.end_ms + 1, part.step_ms)]
    assert times == list(range(start, start + length + 1, step))
    assert len(times) == query_range.points
    assert all(part.points <= max_points for part in parts)
