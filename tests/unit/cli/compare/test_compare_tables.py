"""Tables of the main figures."""

from __future__ import annotations

from comparison_data import START_NS, a_comparison, a_condition, a_plan, a_result

from charon.cli.compare.tables import figures_table, ratio_text, side_by_side_table
from charon.comparison.evaluation import evaluate, side_by_side
from charon.comparison.model import EngineSetting, FrameCounts, LatencyFigures, RecoveryFigures
from charon.comparison.statistics import Ratio

ENGINES = ("embedded", "baseline")


def measured(number, engine, part="load", *, repetition=0, rate_hz=50.0, lost=0, scale=1.0, **changes):
    """Return a result with figures; the latencies are 8, 9, 10 and 12 ms times the scale."""
    p50, p90, p99, largest = (value * scale for value in (8.0, 9.0, 10.0, 12.0))
    figures = {
        "counts": FrameCounts(published=250, processed=250 - lost, rejected=0, missed=0, lost=lost, duplicates=0),
        "kept_up": not lost,
        "processed_hz": rate_hz,
        "latency_ms": {"result": LatencyFigures(count=200, p50=p50, p90=p90, p99=p99, max=largest)},
        "cpu_ms_per_frame": 5.0 * scale,
        "rss_max_bytes": 400 * 2**20,
    }
    setting = EngineSetting(batch=4) if engine == "baseline" else EngineSetting()
    condition = a_condition(engine=engine, part=part, rate_hz=rate_hz, setting=setting)
    return a_result(number, condition=condition, repetition=repetition, **(figures | changes))


def rows_of(results, plan=None):
    """Return the table as columns; two or more spaces separate them."""
    text = figures_table(evaluate(a_comparison(plan or a_plan()), results))
    return {
        line[0]: line[1:] for line in ([c.strip() for c in row.split("  ") if c.strip()] for row in text.splitlines())
    }


def test_load_has_figures_and_ratio():
    results = [measured(k + 1, engine, scale=k + 1.0) for k, engine in enumerate(ENGINES)]
    rows = rows_of(results)
    assert rows["50 frames/s, ptychonn2-sim:"] == []
    assert rows["frames without a result"] == ["0 of 250", "0 of 250"]
    assert rows["latency p50 (ms)"] == ["8", "16", "0.50"]
    assert rows["latency p99 (ms)"] == ["10", "20", "0.50"]
    assert rows["CPU time per frame (ms)"] == ["5", "10", "0.50"]
    assert rows["memory (MiB)"] == ["400", "400", "1.00"]
    assert "latency to the image p50 (ms)" not in rows


def test_losses_and_backlog_are_shown():
    results = [measured(1, "embedded"), measured(2, "baseline", lost=7)]
    assert rows_of(results)["frames without a result"] == ["0 of 250", "7 of 250, did not keep up"]


def test_engine_without_result_has_a_dash():
    results = [measured(1, "embedded"), measured(2, "baseline", failure="no memory")]
    rows = rows_of(results)
    assert rows["latency p50 (ms)"] == ["8", "-", "-"]


def test_invalid_results_are_not_in_the_table():
    results = [measured(1, "embedded", scale=100, invalid="busy"), *(measured(k + 2, e) for k, e in enumerate(ENGINES))]
    assert rows_of(results)["latency p50 (ms)"] == ["8", "8", "1.00"]


def test_limits_of_the_search_are_named():
    results = [
        measured(1, "embedded", "maximum", rate_hz=100),
        measured(2, "embedded", "maximum", rate_hz=110, kept_up=False),
        measured(3, "baseline", "maximum", rate_hz=100),
    ]
    assert rows_of(results)["frames/s"] == ["100", "at least 100"]
    lossy = [measured(1, "embedded", "maximum", rate_hz=100, kept_up=False)]
    assert rows_of(lossy)["frames/s"] == ["below 100", "-"]


def test_recovery_is_shown():
    recovery = RecoveryFigures(process="cat.0", killed_ns=START_NS, recovered_s=1.25, backlog_cleared_s=None)
    rows = rows_of([measured(1, "embedded", "recovery", lost=3, recovery=recovery)])
    assert rows["frames without a result"] == ["3 of 250", "-"]
    assert rows["rate recovered after (s)"] == ["1.2", "-"]
    assert rows["backlog cleared after (s)"] == ["-", "-"]


def noise(repetitions, scale):
    sides = [
        measured(2 * k + side + 1, "embedded", "noise", repetition=k, scale=(1.0, scale)[side])
        for k in range(repetitions)
        for side in (0, 1)
    ]
    for k, result in enumerate(sides):
        condition = result.cell.condition.model_copy(update={"side": "AB"[k % 2]})
        sides[k] = result.model_copy(update={"cell": result.cell.model_copy(update={"condition": condition})})
    return figures_table(evaluate(a_comparison(), sides)).splitlines()[-1]


def test_noise_is_counted():
    assert noise(1, 1.0) == "noise (A/A): 5 of 5 ratios within 5 % of 1"
    assert noise(3, 1.0) == "noise (A/A): 5 of 5 ratios within 5 % of 1; 5 of 5 intervals cover 1"
    # Latencies and CPU time differ; rate and memory do not.
    assert noise(3, 2.0) == "noise (A/A): 2 of 5 ratios within 5 % of 1; 2 of 5 intervals cover 1"


def test_empty_comparison_is_stated():
    assert figures_table(evaluate(a_comparison(), [])) == "no part has a valid result\n"


def test_columns_are_aligned():
    results = [measured(k + 1, engine, scale=1000.0**k) for k, engine in enumerate(ENGINES)]
    lines = figures_table(evaluate(a_comparison(), results)).splitlines()
    start = lines[0].index("baseline")
    assert {line[start - 2 : start] for line in lines if len(line) > start} == {"  "}


def test_sides_show_both_values_and_settings():
    a = [measured(1, "embedded"), measured(2, "baseline")]
    b = [measured(1, "embedded", scale=2.0), measured(2, "baseline")]
    b[1] = b[1].model_copy(
        update={
            "cell": b[1].cell.model_copy(
                update={"condition": b[1].cell.condition.model_copy(update={"setting": EngineSetting()})}
            )
        }
    )
    lines = side_by_side_table(side_by_side((a_comparison(), a), (a_comparison(), b))).splitlines()
    assert lines[0].split() == ["A", "B", "A", "/", "B", "(95", "%", "interval)"]
    first = lines.index("embedded, ptychonn2-sim, 50 frames/s:")
    second = lines.index("baseline, ptychonn2-sim, 50 frames/s (different settings):")
    assert [line.split()[-3:] for line in lines[first:second] if "latency p50" in line] == [["8", "16", "0.50"]]
    assert [line.split()[-3:] for line in lines[second:] if "latency p50" in line] == [["8", "8", "1.00"]]


def test_ratio_has_its_interval():
    assert ratio_text(Ratio(1.234, 1.1, 1.376, 3)) == "1.23 (1.10 to 1.38)"
    assert ratio_text(Ratio(1.234, None, None, 1)) == "1.23"
    assert ratio_text(None) == "-"
