"""The verdict: sentences state the figures, and nothing that was not measured."""

from __future__ import annotations

import re

import pytest

import synthetic_comparison
from charon.comparison.evaluation import evaluate
from charon.comparison.report.verdict import reference_load, verdict


@pytest.fixture(scope="module")
def plan():
    return synthetic_comparison.plan(replicas=[1], duration_s=4.0, overload_s=6.0)


@pytest.fixture(scope="module")
def results(plan):
    return [result for result, _ in synthetic_comparison.measure_all(plan)]


def lines(plan, results):
    return dict(verdict(evaluate(synthetic_comparison.comparison(plan), results)))


def of(results, part):
    return [result for result in results if result.cell.condition.part == part]


def as_baseline(result):
    condition = result.cell.condition.model_copy(update={"engine": "baseline"})
    return result.model_copy(update={"cell": result.cell.model_copy(update={"condition": condition})})


def test_a_verdict_has_five_topics(plan, results):
    assert list(lines(plan, results)) == ["Latency", "Rate", "Overload", "Crash", "Choice"]


def test_latency_is_compared_at_a_sustained_rate(plan, results):
    load = reference_load(evaluate(synthetic_comparison.comparison(plan), results))
    assert load is not None
    assert load.rate_hz == 150
    ratio = load.ratios["baseline"]["p50_result_ms"]
    sentences = lines(plan, results)["Latency"]
    assert sentences.startswith("At 150 frames/s (ptychonn2-sim, 1 replica), the highest measured rate")
    assert f"The PvaPy baseline is faster: the latency of the pipeline is {ratio.value:.2f} times as long" in sentences
    assert f"(95 % interval {ratio.low:.2f} to {ratio.high:.2f})" in sentences


def test_a_faster_reference_has_the_inverse_ratio(plan, results):
    turned = plan.model_copy(update={"engines": ["baseline", "embedded"]})
    found = [re.search(r"is ([\d.]+) times as long", lines(order, results)["Latency"]) for order in (plan, turned)]
    factors = [match[1] for match in found if match]
    assert len(factors) == 2
    assert factors[0] == factors[1]


def test_the_rate_is_the_highest_loss_free_rate(plan, results):
    rate = lines(plan, results)["Rate"]
    assert "The highest loss-free rate is 200 frames/s for the pipeline and 361 frames/s" in rate


def without_lossy_cells(results, engine):
    """Return the results of an engine that the detector or an interrupt limited, not a loss."""
    return [
        result
        for result in results
        if result.kept_up or result.cell.condition.part != "maximum" or result.cell.condition.engine != engine
    ]


def test_a_rate_that_the_detector_limited_is_a_bound(plan, results):
    found = lines(plan, without_lossy_cells(results, "baseline"))
    assert "is 200 frames/s for the pipeline and at least 361 frames/s for the PvaPy baseline" in found["Rate"]
    assert "the PvaPy baseline for a higher loss-free rate" in found["Choice"]
    found = lines(plan, without_lossy_cells(results, "embedded"))
    assert "is at least 200 frames/s for the pipeline and 361 frames/s for the PvaPy baseline" in found["Rate"]
    # The pipeline may be as fast.
    assert "loss-free rate" not in found["Choice"]


def test_an_unfinished_search_gives_a_bound(plan, results):
    near = [
        result
        for result in results
        if result.cell.condition.part != "maximum" or result.kept_up or result.cell.condition.engine != "baseline"
    ]
    far = [result for result in results if result.cell.condition.part == "maximum" and not result.kept_up]
    (lossy,) = [result for result in far if result.cell.condition.engine == "baseline"]
    condition = lossy.cell.condition.model_copy(update={"rate_hz": 800.0})
    lossy = lossy.model_copy(update={"cell": lossy.cell.model_copy(update={"condition": condition})})
    assert "and at least 361 frames/s for the PvaPy baseline" in lines(plan, [*near, lossy])["Rate"]


def test_maxima_of_other_set_ups_are_not_compared():
    plan = synthetic_comparison.plan(replicas=[1, 2], duration_s=4.0, overload_s=6.0)
    both = [result for result, _ in synthetic_comparison.measure_all(plan)]
    found = lines(
        plan,
        [
            result
            for result in both
            if (result.cell.condition.part, result.cell.condition.engine, result.cell.condition.replicas)
            != ("maximum", "embedded", 1)
        ],
    )
    assert "is 361 frames/s for the PvaPy baseline (ptychonn2-sim, 1 replica)." in found["Rate"]
    assert "loss-free rate" not in found["Choice"]


