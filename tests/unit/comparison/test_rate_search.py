"""The search finds a known limit, also with a few wrong answers, and always ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charon.comparison.bisection import RateSearch

MIN_HZ, MAX_HZ = 10.0, 4000.0
LIMITS = st.floats(11, 3900)
STARTS = st.floats(MIN_HZ, MAX_HZ)
TOLERANCES = st.floats(0.02, 0.3)


def run(search, answer, limit=500):
    """Answer until the search ends; return the measured rates."""
    rates = []
    while (rate := search.next_rate_hz()) is not None:
        assert len(rates) < limit
        assert MIN_HZ <= rate <= MAX_HZ
        rates.append(rate)
        search.add(rate, answer(rate, len(rates) - 1))
    return rates


@given(LIMITS, STARTS, TOLERANCES, st.integers(1, 3))
def test_known_limit_is_found(limit_hz, start_hz, tolerance, confirmations):
    search = RateSearch(start_hz, MIN_HZ, MAX_HZ, tolerance, confirmations=confirmations)
    run(search, lambda rate, _: rate <= limit_hz)
    low, high = search.result()
    assert low is not None
    assert high is not None
    assert low <= limit_hz < high <= low * (1 + tolerance) * (1 + 1e-9)
    assert (search.contradictions, search.is_confirmed) == (0, True)


@given(LIMITS, STARTS, TOLERANCES, st.sets(st.integers(0, 30), max_size=2))
def test_limit_is_found_despite_wrong_answers(limit_hz, start_hz, tolerance, wrong):
    search = RateSearch(start_hz, MIN_HZ, MAX_HZ, tolerance)
    wrong_rates = []

    def answer(rate, k):
        # Two wrong answers of the same rate would be a majority.
        is_wrong = k in wrong and rate not in wrong_rates
        wrong_rates.extend([rate] * is_wrong)
        return (rate <= limit_hz) != is_wrong

    run(search, answer)
    low, high = search.result()
    assert low is not None
    assert high is not None
    assert low <= limit_hz < high <= low * (1 + tolerance) * (1 + 1e-9)
    assert search.contradictions == len(wrong_rates)


@given(STARTS, TOLERANCES)
def test_loss_free_engine_has_no_lossy_rate(start_hz, tolerance):
    search = RateSearch(start_hz, MIN_HZ, MAX_HZ, tolerance)
    run(search, lambda rate, _: True)
    assert search.result() == (MAX_HZ, None)


@given(STARTS, TOLERANCES)
def test_engine_that_always_loses_has_no_rate(start_hz, tolerance):
    search = RateSearch(start_hz, MIN_HZ, MAX_HZ, tolerance)
    run(search, lambda rate, _: False)
    assert search.result() == (None, MIN_HZ)


@given(STARTS, TOLERANCES, st.integers(0, 2**32), st.integers(1, 5))
@settings(max_examples=300)
def test_random_answers_end_and_are_reported(start_hz, tolerance, seed, confirmations):
    rng = np.random.default_rng(seed)
    search = RateSearch(start_hz, MIN_HZ, MAX_HZ, tolerance, confirmations=confirmations)
    answers = [(rate, bool(rng.random() < 0.5)) for rate in run(search, lambda *_: bool(rng.random() < 0.5), limit=80)]
    assert search.answers == len(answers)
    low, high = search.result()
    assert low is None or high is None or low < high
    assert search.contradictions <= search.answers // 2


@given(LIMITS, st.integers(0, 2**32))
def test_soft_limit_is_found_within_its_width(limit_hz, seed):
    # Near the limit, the answer is random: the probability of a loss rises from 5 % to 95 % within a factor of 1.2.
    rng = np.random.default_rng(seed)
    search = RateSearch(200.0, MIN_HZ, MAX_HZ, 0.1)

    def loss_free(rate, _):
        return bool(rng.random() > 1 / (1 + (limit_hz / rate) ** 32))

    run(search, loss_free)
    low, high = search.result()
    assert low is not None
    assert high is None or low < high
    assert limit_hz / 1.5 < low < limit_hz * 1.5


def test_contradiction_is_measured_again():
    search = RateSearch(100.0, MIN_HZ, MAX_HZ, 0.1)
    search.add(100.0, loss_free=False)
    search.add(150.0, loss_free=True)
    assert search.next_rate_hz() == 100.0
    assert search.contradictions == 1
    search.add(100.0, loss_free=True)
    assert search.next_rate_hz() == 150.0 or search.result()[0] == 150.0


def test_ambiguous_rate_is_not_loss_free():
    search = RateSearch(100.0, MIN_HZ, MAX_HZ, 0.1)
    search.add(50.0, loss_free=True)
    search.add(100.0, loss_free=True)
    search.add(100.0, loss_free=False)
    assert search.result() == (50.0, 100.0)


def test_search_without_answers_has_no_result():
    search = RateSearch(100.0, MIN_HZ, MAX_HZ, 0.1)
    assert search.result() == (None, None)
    assert (search.next_rate_hz(), search.contradictions) == (100.0, 0)


def test_resumed_search_continues_at_the_same_rate():
    first, resumed = (RateSearch(100.0, MIN_HZ, MAX_HZ, 0.05) for _ in range(2))
    answers = []
    for _ in range(5):
        rate = first.next_rate_hz()
        assert rate is not None
        answers.append((rate, rate <= 333))
        first.add(*answers[-1])
    for rate, loss_free in answers:
        resumed.add(rate, loss_free)
    assert resumed.next_rate_hz() == first.next_rate_hz()


@pytest.mark.parametrize("arguments", [(5, 10, 100, 0.1), (50, 0, 100, 0.1), (50, 10, 20, 0.1), (50, 10, 100, 0)])
def test_invalid_search_is_an_error(arguments):
    with pytest.raises(ValueError, match="must be"):
        RateSearch(*arguments)
