"""Estimate of the cells and the time that remain."""

from __future__ import annotations

import pytest
from comparison_data import START_NS, a_condition, a_plan, a_result

from charon.comparison.model import PARTS
from charon.comparison.remaining import Estimate

SECOND = 10**9


def a_load_result(number, engine, wall_s=8.0, **changes):
    condition = a_condition(engine=engine)
    return a_result(number, condition=condition, ended_ns=START_NS + round(wall_s * SECOND), **changes)


def test_grid_is_counted():
    estimate = Estimate(a_plan(rates_hz=[1.0, 2.0, 3.0], replicas=[1, 2], repetitions=4), cores=2)
    assert estimate.left == 3 * 2 * 4 * 2
    assert estimate.done == 0


def test_measured_overhead_is_used():
    estimate = Estimate(a_plan(repetitions=2), cores=2)  # 2 rates, 2 engines: 8 cells of 5 s
    estimate.add(a_load_result(1, "embedded", wall_s=7.0))
    estimate.add(a_load_result(2, "baseline", wall_s=8.0))
    assert (estimate.done, estimate.left) == (2, 6)
    assert estimate.left_s == pytest.approx(3 * 7.0 + 3 * 8.0)


def test_failed_cell_does_not_shorten_the_estimate():
    estimate = Estimate(a_plan(), cores=2)
    estimate.add(a_load_result(1, "embedded", wall_s=7.0))
    before_s = estimate.left_s
    estimate.add(a_load_result(2, "baseline", wall_s=0.1, failure="no memory"))
    cell_s = before_s - 3 * 7.0
    assert estimate.left_s == pytest.approx(3 * 7.0 + cell_s * 3 / 4)


def test_skipped_cells_of_earlier_parts_do_not_remain():
    estimate = Estimate(a_plan(parts=list(PARTS), repetitions=1), cores=2)
    estimate.add(a_result(1, condition=a_condition(part="noise", side="A")))
    assert estimate.left == 2 * 2 * 1 - 1


def test_longer_search_is_never_negative():
    estimate = Estimate(a_plan(parts=["maximum"]), cores=2)
    for number in range(1, 40):
        estimate.add(a_result(number, condition=a_condition(part="maximum", rate_hz=float(number))))
        assert estimate.left >= 0
        assert estimate.left_s >= 0