@pytest.mark.parametrize(("part", "topic"), [("overload", "Overload"), ("recovery", "Crash")])
def test_losses_of_other_set_ups_are_not_compared(part, topic):
    plan = synthetic_comparison.plan(replicas=[1, 2], parts=["load", part], duration_s=2.0, overload_s=3.0)
    both = [result for result, _ in synthetic_comparison.measure_all(plan)]
    assert "the PvaPy baseline" in lines(plan, both)[topic]
    excluded = (part, "baseline", 1)
    conditions = [(result, result.cell.condition) for result in both]
    found = lines(plan, [r for r, c in conditions if (c.part, c.engine, c.replicas) != excluded])
    assert "the pipeline" in found[topic]
    assert "the PvaPy baseline" not in found[topic]


def test_losses_are_counted(plan, results):
    found = lines(plan, results)
    assert re.search(r": 0 of [\d,]+ for the pipeline, drained in [\d.]+ s;", found["Overload"])
    overload = next(result for result in of(results, "overload") if result.cell.condition.engine == "baseline")
    assert overload.counts is not None
    assert f"; {overload.counts.missed:,} of {overload.counts.published:,} (" in found["Overload"]
    # Three repetitions at 100 frames/s, and the worker is down for a second.
    assert "0 of 1,500 for the pipeline; 300 of 1,500 (20 %) for the PvaPy baseline." in found["Crash"]


def test_the_choice_follows_from_the_figures(plan, results):
    assert lines(plan, results)["Choice"] == (
        "Choose the pipeline for no loss at overload and no loss after a crash; choose the PvaPy baseline for a higher "
        "loss-free rate, a lower latency, less CPU time per frame and less memory."
    )


def test_without_an_interval_no_engine_is_faster(plan, results):
    found = lines(plan, [result for result in of(results, "load") if result.cell.repetition == 0])
    expected = "The difference between the pipeline and the PvaPy baseline cannot be judged from one repetition (ratio"
    assert expected in found["Latency"]
    assert found["Choice"] == "No measured figure differs significantly between the engines."


def test_parts_that_were_not_measured_are_absent(plan, results):
    assert list(lines(plan, of(results, "recovery"))) == ["Crash", "Choice"]


def test_equal_engines_are_not_distinguished(plan, results):
    sides = [result for result in of(results, "load") if result.cell.condition.engine == "embedded"]
    found = lines(plan, [*sides, *map(as_baseline, sides)])
    assert "faster" not in found["Latency"]
    assert found["Choice"] == "No measured figure differs significantly between the engines."


def test_no_valid_cell_is_stated(plan, results):
    invalid = [result.model_copy(update={"invalid": "busy"}) for result in results]
    assert "cannot be compared" in lines(plan, invalid)["Result"]


def test_a_worker_that_did_not_recover_is_stated(plan, results):
    recovery = of(results, "recovery")
    gone = recovery[0].recovery.model_copy(update={"recovered_s": None})
    found = lines(plan, [recovery[0].model_copy(update={"recovery": gone}), *recovery[1:]])
    assert " did not recover in 1 of 3 repetitions." in found["Crash"]


def test_an_engine_without_results_is_stated(plan, results):
    own = [result for result in results if result.cell.condition.engine == "embedded"]
    found = lines(plan, own)
    assert found["Latency"].endswith("The PvaPy baseline has no valid latency at this rate.")
    assert "every engine kept up" not in found["Latency"]
    assert found["Choice"] == "No choice is possible without valid results of the PvaPy baseline."


def test_an_unlimited_rate_is_a_lower_bound(plan, results):
    kept_up = [result for result in of(results, "maximum") if result.kept_up]
    assert "The highest loss-free rate is at least " in lines(plan, kept_up)["Rate"]


def test_a_wide_interval_is_not_significant(plan, results):
    def with_p50(result, p50):
        latency = result.latency_ms["result"].model_copy(update={"p50": p50})
        return result.model_copy(update={"latency_ms": result.latency_ms | {"result": latency}})

    own = [r for r in of(results, "load") if r.cell.condition.engine == "embedded" and r.cell.repetition < 2]
    sides = [*own, *(as_baseline(with_p50(result, 10.0 ** (3 * result.cell.repetition))) for result in own)]
    assert re.search(
        r"is not significant \(ratio [\d.]+, 95 % interval [\d.e-]+ to [\d,]+\)", lines(plan, sides)["Latency"]
    )


def test_an_advantage_within_the_noise_is_not_one(plan, results):
    def with_cpu(result, factor):
        value = 4.0 + 0.001 * result.cell.repetition
        return result.model_copy(update={"cpu_ms_per_frame": value * factor})

    own = [result for result in of(results, "load") if result.cell.condition.engine == "embedded"]
    for factor, expected in ((1.03, False), (1.2, True)):
        sides = [*(with_cpu(result, factor) for result in own), *(as_baseline(with_cpu(result, 1.0)) for result in own)]
        assert ("less CPU time per frame" in lines(plan, sides)["Choice"]) is expected
