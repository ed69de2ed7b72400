"""Latencies are kept to half a per cent, and a clock that disagrees is no latency."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charon.science.latency import BOUNDS_MS, LatencyRecorder


@given(st.lists(st.integers(1_000, 3_600_000_000_000), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_quantile_is_that_of_the_durations_to_one_bin(durations, q):
    recorder = LatencyRecorder()
    for duration in durations:
        recorder.add(duration)
    exact = np.quantile(durations, q, method="inverted_cdf")
    assert recorder.quantile_ns(q) == pytest.approx(exact, rel=0.006)
    assert recorder.max_ns == max(durations)
    assert recorder.count == len(durations)


def test_clocks_that_disagree_are_counted_apart_and_averaged_into_nothing():
    recorder = LatencyRecorder(bound_ns=1_000_000_000)
    for duration in (-1, -5_000_000, 1_000_000_001, 2_000_000):
        recorder.add(duration)
    figures = recorder.to_json()
    assert figures["clock_disagrees"] == 3
    assert figures["count"] == 1
    assert figures["p50"] == figures["p99"] == figures["max"] == figures["mean"] == pytest.approx(2.0, rel=0.006)


def test_nothing_recorded_gives_no_figures():
    assert LatencyRecorder().to_json()["p50"] is None
    assert LatencyRecorder().quantile_ns(0.5) is None


def test_the_extremes_fall_into_the_outer_bins():
    recorder = LatencyRecorder()
    recorder.add(0)
    recorder.add(recorder.bound_ns)
    assert recorder.count == 2
    assert recorder.quantile_ns(1.0) == pytest.approx(recorder.bound_ns, rel=0.01)


@given(st.lists(st.integers(-10, 7_200_000_000_000), max_size=100))
def test_the_buckets_count_each_duration_that_is_no_longer_than_their_bound(durations):
    recorder = LatencyRecorder()
    for duration in durations:
        recorder.add(duration)
    taken = [duration for duration in durations if 0 <= duration <= recorder.bound_ns]
    told = recorder.histogram()
    expected = [sum(duration <= bound_ms * 1e6 for duration in taken) for bound_ms in BOUNDS_MS]
    assert told["bounds_ms"] == sorted(set(BOUNDS_MS))
    assert told["cumulative"] == expected
    assert told["count"] == len(taken) >= expected[-1]
    assert told["sum_s"] == pytest.approx(sum(taken) / 1e9)
    assert told["clock_disagrees"] == len(durations) - len(taken)
