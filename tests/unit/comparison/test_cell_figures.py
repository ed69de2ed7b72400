"""Figures of a cell are exact for synthetic runs with known rates and latencies, and None without data."""

from __future__ import annotations

import numpy as np
import pytest
from comparison_fakes import START_NS, samples_of
from hypothesis import assume, given
from hypothesis import strategies as st

from charon.comparison import figures

RATES = st.floats(5, 2000)


def steady(frames, rate_hz, latency_s=0.005):
    """Return samples at a constant rate and latency."""
    return samples_of(np.arange(frames) / rate_hz, np.full(frames, latency_s))


def queued(offered_hz, processed_hz, duration_s):
    """Return samples of an engine that processes frames at a constant rate, in order, and loses none."""
    published_s = np.arange(round(offered_hz * duration_s)) / offered_hz
    done_s = np.zeros(len(published_s))
    free_s = 0.0
    for k, at in enumerate(published_s):
        free_s = done_s[k] = max(free_s, at) + 1 / processed_hz
    return samples_of(published_s, done_s - published_s)


@given(st.lists(st.one_of(st.none(), st.integers(1, 10**10)), min_size=1, max_size=60), st.integers(0, 60))
def test_latency_quantiles_are_exact(latencies_ns, first):
    latency_s = np.array([np.nan if value is None else value / 1e9 for value in latencies_ns])
    samples = samples_of(np.arange(len(latencies_ns)) / 100, latency_s)
    from_ns = START_NS + first * 10_000_000
    expected = [value / 1e6 for value in latencies_ns[first:] if value is not None]
    found = figures.latency_figures(samples, "result", from_ns)
    if not expected:
        assert found is None
        return
    assert found is not None
    assert found.count == len(expected)
    assert [found.p50, found.p90, found.p99, found.max] == pytest.approx(np.quantile(expected, [0.5, 0.9, 0.99, 1]))


def test_latency_of_stitched_pixels_is_separate():
    samples = samples_of(np.arange(10) / 100, np.full(10, 0.004), stitched_s=np.full(10, 0.5))
    result, stitched = (figures.latency_figures(samples, stage, 0) for stage in ("result", "stitched"))
    assert result is not None
    assert stitched is not None
    assert (result.p50, stitched.p50) == (pytest.approx(4.0), pytest.approx(500.0))


def test_unknown_stage_is_an_error():
    with pytest.raises(ValueError, match="unknown stage 'image'; use one of result, stitched"):
        figures.latency_figures(steady(5, 100), "image", 0)


@given(RATES, st.integers(2, 500))
def test_rates_of_steady_run_are_exact(rate_hz, frames):
    samples = steady(frames, rate_hz)
    assert figures.offered_hz(samples, START_NS) == pytest.approx(rate_hz, rel=1e-4)
    assert figures.processed_hz(samples, START_NS) == pytest.approx(rate_hz, rel=1e-4)


@pytest.mark.parametrize("frames", [0, 1])
def test_too_few_frames_have_no_rate(frames):
    samples = steady(frames, 100)
    assert figures.offered_hz(samples, 0) is None
    assert figures.processed_hz(samples, 0) is None
    assert figures.recovery_times(samples, START_NS, 0) == (None, None)


def test_simultaneous_results_have_no_rate():
    samples = samples_of(np.arange(8) / 100, 0.1 - np.arange(8) / 100)
    assert figures.processed_hz(samples, 0) is None


def test_warm_up_is_excluded_from_rates():
    published_s = np.concatenate([np.arange(20) / 20, 1 + np.arange(100) / 100])
    samples = samples_of(published_s, np.full(120, 0.002))
    assert figures.offered_hz(samples, START_NS + 10**9) == pytest.approx(100)


@given(st.floats(50, 1000), st.floats(1.1, 10))
def test_faster_engine_keeps_up(offered_hz, speed):
    samples = queued(offered_hz, speed * offered_hz, 4.0)
    assert figures.has_kept_up(samples, START_NS)


