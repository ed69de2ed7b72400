"""Figures of a window, from samples with known values."""

from __future__ import annotations

import pytest

from charon.comparison.running.series import MachineSeries, ProcessSeries, process_figures

SECOND = 10**9
START = 1_700_000_000 * SECOND


def series(*samples):
    result = ProcessSeries()
    for seconds, cpu_s, rss_bytes in samples:
        result.add(START + round(seconds * SECOND), cpu_s, rss_bytes)
    return result


def test_window_is_interpolated():
    process = series((0, 1.0, 100), (1, 2.0, 200), (2, 2.5, 400), (3, 2.5, 100))
    (figures,) = process_figures({"cat.0": [process]}, START + SECOND // 2, START + 2 * SECOND)
    assert figures.cpu_s == pytest.approx(1.0)
    assert (figures.rss_max_bytes, figures.rss_mean_bytes) == (400, 300)


def test_restart_within_window_adds_both():
    first = series((0, 5.0, 100), (1, 6.0, 100))
    second = series((2, 0.0, 300), (3, 0.5, 300))
    (figures,) = process_figures({"cat.0": [first, second]}, START, START + 3 * SECOND)
    assert figures.cpu_s == pytest.approx(1.5)
    assert (figures.rss_max_bytes, figures.rss_mean_bytes) == (300, 200)


def test_process_that_ended_before_window_has_none():
    (figures,) = process_figures({"cat.0": [series((0, 5.0, 100), (1, 6.0, 100))]}, START + 2 * SECOND, START + SECOND)
    assert (figures.cpu_s, figures.rss_max_bytes) == (0.0, 100)


def test_window_outside_samples_is_empty():
    assert ProcessSeries().cpu_between(0, START) == 0.0
    assert series((0, 1.0, 1)).cpu_between(START, START + SECOND) == 0.0


def test_largest_step_of_the_clock_counts():
    machine = MachineSeries()
    for seconds, offset_ns in enumerate([100, 110, 50_000_110, 50_000_100]):
        machine.add(START + seconds * SECOND, float(seconds), offset_ns)
    assert machine.clock_jump_ns == 50_000_000
    assert machine.busy_between(START, START + 2 * SECOND) == pytest.approx(2.0)
    assert MachineSeries().clock_jump_ns == 0
