"""Figures of ratios with their confidence intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from charon.adapters.bokeh.forest import Estimate, draw_forest
from charon.adapters.bokeh.legend import Entry
from charon.adapters.bokeh.markup import Html, merge_first, table
from charon.comparison.report import text
from charon.comparison.report.names import ENGINES, FIGURE_LABELS, HIGHER_IS_BETTER, NEUTRAL, distinct, set_ups, titled
from charon.comparison.report.section import Panel, Section

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from charon.comparison.evaluation import Evaluation, LoadRow, NoiseRow, SideBySide, SideRow
    from charon.comparison.model import Engine
    from charon.comparison.statistics import Ratio

_NOISE_BAND = 0.05
_KEYS = (
    "processed_hz",
    "p50_result_ms",
    "p99_result_ms",
    "p50_stitched_ms",
    "p99_stitched_ms",
    "cpu_ms_per_frame",
    "rss_max_bytes",
)


def engines(evaluation: Evaluation) -> Section:
    """Show the ratios of the reference engine to the others at equal load."""
    reference = ENGINES[evaluation.reference]
    panels = [
        Panel(
            titled(f"{reference.title} / {ENGINES[other].title}", title),
            draw_forest(estimates, f"ratio {reference.title} / {ENGINES[other].title}"),
        )
        for other in evaluation.engines
        if other != evaluation.reference
        for title, rows in _by_set_up(evaluation.load)
        if (estimates := _estimates(evaluation, rows, other))
    ]
    return Section(
        "ratios",
        "Ratios at equal load",
        "Geometric mean over pairs of neighbouring cells, with 95 % confidence intervals. The colour is that of the "
        "engine with the better value; grey if the interval contains 1, or with fewer than two repetitions. Rates at "
        "which an engine did not keep up are omitted if there are others: latency then depends on the duration of the "
        "cell.",
        [
            *(
                Entry(f"{ENGINES[engine].title} is better", ENGINES[engine].color, "circle")
                for engine in evaluation.engines
            ),
            Entry("not significant", NEUTRAL, "circle"),
        ],
        panels,
    )


def noise(evaluation: Evaluation) -> Section:
    """Show the ratios of an engine to itself."""
    shown = [row for row in evaluation.noise if row.key in _KEYS]
    names = set_ups(shown)
    panels: list[Panel] = []
    groups: list[tuple[Engine, str, int]] = distinct((row.engine, row.model, row.replicas) for row in shown)
    for engine, model, replicas in groups:
        rows = [row for row in shown if (row.engine, row.model, row.replicas) == (engine, model, replicas)]
        title = titled(ENGINES[engine].title, text.frame_rate(rows[0].rate_hz), names.name(model, replicas))
        panels.append(Panel(title, draw_forest(_noise(rows), "ratio A / B", band=_NOISE_BAND)))
    return Section(
        "noise",
        "Noise of the measurement (A/A)",
        f"The same engine on both sides. {noise_summary(evaluation)} A difference between engines that is smaller than "
        "these is not significant.",
        (),
        panels,
    )


def noise_summary(evaluation: Evaluation) -> str:
    """Return how many ratios of an engine to itself are near 1."""
    shown = [row for row in evaluation.noise if row.key in _KEYS]
    within = sum(row.within_5_percent for row in shown)
    covered = sum(row.covers_1 for row in shown)
    return f"A/A: {within} of {len(shown)} ratios are within 5 % of 1, and {covered} of {len(shown)} intervals cover 1."


def sides_table(comparison: SideBySide) -> Html:
    """Return how often A and B have the better figure, by engine and figure."""
    rows: list[list[str]] = []
    engines: list[Engine] = distinct(row.condition.engine for row in comparison.rows)
    for engine in engines:
        for key in (*_KEYS, "loss_free_hz"):
            found = [row.ratio for row in comparison.rows if (row.condition.engine, row.key) == (engine, key)]
            clear = [(value.value > 1) == (key in HIGHER_IS_BETTER) for value in found if text.is_clear(value)]
            counts = (sum(clear), len(clear) - sum(clear), len(found) - len(clear))
            if found:
                mean = math.exp(sum(math.log(value.value) for value in found) / len(found))
                rows.append([ENGINES[engine].title, FIGURE_LABELS[key], f"{mean:.2f}", *map(str, counts)])
    header = ["Engine", "Figure", "Mean ratio A / B", "A is better", "B is better", "Not significant"]
    return table(header, merge_first(rows), numeric=(2, 3, 4, 5))


def sides(comparison: SideBySide) -> Section:
    """Show the ratios of two results folders."""
    conditions = [row.condition for row in comparison.rows]
    names = set_ups(conditions)
    engines: list[Engine] = distinct(condition.engine for condition in conditions)
    panels: list[Panel] = []
    groups: list[tuple[Engine, str, int]] = distinct(
        (found.engine, found.model, found.replicas) for found in conditions
    )
    for engine, model, replicas in groups:
        rows = [
            row
            for row in comparison.rows
            if (row.condition.engine, row.condition.model, row.condition.replicas) == (engine, model, replicas)
        ]
        if estimates := _sides(rows):
            title = titled(ENGINES[engine].title, names.name(model, replicas))
            panels.append(Panel(title, draw_forest(estimates, "ratio A / B")))
    return Section(
        "sides",
        "Ratios A / B per condition",
        "Ratio of the geometric means of the repetitions with 95 % confidence intervals (Welch); grey if the interval "
        "contains 1.",
        [Entry(ENGINES[engine].title, ENGINES[engine].color, "circle") for engine in engines],
        panels,
    )


def better(evaluation: Evaluation, key: str, other: Engine, value: Ratio | None) -> Engine | None:
    """Return the engine with the better figure; None if the confidence interval contains 1 or is absent."""
    if value is None or not text.is_clear(value):
        return None
    return evaluation.reference if (value.value > 1) == (key in HIGHER_IS_BETTER) else other


def _estimates(evaluation: Evaluation, rows: Sequence[LoadRow], other: Engine) -> list[Estimate]:
    sustained = [row for row in rows if all(engine.kept_up for engine in row.engines)] or rows
    estimates: list[Estimate] = []
    for key in _KEYS:
        for row in sorted(sustained, key=lambda row: row.rate_hz):
            value = row.ratios.get(other, {}).get(key)
            if value is not None:
                best = better(evaluation, key, other, value)
                estimates.append(_estimate(key, row.rate_hz, value, ENGINES[best].color if best else NEUTRAL))
    return estimates


def _noise(rows: Iterable[NoiseRow]) -> list[Estimate]:
    return [
        Estimate("", FIGURE_LABELS[row.key], row.ratio.value, row.ratio.low, row.ratio.high, ENGINES[row.engine].color)
        for key in _KEYS
        for row in rows
        if row.key == key
    ]


def _sides(rows: Sequence[SideRow]) -> list[Estimate]:
    return [
        _estimate(
            key,
            row.condition.rate_hz,
            row.ratio,
            ENGINES[row.condition.engine].color if text.is_clear(row.ratio) else NEUTRAL,
        )
        for key in (*_KEYS, "loss_free_hz")
        for row in rows
        if row.key == key
    ]


def _estimate(key: str, rate_hz: float, value: Ratio, color: str) -> Estimate:
    label = "by bisection" if key == "loss_free_hz" else text.frame_rate(rate_hz)
    return Estimate(FIGURE_LABELS[key], label, value.value, value.low, value.high, color)


def _by_set_up(rows: Sequence[LoadRow]) -> list[tuple[str, list[LoadRow]]]:
    names = set_ups(rows)
    keys = distinct((row.model, row.replicas) for row in rows)
    return [(names.name(*key), [row for row in rows if (row.model, row.replicas) == key]) for key in keys]
