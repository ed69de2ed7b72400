"""Two files of metrics: known means and ratios, intervals that cover, and series matched despite other pod names."""

from __future__ import annotations

import json

import numpy as np
import pytest

from charon.comparison.metrics_files import compare_metrics
from charon.comparison.statistics import Ratio
from charon.errors import UsageError

START_S = 1_755_528_000


def a_file(path, *series, step_s=5.0):
    """Write (query, labels, values) as the JSON of `charonctl metrics`."""
    queries: dict[str, list[object]] = {}
    for query, labels, values in series:
        samples = [[START_S + k * step_s, str(value)] for k, value in enumerate(values)]
        queries.setdefault(query, []).append({"metric": labels, "values": samples})
    entries = [
        {"query": query, "status": "success", "data": {"resultType": "matrix", "result": result}}
        for query, result in queries.items()
    ]
    path.write_text(json.dumps({"metadata": {}, "queries": entries}))
    return path


def compare(tmp_path, a, b):
    return compare_metrics(a_file(tmp_path / "a.json", *a), a_file(tmp_path / "b.json", *b))


def interval(row):
    """Return low, value and high of the ratio of a row; NaN without an interval."""
    assert row.ratio is not None
    low, high = (np.nan if limit is None else limit for limit in (row.ratio.low, row.ratio.high))
    return low, row.ratio.value, high


def test_means_and_ratio_are_exact(tmp_path):
    rng = np.random.default_rng(1)
    a, b = rng.uniform(90, 110, 120), rng.uniform(40, 60, 77)
    (row,) = compare(tmp_path, [("rate", {"vertex": "cat"}, a)], [("rate", {"vertex": "cat"}, b)]).rows
    assert (row.query, row.labels) == ("rate", '{vertex="cat"}')
    assert (row.a_mean, row.b_mean) == pytest.approx((a.mean(), b.mean()))
    low, value, high = interval(row)
    assert value == pytest.approx(a.mean() / b.mean())
    assert low < value < high


def test_interval_of_a_correlated_series_covers(tmp_path):
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(200):
        sides = []
        for mean in (30.0, 20.0):
            noise = rng.normal(0, 1, 1100)
            for k in range(1, 1100):
                noise[k] += 0.7 * noise[k - 1]
            sides.append([("q", {}, mean * (1 + 0.1 * noise[100:]))])
        (row,) = compare(tmp_path, *sides).rows
        low, _, high = interval(row)
        covered.append(low <= 1.5 <= high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.05)


def test_pods_with_other_names_are_matched(tmp_path):
    a = [("m", {"pod": "cat-0-ravbn", "vertex": "cat"}, [1.0]), ("m", {"pod": "in-0-s8ddk", "vertex": "in"}, [2.0])]
    b = [("m", {"pod": "in-0-zzzzz", "vertex": "in"}, [4.0]), ("m", {"pod": "cat-0-yyyyy", "vertex": "cat"}, [8.0])]
    found = compare(tmp_path, a, b)
    assert [interval(row)[1] for row in found.rows] == [0.125, 0.5]
    assert (found.only_a, found.only_b) == ((), ())


def test_equal_labels_are_matched_first(tmp_path):
    a = [("m", {"pod": "js-0"}, [3.0]), ("m", {"pod": "cat-a"}, [1.0])]
    b = [("m", {"pod": "cat-b"}, [2.0]), ("m", {"pod": "js-0"}, [6.0])]
    assert [(row.a_mean, row.b_mean) for row in compare(tmp_path, a, b).rows] == [(3.0, 6.0), (1.0, 2.0)]


def test_ambiguous_series_are_not_guessed(tmp_path):
    a = [("m", {"pod": "cat-a"}, [1.0]), ("m", {"pod": "cat-b"}, [2.0])]
    b = [("m", {"pod": "cat-c"}, [3.0])]
    found = compare(tmp_path, a, b)
    assert found.rows == ()
    assert found.only_a == ('m {pod="cat-a"}', 'm {pod="cat-b"}')
    assert found.only_b == ('m {pod="cat-c"}',)


def test_label_of_one_side_prevents_a_match(tmp_path):
    found = compare(tmp_path, [("m", {"vertex": "cat"}, [1.0])], [("m", {}, [1.0])])
    assert (found.rows, found.only_a, found.only_b) == ((), ('m {vertex="cat"}',), ("m",))


def test_queries_of_one_file_are_listed(tmp_path):
    found = compare(tmp_path, [("a", {"__name__": "up"}, [1.0])], [("b", {}, [1.0])])
    assert (found.rows, found.only_a, found.only_b) == ((), ("a up",), ("b",))


@pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0), (-1.0, 2.0)])
def test_mean_that_is_not_positive_has_no_ratio(tmp_path, a, b):
    (row,) = compare(tmp_path, [("m", {}, [a] * 50)], [("m", {}, [b] * 50)]).rows
    assert (row.a_mean, row.b_mean, row.ratio) == (a, b, None)


@pytest.mark.parametrize("samples", [1, 7])
def test_few_samples_have_no_interval(tmp_path, samples):
    (row,) = compare(tmp_path, [("m", {}, [2.0] * samples)], [("m", {}, [1.0] * 100)]).rows
    assert row.ratio == Ratio(2.0, None, None, 1)


def test_values_that_are_not_finite_are_ignored(tmp_path):
    a = [("m", {}, ["NaN", 2.0, "+Inf", 4.0]), ("n", {}, ["NaN"])]
    found = compare(tmp_path, a, [("m", {}, [3.0]), ("n", {}, [1.0])])
    assert [(row.query, row.a_mean) for row in found.rows] == [("m", 3.0)]
    assert found.only_b == ("n",)


def test_file_that_is_not_an_export_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        compare_metrics(tmp_path / "notes.txt", a_file(tmp_path / "b.json"))
