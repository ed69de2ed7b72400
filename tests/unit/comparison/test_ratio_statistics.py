"""Ratios are exact for known figures, their intervals have the stated coverage, and missing data have no ratio."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charon.comparison.statistics import batch_means, ecdf, paired_ratio, ratio_of_means, unpaired_ratio

POSITIVE = st.floats(1e-3, 1e6)
RUNS = 2000


def coverage(interval, true_ratio, seed):
    """Return the fraction of simulated comparisons whose interval contains the true ratio."""
    rng = np.random.default_rng(seed)
    ratios = [interval(rng) for _ in range(RUNS)]
    return np.mean([ratio.low <= true_ratio <= ratio.high for ratio in ratios])


@pytest.mark.parametrize("true_ratio", [1.0, 0.7, 3.0])
@pytest.mark.parametrize("repetitions", [2, 3, 5, 10])
def test_paired_interval_covers_in_95_percent(true_ratio, repetitions):
    def compare(rng):
        # Neighbouring cells share the state of the machine, which drifts.
        machine = 5.0 * np.exp(np.cumsum(rng.normal(0, 0.1, repetitions)))
        noise = np.exp(rng.normal(0, 0.03, (2, repetitions)))
        return paired_ratio((true_ratio * machine * noise[0]).tolist(), (machine * noise[1]).tolist())

    # Four standard errors of a fraction of 2000.
    assert coverage(compare, true_ratio, repetitions) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("sizes", [(3, 3), (5, 10)])
def test_welch_interval_covers_in_95_percent(sizes):
    def compare(rng):
        a, b = (np.exp(rng.normal(0, spread, size)) for spread, size in zip((0.05, 0.1), sizes, strict=True))
        return unpaired_ratio((0.8 * a).tolist(), b.tolist())

    assert 0.93 <= coverage(compare, 0.8, 4) <= 0.98


def test_interval_of_autocorrelated_series_covers():
    # Counter rates scraped every 5 s for 50 min, with a correlation time of about 25 s.
    times = np.arange(600) * 5.0

    def compare(rng):
        series = []
        for mean in (120.0, 100.0):
            noise = rng.normal(0, 1, 700)
            for k in range(1, 700):
                noise[k] += 0.8 * noise[k - 1]
            series.append(batch_means(times, mean * (1 + 0.1 * noise[100:]), 300.0))
        return ratio_of_means(*series)

    assert coverage(compare, 1.2, 5) == pytest.approx(0.95, abs=0.025)


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=2, max_size=8))
def test_paired_ratio_is_the_geometric_mean(pairs):
    a, b = zip(*pairs, strict=True)
    ratio = paired_ratio(a, b)
    assert ratio is not None
    assert ratio.value == pytest.approx(math.prod(x / y for x, y in pairs) ** (1 / len(pairs)), rel=1e-6)
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low <= ratio.value * (1 + 1e-9)
    assert ratio.value <= ratio.high * (1 + 1e-9)
    assert ratio.pairs == len(pairs)


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=2, max_size=6))
def test_swapped_sides_have_the_inverse_ratio(pairs):
    a, b = zip(*pairs, strict=True)
    for interval in (paired_ratio, unpaired_ratio):
        ratio, inverse = interval(a, b), interval(b, a)
        assert ratio is not None
        assert inverse is not None
        assert inverse.value == pytest.approx(1 / ratio.value)
        assert ratio.high is not None
        assert inverse.low == pytest.approx(1 / ratio.high, rel=1e-6)


@pytest.mark.parametrize("interval", [paired_ratio, unpaired_ratio])
def test_one_repetition_has_no_interval(interval):
    ratio = interval([3.0], [2.0])
    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high, ratio.covers_1) == (pytest.approx(1.5), None, None, None)


@pytest.mark.parametrize("interval", [paired_ratio, unpaired_ratio])
@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
def test_figures_without_a_ratio_have_none(interval, bad):
    assert interval([1.0, bad], [2.0, 2.0]) is None
    assert interval([1.0, 2.0], [bad, 2.0]) is None
    assert interval([], []) is None


def test_pairs_with_a_missing_figure_are_skipped():
    ratio = paired_ratio([2.0, None, 8.0, 4.0], [1.0, 1.0, None, 2.0])
    assert ratio is not None
    assert (ratio.value, ratio.pairs) == (pytest.approx(2.0), 2)
    assert paired_ratio([None, 1.0], [1.0, None]) is None
    with pytest.raises(ValueError, match="argument 2 is longer"):
        paired_ratio([1.0], [1.0, 2.0])


def test_equal_figures_have_a_sharp_interval():
    for interval in (paired_ratio, unpaired_ratio, ratio_of_means):
        ratio = interval([4.0, 4.0, 4.0], [2.0, 2.0, 2.0])
        assert ratio is not None
        assert (ratio.low, ratio.value, ratio.high) == pytest.approx((2.0, 2.0, 2.0))


def test_pairs_that_differ_by_orders_do_not_overflow():
    ratio = paired_ratio([1e300, 1e-300], [1e-300, 1e300])
    assert ratio is not None
    assert (ratio.low, ratio.high) == (0.0, math.inf)


def test_ratio_of_means_accepts_idle_blocks():
    ratio = ratio_of_means([0.0, 2.0, 4.0], [1.0, 1.0, 1.0])
    assert ratio is not None
    assert ratio.value == pytest.approx(2.0)
    assert ratio_of_means([0.0, 0.0], [1.0, 1.0]) is None
    assert ratio_of_means([1.0], []) is None


@pytest.mark.parametrize(("a", "b"), [(1e-308, 8e307), (8e307, 1e-308), (5e-324, 1e300)])
def test_ratio_of_means_that_no_figure_can_show(a, b):
    assert ratio_of_means([a, a], [b, b]) is None


@given(st.lists(st.floats(-1e6, 1e6), max_size=200), st.integers(2, 50))
def test_ecdf_is_exact_at_its_points(values, max_points):
    x, fraction = ecdf(values, max_points)
    assert len(x) == len(fraction) <= max_points
    assert [np.mean(np.array(values) <= at) for at in x] == pytest.approx(fraction.tolist())
    assert (np.diff(x) > 0).all()
    assert not values or (x[0], x[-1], fraction[-1]) == (min(values), max(values), 1.0)


def test_ecdf_ignores_frames_without_result():
    x, fraction = ecdf([2.0, math.nan, 1.0], 10)
    assert (x.tolist(), fraction.tolist()) == ([1.0, 2.0], [0.5, 1.0])


def test_ecdf_of_one_point_is_an_error():
    with pytest.raises(ValueError, match="at least 2"):
        ecdf([1.0], 1)


def test_batch_means_are_the_means_of_blocks():
    means = batch_means([0, 1, 2, 10, 11, 12, 20], [1, 2, 3, 4, math.nan, 6, 100], 10)
    assert means.tolist() == [2.0, 5.0, 100.0]
    # The last block is only a fraction of the others.
    assert batch_means(range(21), range(21), 10).tolist() == [4.5, 14.5]
    assert len(batch_means([], [], 10)) == 0
    with pytest.raises(ValueError, match="duration of a block"):
        batch_means([1], [1], 0)
