"""The guide's tables: a measured figure in each cell."""

from __future__ import annotations

import re

import pytest

import synthetic_comparison
from charon.comparison.evaluation import evaluate
from charon.comparison.report.guide import differences, indicators

DIFFERENCES = [
    "Architecture",
    "Message coordination",
    "Scaling",
    "Monitoring",
    "Data flow",
    "Resource management",
]
INDICATORS = ["Throughput", "Latency", "Resource utilization", "Reliability", "Scalability"]


@pytest.fixture(scope="module")
def plan():
    return synthetic_comparison.plan(duration_s=3.0, overload_s=5.0)


@pytest.fixture(scope="module")
def results(plan):
    return [result for result, _ in synthetic_comparison.measure_all(plan)]


def cells(html):
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)[1:]
    return [
        [" ".join(re.sub("<[^>]*>", " ", cell).split()) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
        for row in rows
    ]


def test_each_difference_has_a_figure(plan, results):
    rows = cells(differences(evaluate(synthetic_comparison.comparison(plan), results), results))
    assert [row[0] for row in rows] == DIFFERENCES
    assert all(re.search(r"\d", cell) for row in rows for cell in row[1:])


def test_the_figures_are_those_of_the_cells(plan, results):
    html = differences(evaluate(synthetic_comparison.comparison(plan), results), results)
    assert "4 processes (source, cat, image, nats-server)" in html
    assert "200 frames/s with 1 replica, 347 frames/s with 2 replicas" in html
    published = sum(result.counts.published for result in results if result.cell.condition.engine == "embedded")
    assert f"{published:,} of {published:,} published frames" in html


def test_each_indicator_has_a_figure(plan, results):
    comparison = synthetic_comparison.comparison(plan)
    rows = cells(indicators(evaluate(comparison, results), comparison.machine))
    assert [row[0] for row in rows if row[0]] == INDICATORS
    assert "measured" not in str(rows).replace("highest measured", "")
    assert rows[0] == ["Throughput", "highest loss-free rate (frames/s)", "200", "361", "0.55"]


def maxima(plan, results, keep):
    """Return the rows of the maximum, its ratio and the scaling, with only some cells of the search."""
    comparison = synthetic_comparison.comparison(plan)
    kept = [r for r in results if r.cell.condition.part != "maximum" or keep(r.cell.condition, r)]
    rows = cells(indicators(evaluate(comparison, kept), comparison.machine))
    scaling = next(row for row in rows if row[1].startswith("loss-free rate with"))
    return rows[0][2:], scaling[1:4]


def test_a_limit_of_the_detector_is_a_bound(plan, results):
    assert maxima(plan, results, lambda c, r: r.kept_up or c.engine != "baseline") == (
        ["200", "at least 361", "at most 0.55"],
        ["loss-free rate with 1, 2 replicas (frames/s)", "200, 347", "at least 361, at least 629"],
    )
    assert maxima(plan, results, lambda c, r: r.kept_up or c.engine != "embedded")[0] == [
        "at least 200",
        "361",
        "at least 0.55",
    ]
    assert maxima(plan, results, lambda _, r: r.kept_up)[0] == ["at least 200", "at least 361", "–"]  # noqa: RUF001


def test_missing_number_of_replicas_is_not_replaced(plan, results):
    found = maxima(plan, results, lambda c, _: (c.engine, c.replicas) != ("baseline", 1))
    assert found == (
        ["200", "not measured", "–"],  # noqa: RUF001
        ["loss-free rate with 1, 2 replicas (frames/s)", "200, 347", "not measured, 629"],
    )


def test_losses_of_other_replicas_are_not_shown(plan, results):
    comparison = synthetic_comparison.comparison(plan)
    excluded = ("recovery", "baseline", 1)
    conditions = [(result, result.cell.condition) for result in results]
    kept = [r for r, c in conditions if (c.part, c.engine, c.replicas) != excluded]
    rows = cells(indicators(evaluate(comparison, kept), comparison.machine))
    assert next(row for row in rows if "SIGKILL" in row[1])[3] == "not measured"


def test_missing_parts_are_not_measured(plan, results):
    comparison = synthetic_comparison.comparison(plan)
    load = [result for result in results if result.cell.condition.part == "load"]
    html = indicators(evaluate(comparison, load), comparison.machine)
    assert html.count("not measured") == 8  # maximum, overload, SIGKILL and scaling of both engines


def test_tables_without_any_result_are_complete(plan):
    comparison = synthetic_comparison.comparison(plan)
    evaluation = evaluate(comparison, [])
    assert [row[0] for row in cells(differences(evaluation, []))] == DIFFERENCES
    assert "Latency" in [row[0] for row in cells(indicators(evaluation, comparison.machine))]
