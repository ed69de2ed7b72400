"""Figures of the part load: throughput, loss, latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from charon.adapters.bokeh.charts import Chart, Curve, draw
from charon.adapters.bokeh.legend import Entry
from charon.adapters.bokeh.style import Axis, log_axis
from charon.comparison.figures import latencies_ms
from charon.comparison.report.names import ENGINES, NEUTRAL, distinct, set_ups, titled
from charon.comparison.report.section import Panel, Section
from charon.comparison.report.text import frame_rate
from charon.comparison.statistics import ecdf

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from charon.adapters.bokeh.charts import Dash
    from charon.comparison.evaluation import EngineRow, Evaluation, LoadRow, OverloadRow
    from charon.comparison.model import CellResult, Engine
    from charon.comparison.results import ResultsFolder

_MAX_ECDF_POINTS = 400
_STAGES: dict[str, Dash] = {"result": "solid", "stitched": "dashed"}
_QUANTILES: dict[str, Dash] = {"p50": "solid", "p90": "dashed", "p99": "dotted"}
_OFFERED = "offered rate (frames/s)"


def throughput(evaluation: Evaluation) -> Section:
    """Show the rate of results against the offered rate."""
    panels: list[Panel] = []
    for title, rows, overload in _by_set_up(evaluation):
        curves = [_throughput(engine, found, _size(evaluation, engine)) for engine, found in _by_engine(rows)]
        curves += [
            _overload(row, [(result.offered_hz, result.processed_hz) for result in row.results]) for row in overload
        ]
        chart = Chart(curves, Axis(_OFFERED, start=0), Axis("processed (frames/s)", start=0), diagonal=True)
        panels.append(Panel(title, draw(chart)))
    return Section(
        "throughput",
        "Throughput against offered rate",
        "Median of the repetitions; the bars span all of them. On the dotted line, both rates are equal.",
        [*engine_key(evaluation), *_overload_key(evaluation), Entry("processed = offered", NEUTRAL, "dotted")],
        panels,
    )


def losses(evaluation: Evaluation) -> Section:
    """Show the frames without a result against the offered rate."""
    panels: list[Panel] = []
    for title, rows, overload in _by_set_up(evaluation):
        curves = [_losses(engine, found, _size(evaluation, engine)) for engine, found in _by_engine(rows)]
        curves += [_overload(row, [(result.offered_hz, _loss(result)) for result in row.results]) for row in overload]
        top = max((value for curve in curves for value in curve.y), default=0)
        # A margin below 0 shows the markers of engines that lost nothing.
        axis = Axis("without a result (% of published)", start=-0.04 * (top or 1), end=1.06 * (top or 1))
        panels.append(Panel(title, draw(Chart(curves, Axis(_OFFERED, start=0), axis, height=240))))
    return Section(
        "loss",
        "Loss against offered rate",
        "Published frames without a result (missed, lost or rejected), over all repetitions, counted by id.",
        [*engine_key(evaluation), *_overload_key(evaluation)],
        panels,
    )


def quantiles(evaluation: Evaluation) -> Section:
    """Show quantiles of the latency against the offered rate."""
    panels: list[Panel] = []
    for title, rows, _ in _by_set_up(evaluation):
        for stage in _stages(rows):
            curves = [
                curve
                for engine, found in _by_engine(rows)
                for quantile, dash in _QUANTILES.items()
                if (curve := _quantile(engine, found, f"{quantile}_{stage}_ms", f"{quantile} to {stage}", dash))
            ]
            axis = log_axis("latency (ms)", [value for curve in curves for value in curve.y])
            chart = Chart(curves, Axis(_OFFERED, start=0), axis)
            panels.append(Panel(titled(f"Latency to {stage}", title), draw(chart)))
    return Section(
        "quantiles",
        "Latency quantiles against offered rate",
        "Median of the repetitions, logarithmic scale. Above its highest loss-free rate, an engine has a backlog.",
        [*engine_key(evaluation), *(Entry(name, "currentColor", dash) for name, dash in _QUANTILES.items())],
        panels,
    )


def distributions(evaluation: Evaluation, folder: ResultsFolder) -> Section:
    """Show the distribution of the latency at each rate."""
    found = [
        (row, titled(frame_rate(row.rate_hz), title), curves)
        for title, rows, _ in _by_set_up(evaluation)
        for row in rows
        if (curves := _distributions(row, folder))
    ]
    # Panels without a backlog have the same axis, so that they can be compared.
    common = [value for row, _, curves in found if _kept_up(row) for value in _ends(curves)]
    panels = [
        Panel(
            title,
            draw(
                Chart(
                    curves,
                    log_axis("latency (ms)", common if _kept_up(row) else [*common, *_ends(curves)]),
                    Axis("share of frames", start=0, end=1.02, ticks=(0, 0.25, 0.5, 0.75, 1)),
                    240,
                )
            ),
        )
        for row, title, curves in found
    ]
    return Section(
        "latency",
        "Latency distributions",
        "Share of the frames whose latency is at most the value on the axis. All repetitions, without the warm-up; the "
        "latency starts at the detector's time stamp.",
        [
            *engine_key(evaluation),
            *(Entry(f"to {stage}", "currentColor", _STAGES[stage]) for stage in _stages(evaluation.load)),
        ],
        panels,
    )


def engine_key(evaluation: Evaluation) -> list[Entry]:
    """Return the entries of the engines."""
    return [Entry(ENGINES[engine].title, ENGINES[engine].color) for engine in evaluation.engines]


def _overload_key(evaluation: Evaluation) -> list[Entry]:
    return [Entry("at 1.5 × its own maximum", "currentColor", "diamond")] if evaluation.overload else []  # noqa: RUF001 - a multiplication sign


def _by_set_up(evaluation: Evaluation) -> list[tuple[str, list[LoadRow], list[OverloadRow]]]:
    every = (*evaluation.load, *evaluation.overload)
    names = set_ups(every)
    keys = distinct((row.model, row.replicas) for row in every)
    return [
        (
            names.name(*key),
            [row for row in evaluation.load if (row.model, row.replicas) == key],
            [row for row in evaluation.overload if (row.model, row.replicas) == key],
        )
        for key in keys
    ]


def _by_engine(rows: Iterable[LoadRow]) -> list[tuple[Engine, list[EngineRow]]]:
    found: dict[Engine, list[EngineRow]] = {}
    for row in sorted(rows, key=lambda row: row.rate_hz):
        for engine in row.engines:
            found.setdefault(engine.engine, []).append(engine)
    return list(found.items())


def _stages(rows: Sequence[LoadRow]) -> list[str]:
    values = [engine.values for row in rows for engine in row.engines]
    return [stage for stage in _STAGES if any(f"p50_{stage}_ms" in found for found in values)]


def _size(evaluation: Evaluation, engine: Engine) -> float:
    # The curves of engines that process every frame coincide: the first is drawn wider, below the others.
    return 1.6 if engine == evaluation.reference else 0.8


def _throughput(engine: Engine, rows: Sequence[EngineRow], size: float) -> Curve:
    measured = [row for row in rows if row.offered_hz is not None and "processed_hz" in row.values]
    spread = [row.spread["processed_hz"] for row in measured]
    return Curve(
        ENGINES[engine].title,
        ENGINES[engine].color,
        [row.offered_hz or 0.0 for row in measured],
        [row.values["processed_hz"] for row in measured],
        [low for low, _ in spread],
        [high for _, high in spread],
        marker=7 * size,
        width=2 * size,
    )


def _losses(engine: Engine, rows: Sequence[EngineRow], size: float) -> Curve:
    measured = [row for row in rows if row.offered_hz is not None and row.counts.published]
    shares = [100 * row.counts.without_result / row.counts.published for row in measured]
    name = ENGINES[engine]
    rates = [row.offered_hz or 0.0 for row in measured]
    return Curve(name.title, name.color, rates, shares, marker=7 * size, width=2 * size)


def _loss(result: CellResult) -> float | None:
    counts = result.counts
    return 100 * counts.without_result / counts.published if counts and counts.published else None


def _overload(row: OverloadRow, points: Iterable[tuple[float | None, float | None]]) -> Curve:
    measured = [(x, y) for x, y in points if x is not None and y is not None]
    name = ENGINES[row.engine]
    return Curve(
        f"{name.title}, overload",
        name.color,
        [x for x, _ in measured],
        [y for _, y in measured],
        width=0,
        marker=10,
        hollow=True,
    )


def _quantile(engine: Engine, rows: Sequence[EngineRow], key: str, label: str, dash: Dash) -> Curve | None:
    points = [(row.offered_hz, row.values[key]) for row in rows if row.offered_hz is not None and key in row.values]
    if not points:
        return None
    name = ENGINES[engine]
    x, y = zip(*points, strict=True)
    return Curve(f"{name.title}, {label}", name.color, x, y, dash=dash, marker=7 if dash == "solid" else 0)


def _kept_up(row: LoadRow) -> bool:
    return all(engine.kept_up for engine in row.engines)


def _ends(curves: Iterable[Curve]) -> list[float]:
    return [curve.x[index] for curve in curves for index in (0, -1)]


def _distributions(row: LoadRow, folder: ResultsFolder) -> list[Curve]:
    curves = (_distribution(engine, stage, dash, folder) for engine in row.engines for stage, dash in _STAGES.items())
    return [curve for curve in curves if curve]


def _distribution(row: EngineRow, stage: str, dash: Dash, folder: ResultsFolder) -> Curve | None:
    latencies: list[NDArray[np.float64]] = []
    for result in row.results:
        if (samples := folder.samples(result)) is not None:
            from_ns = int(samples.published_ns.min(initial=2**62)) + round(result.cell.condition.warm_up_s * 1e9)
            latencies.append(latencies_ms(samples, stage, from_ns))
    pooled = np.concatenate(latencies) if latencies else np.empty(0)
    pooled = pooled[pooled > 0]  # the axis is logarithmic
    if not len(pooled):
        return None
    x, y = ecdf(pooled, _MAX_ECDF_POINTS)
    name = ENGINES[row.engine]
    return Curve(f"{name.title}, to {stage}", name.color, x.tolist(), y.tolist(), dash=dash)
