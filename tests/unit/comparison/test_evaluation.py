"""Known figures of cells give exactly their medians, ratios and limits; missing ones give none."""

from __future__ import annotations

import numpy as np
import pytest
from comparison_data import a_comparison, a_condition, a_plan, a_result
from hypothesis import given
from hypothesis import strategies as st

from charon.comparison.evaluation import FIGURE_KEYS, evaluate, side_by_side
from charon.comparison.model import EngineSetting, FrameCounts, LatencyFigures, RecoveryFigures

ENGINES = ("embedded", "baseline")
PARTS = ["load", "maximum", "overload", "recovery", "noise"]
FIGURES = st.floats(1e-3, 1e6)


def counts(published=100, missed=0, duplicates=0):
    return FrameCounts(
        published=published, processed=published - missed, rejected=0, missed=missed, lost=0, duplicates=duplicates
    )


def a_cell(latency_ms=None, *, repetition=0, missed=0, kept_up=True, result=None, **condition):
    """Return a usable result with a latency; `condition` changes its condition, `result` its other fields."""
    latency = None if latency_ms is None else LatencyFigures(
        count=100, p50=latency_ms, p90=2 * latency_ms, p99=3 * latency_ms, max=4 * latency_ms
    )  # fmt: skip
    values = {
        "counts": counts(missed=missed),
        "kept_up": kept_up,
        "offered_hz": 50.0,
        "latency_ms": {} if latency is None else {"result": latency},
    }
    return a_result(condition=a_condition(**condition), repetition=repetition, **values | (result or {}))


def cells_of(engine, latencies, **changes):
    return [a_cell(latency, repetition=k, engine=engine, **changes) for k, latency in enumerate(latencies)]


def evaluated(*results, **plan):
    return evaluate(a_comparison(a_plan(parts=PARTS, **plan)), list(results))


def numbered(results):
    """Return results with distinct cell numbers."""
    return [
        result.model_copy(update={"cell": result.cell.model_copy(update={"number": number})})
        for number, result in enumerate(results, 1)
    ]


@given(st.lists(st.tuples(FIGURES, FIGURES), min_size=1, max_size=5), st.randoms())
def test_medians_and_ratios_are_exact(pairs, random):
    results = cells_of("embedded", [a for a, _ in pairs]) + cells_of("baseline", [b for _, b in pairs])
    random.shuffle(results)
    (row,) = evaluated(*numbered(results)).load
    a, b = (np.array(side) for side in zip(*pairs, strict=True))
    for engine, values in zip(row.engines, (a, b), strict=True):
        assert engine.repetitions == len(pairs)
        assert engine.values["p50_result_ms"] == pytest.approx(np.median(values))
        assert engine.spread["p90_result_ms"] == pytest.approx((2 * values.min(), 2 * values.max()))
        assert engine.counts.published == 100 * len(pairs)
    ratio = row.ratios["baseline"]["p99_result_ms"]
    assert ratio.value == pytest.approx(np.exp(np.mean(np.log(a / b))))
    assert ratio.pairs == len(pairs)
    assert (ratio.low is None) == (len(pairs) == 1)


def test_only_pairs_of_equal_repetition_are_compared():
    first, _, third = cells_of("embedded", [2.0, 100.0, 8.0])
    results = [first, third, *cells_of("baseline", [1.0, 1.0])]
    (row,) = evaluated(*results).load
    assert row.ratios["baseline"]["p50_result_ms"].value == pytest.approx(2.0)
    assert row.ratios["baseline"]["p50_result_ms"].pairs == 1


def test_rows_are_in_the_order_of_the_plan():
    conditions = [(2, 100.0), (1, 100.0), (2, 50.0), (1, 50.0)]
    results = [a_cell(1.0, replicas=n, rate_hz=rate, engine=e) for n, rate in conditions for e in reversed(ENGINES)]
    load = evaluated(*results).load
    assert [(row.replicas, row.rate_hz) for row in load] == [(1, 50.0), (1, 100.0), (2, 50.0), (2, 100.0)]
    assert all([engine.engine for engine in row.engines] == list(ENGINES) for row in load)