@given(st.floats(50, 1000), st.floats(0.3, 0.97))
def test_slower_engine_does_not_keep_up(offered_hz, speed):
    samples = queued(offered_hz, speed * offered_hz, 6.0)
    assert not figures.has_kept_up(samples, START_NS)


@given(st.integers(0, 399), st.floats(0.1, 3.0))
def test_one_slow_frame_is_not_a_backlog(slow, latency_s):
    latencies = np.full(400, 0.005)
    latencies[slow] = latency_s
    assert figures.has_kept_up(samples_of(np.arange(400) / 100, latencies), START_NS)


@given(st.floats(0.0, 3.9), st.floats(0.05, 0.4))
def test_cleared_backlog_is_not_growth(at_s, pause_s):
    assume(at_s + 2 * pause_s < 3.5)
    published_s = np.arange(400) / 100
    waiting_s = np.clip(at_s + pause_s - published_s, 0, None) * (published_s >= at_s)
    assert figures.has_kept_up(samples_of(published_s, 0.005 + waiting_s), START_NS)


def test_stall_at_the_end_is_a_backlog():
    published_s = np.arange(400) / 100
    samples = samples_of(published_s, 0.005 + np.clip(4.5 - published_s, 0, None) * (published_s > 3.4))
    assert not figures.has_kept_up(samples, START_NS)


def test_frame_without_result_has_not_kept_up():
    latencies = np.full(100, 0.005)
    latencies[3] = np.nan
    # Also one in the warm-up.
    assert not figures.has_kept_up(samples_of(np.arange(100) / 100, latencies), START_NS + 10**8)


def test_nothing_measured_has_not_kept_up():
    assert not figures.has_kept_up(steady(10, 100), START_NS + 10**9)
    assert not figures.has_kept_up(steady(0, 100), START_NS)


def test_drain_is_from_last_frame_to_last_result():
    latencies = np.array([0.1, 5.0, 0.2])
    assert figures.drain_s(samples_of(np.array([0.0, 1.0, 2.0]), latencies)) == pytest.approx(4.0)
    assert figures.drain_s(samples_of(np.array([0.0, 1.0]), np.array([0.1, np.nan]))) == 0.0
    assert figures.drain_s(samples_of(np.array([0.0]), np.array([np.nan]))) is None


@given(st.floats(60, 400), st.floats(0.3, 2.5), st.floats(1.5, 4.0), st.integers(0, 2**32))
def test_recovery_of_a_lossless_engine_is_found(rate_hz, outage_s, speed, seed):
    samples, killed_s = outage(rate_hz, outage_s, speed, seed)
    recovered_s, cleared_s = figures.recovery_times(samples, START_NS + round(killed_s * 1e9), START_NS)
    # The engine works off the backlog of the outage at a multiple of the rate.
    works_off_s = outage_s * speed / (speed - 1)
    assert recovered_s == pytest.approx(outage_s, abs=0.05 + 2 / rate_hz)
    assert cleared_s == pytest.approx(works_off_s, abs=0.1 + 25 / rate_hz)


def outage(rate_hz, outage_s, speed, seed):
    """Return samples of an engine that processes nothing for a while, and the time of the outage's start."""
    published_s = np.arange(round(rate_hz * 14)) / rate_hz
    killed_s, done_s, free_s = 4.0, np.zeros(len(published_s)), 0.0
    noise = np.random.default_rng(seed).uniform(0.002, 0.003, len(published_s))
    for k, at in enumerate(published_s):
        start = max(free_s, at)
        start = killed_s + outage_s if killed_s - 0.003 <= start < killed_s + outage_s else start
        free_s = start + 1 / (rate_hz * speed)
        done_s[k] = start + noise[k]
    return samples_of(published_s, done_s - published_s), killed_s


