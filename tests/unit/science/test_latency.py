"""Quantiles are exact to half a per cent, and disagreeing clocks do not affect them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charon.science.latency import BOUNDS_MS, LatencyRecorder


@given(st.lists(st.integers(1_000, 3_600_000_000_000), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_quantile_is_exact_to_one_bin(durations, q):
    recorder = LatencyRecorder()
    for duration in durations:
        recorder.add(duration)
    exact = np.quantile(durations, q, method="inverted_cdf")
    assert recorder.quantile_ns(q) == pytest.approx(exact, rel=0.006)
    assert recorder.max_ns == max(durations)
    assert recorder.count == len(durations)


def test_disagreeing_clocks_are_counted_separately():
    recorder = LatencyRecorder(max_valid_ns=1_000_000_000)
    for duration in (-1, -5_000_000, 1_000_000_001, 2_000_000):
        recorder.add(duration)
    figures = recorder.summary()
    assert figures.clock_disagrees == 3
    assert figures.count == 1
    assert figures.p50 == figures.p99 == figures.max == figures.mean == pytest.approx(2.0, rel=0.006)


def test_empty_recorder_has_no_quantiles():
    assert LatencyRecorder().summary().p50 is None
    assert LatencyRecorder().quantile_ns(0.5) is None


def test_extremes_are_in_the_outer_bins():
    recorder = LatencyRecorder()
    recorder.add(0)
    recorder.add(recorder.max_valid_ns)
    assert recorder.count == 2
    assert recorder.quantile_ns(1.0) == pytest.approx(recorder.max_valid_ns, rel=0.01)


@given(st.lists(st.integers(-10, 7_200_000_000_000), max_size=100))
def test_buckets_are_cumulative_up_to_their_bound(durations):
    recorder = LatencyRecorder()
    for duration in durations:
        recorder.add(duration)
    valid = [duration for duration in durations if 0 <= duration <= recorder.max_valid_ns]
    histogram = recorder.histogram()
    expected = [sum(duration <= bound_ms * 1e6 for duration in valid) for bound_ms in BOUNDS_MS]
    assert list(histogram.bounds_ms) == sorted(set(BOUNDS_MS))
    assert list(histogram.cumulative) == expected
    assert histogram.count == len(valid) >= expected[-1]
    assert histogram.sum_s == pytest.approx(sum(valid) / 1e9)
    assert histogram.clock_disagrees == len(durations) - len(valid)