def test_unusable_cells_are_listed_and_excluded():
    invalid = a_cell(1000.0, result={"invalid": "the machine was busy"})
    repeated = a_cell(2.0, result={"attempt": 2})
    failed = a_cell(engine="baseline", result={"failure": "PvaPy is missing", "counts": None})
    evaluation = evaluated(invalid, repeated, failed)
    assert [(cell.kind, cell.reason) for cell in evaluation.excluded] == [
        ("invalid", "the machine was busy"),
        ("failed", "PvaPy is missing"),
    ]
    (row,) = evaluation.load
    assert [(engine.engine, engine.values["p50_result_ms"]) for engine in row.engines] == [("embedded", 2.0)]
    assert row.ratios == {}
    assert evaluation.missing["load", "baseline"] == "failed: PvaPy is missing"
    assert ("load", "embedded") not in evaluation.missing


def test_figure_without_value_is_absent():
    zero = {"rss_max_bytes": 0, "processed_hz": None}
    results = [a_cell(engine=engine, repetition=k, result=zero) for engine in ENGINES for k in range(2)]
    (row,) = evaluated(*results).load
    assert row.engines[0].values == {"rss_max_bytes": 0.0}
    assert row.ratios == {}  # 0 has no ratio


def test_figure_missing_in_a_repetition_is_absent():
    results = [a_cell(3.0), a_cell(repetition=1)]
    (row,) = evaluated(*results).load
    assert row.engines[0].values == {}
    assert row.engines[0].repetitions == 2


def test_comparison_without_results_has_no_rows():
    evaluation = evaluated()
    assert not any((evaluation.load, evaluation.maximum, evaluation.scaling, evaluation.noise, evaluation.excluded))
    assert evaluation.missing["overload", "baseline"] == "the comparison is not complete"
    without = evaluate(a_comparison(a_plan(parts=["load"])), [])
    assert without.missing["recovery", "embedded"] == "the part recovery is not in the plan"


def test_maximum_is_between_loss_free_and_lossy_rates():
    rates = [(100.0, True), (200.0, False), (140.0, True), (170.0, False)]
    results = [
        a_cell(part="maximum", rate_hz=rate * n, replicas=n, kept_up=kept_up) for n in (1, 2) for rate, kept_up in rates
    ]
    evaluation = evaluated(*results, tolerance=0.3)
    assert [(row.loss_free_hz, row.lossy_hz, row.contradictory) for row in evaluation.maximum] == [
        (140.0, 170.0, False),
        (280.0, 340.0, False),
    ]
    assert [(row.replicas, row.speed_up) for row in evaluation.scaling] == [(1, 1.0), (2, 2.0)]
    assert not any(row.is_bound for row in evaluation.maximum)
    # The search ended before it had reached the tolerance.
    unfinished = evaluated(*results, tolerance=0.2)
    assert all(row.is_bound for row in unfinished.maximum)
    assert [row.speed_up for row in unfinished.scaling] == [None, None]


def test_maximum_that_was_not_reached_has_no_lossy_rate():
    row, other = evaluated(
        a_cell(part="maximum", rate_hz=100.0),
        a_cell(part="maximum", rate_hz=100.0, engine="baseline", kept_up=False),
    ).maximum
    assert (row.loss_free_hz, row.lossy_hz) == (100.0, None)
    assert (other.loss_free_hz, other.lossy_hz) == (None, 100.0)


def test_speed_up_without_a_rate_is_none():
    results = [a_cell(part="maximum", rate_hz=100.0, replicas=n, kept_up=n == 2) for n in (1, 2)]
    assert [row.speed_up for row in evaluated(*results).scaling] == [None, None]


def test_contradictory_cells_of_the_maximum_are_shown():
    answers = [(100.0, False), (150.0, True), (100.0, True), (200.0, False)]
    results = [
        a_cell(part="maximum", rate_hz=rate, kept_up=kept_up, repetition=k) for k, (rate, kept_up) in enumerate(answers)
    ]
    (row,) = evaluated(*results).maximum
    assert (row.loss_free_hz, row.lossy_hz, row.contradictory) == (150.0, 200.0, True)