def test_recovery_of_a_lossy_engine_is_found():
    published_s = np.arange(1000) / 100
    latencies = np.full(1000, 0.004)
    latencies[(published_s >= 4.0) & (published_s < 6.5)] = np.nan
    recovered_s, cleared_s = figures.recovery_times(samples_of(published_s, latencies), START_NS + 4 * 10**9, START_NS)
    assert recovered_s == pytest.approx(2.504, abs=0.011)
    assert cleared_s == pytest.approx(2.504, abs=0.011)


def test_engine_without_results_has_not_recovered():
    published_s = np.arange(1000) / 100
    latencies = np.where(published_s < 4.0, 0.004, np.nan)
    samples = samples_of(published_s, latencies)
    assert figures.recovery_times(samples, START_NS + 4 * 10**9, START_NS) == (None, None)


def test_backlog_after_the_last_frame_shows_recovery():
    # The detector stops 2 s after the kill, the worker restarts 3 s after it and works off its backlog at 200 Hz.
    published_s = np.arange(600) / 100
    waiting = published_s >= 4.0
    done_s = np.where(waiting, 7.0 + (np.arange(600) - 400) / 200, published_s + 0.004)
    samples = samples_of(published_s, done_s - published_s)
    assert figures.recovery_times(samples, START_NS + 4 * 10**9, START_NS) == (pytest.approx(3.0, abs=0.01), None)


def test_last_results_without_a_backlog_are_not_recovery():
    published_s = np.arange(600) / 100
    latencies = np.where((published_s < 4.0) | (published_s > 5.9), 0.004, np.nan)
    samples = samples_of(published_s, latencies)
    assert figures.recovery_times(samples, START_NS + 4 * 10**9, START_NS) == (None, None)


def test_half_of_the_rate_is_not_recovery():
    # One of two consumers stays down.
    published_s = np.arange(1000) / 100
    latencies = np.where((published_s < 4.0) | (np.arange(1000) % 2 == 0), 0.004, np.nan)
    samples = samples_of(published_s, latencies)
    assert figures.recovery_times(samples, START_NS + 4 * 10**9, START_NS)[0] is None


@given(st.integers(0, 80), st.floats(0.05, 2.0), st.integers(0, 2**32))
def test_timeline_conserves_frames(frames, bin_s, seed):
    rng = np.random.default_rng(seed)
    latencies = np.where(rng.random(frames) < 0.2, np.nan, rng.exponential(0.3, frames))
    samples = samples_of(np.arange(frames) / 20, latencies)
    line = figures.timeline(samples, bin_s)
    assert line.offered_hz.sum() * bin_s == pytest.approx(frames)
    assert line.processed_hz.sum() * bin_s == pytest.approx(np.isfinite(latencies).sum())
    assert line.without_result_hz.sum() * bin_s == pytest.approx(np.isnan(latencies).sum())
    assert (line.backlog >= 0).all()
    assert not frames or line.backlog[-1] == 0
    ends_s = line.t_s + bin_s / 2
    published_s = samples.published_ns / 1e9 - START_NS / 1e9
    for end_s, backlog in zip(ends_s, line.backlog, strict=True):
        waiting = (published_s < end_s) & (published_s + latencies >= end_s)
        assert abs(backlog - waiting.sum()) <= 1  # a frame at the edge of a bin


def test_timeline_shows_latency_per_bin():
    samples = samples_of(np.array([0.0, 0.1, 0.2, 1.1, 2.5]), np.array([0.010, 0.020, 0.060, np.nan, 0.5]))
    line = figures.timeline(samples, 1.0)
    assert line.t_s.tolist() == [0.5, 1.5, 2.5, 3.5]
    assert line.latency_ms == pytest.approx(np.array([20.0, np.nan, 500.0, np.nan]), nan_ok=True)


def test_timeline_rejects_an_invalid_bin():
    with pytest.raises(ValueError, match="duration of a bin is 0"):
        figures.timeline(steady(3, 10), 0)