def test_overload_sums_losses_over_repetitions():
    results = [
        a_cell(part="overload", repetition=k, missed=missed, result={"drain_s": drain_s, "rss_max_bytes": memory})
        for k, (missed, drain_s, memory) in enumerate([(3, 1.0, 10), (0, 3.0, 30), (4, 2.0, None)])
    ]
    (row,) = evaluated(*results).overload
    assert (row.counts.without_result, row.counts.published) == (7, 300)
    assert (row.drain_s, row.rss_max_bytes, row.repetitions) == (2.0, 30, 3)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([(1.0, 2.0), (3.0, 4.0)], (2.0, 3.0, 0)),
        ([(1.0, None), (3.0, 4.0)], (2.0, None, 0)),
        ([(None, None), (3.0, 4.0)], (None, None, 1)),
    ],
)
def test_recovery_is_none_if_one_repetition_did_not(times, expected):
    results = [
        a_cell(
            part="recovery",
            repetition=k,
            result={
                "recovery": RecoveryFigures(
                    process="cat.0", killed_ns=1, recovered_s=recovered_s, backlog_cleared_s=cleared_s
                )
            },
        )
        for k, (recovered_s, cleared_s) in enumerate(times)
    ]
    (row,) = evaluated(*results).recovery
    assert (row.recovered_s, row.backlog_cleared_s, row.not_recovered) == expected


def aa_results(rng, repetitions, noise=0.02):
    machine = 5 * np.exp(rng.normal(0, 0.2, repetitions))
    return [
        a_cell(machine[k] * np.exp(rng.normal(0, noise)), part="noise", side=side, repetition=k)
        for k in range(repetitions)
        for side in "AB"
    ]


def test_equal_sides_cover_1_in_95_percent():
    rng = np.random.default_rng(1)
    rows = [evaluated(*aa_results(rng, 5)).noise[0] for _ in range(400)]
    assert np.mean([row.covers_1 for row in rows]) == pytest.approx(0.95, abs=0.035)
    assert np.mean([row.within_5_percent for row in rows]) > 0.99


def test_different_sides_do_not_cover_1():
    rng = np.random.default_rng(2)
    results = aa_results(rng, 5, noise=0.005)
    slower = [
        a_cell(1.2 * result.latency_ms["result"].p50, part="noise", side="B", repetition=result.cell.repetition)
        for result in results
        if result.cell.condition.side == "B"
    ]
    row = evaluated(*(result for result in results if result.cell.condition.side == "A"), *slower).noise[0]
    assert (row.covers_1, row.within_5_percent) == (False, False)


def test_one_repetition_does_not_cover_1():
    (row, *_) = evaluated(*aa_results(np.random.default_rng(3), 1)).noise
    assert row.covers_1 is False


def maximum(rate_hz, *, lossy=True):
    """Return the cells of a search that ended at a rate, with or without a loss above it."""
    cells = [a_cell(part="maximum", rate_hz=rate_hz)]
    return [*cells, a_cell(part="maximum", rate_hz=1.05 * rate_hz, kept_up=False)] if lossy else cells


def test_bounds_of_two_folders_have_no_ratio():
    sides = [(a_comparison(), maximum(rate_hz, lossy=lossy)) for rate_hz, lossy in ((300.0, False), (200.0, True))]
    for a, b in (sides, sides[::-1]):
        assert side_by_side(a, b).rows == ()


def test_two_folders_have_ratios_per_condition():
    a = [*cells_of("embedded", [2.0, 2.2, 2.1]), *maximum(300.0), a_cell(9.0, rate_hz=77.0)]
    b = [*cells_of("embedded", [1.0, 1.1, 1.05]), *maximum(200.0), a_cell(9.0, rate_hz=78.0)]
    found = side_by_side((a_comparison(), a), (a_comparison(), b))
    ratios = {row.key: row for row in found.rows}
    p50 = ratios["p50_result_ms"]
    assert (p50.a, p50.b, p50.ratio.value) == pytest.approx((2.1, 1.05, 2.0))
    assert p50.ratio.low is not None
    assert ratios["loss_free_hz"].ratio.value == pytest.approx(1.5)
    assert ratios["loss_free_hz"].condition.rate_hz == 300.0
    assert (found.only_a, found.only_b) == (1, 1)


def test_two_folders_with_other_settings_are_matched():
    results = [cells_of("baseline", [2.0], setting=EngineSetting(batch=batch)) for batch in (1, 8)]
    found = side_by_side((a_comparison(), results[0]), (a_comparison(), results[1]))
    assert {row.same_setting for row in found.rows} == {False}
    assert found.rows[0].condition.setting.batch == 1


def test_figure_keys_are_those_of_the_cells():
    cell = a_cell(1.0, result={"processed_hz": 1.0, "cpu_ms_per_frame": 1.0, "rss_max_bytes": 1})
    (row,) = evaluated(cell).load
    assert set(row.engines[0].values) == {key for key in FIGURE_KEYS if "stitched" not in key}
