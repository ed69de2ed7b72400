"""Figures of processor time and memory by process, and of the scaling with replicas."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from charon.adapters.bokeh.bars import Segment, draw_bars
from charon.adapters.bokeh.charts import Chart, Curve, draw
from charon.adapters.bokeh.legend import Entry
from charon.adapters.bokeh.style import Axis
from charon.comparison.report.load import engine_key
from charon.comparison.report.names import ENGINES, NEUTRAL, distinct, process_kind, set_ups, tints
from charon.comparison.report.section import Panel, Section
from charon.comparison.report.text import frame_rate

if TYPE_CHECKING:
    from collections.abc import Callable

    from charon.comparison.evaluation import EngineRow, Evaluation
    from charon.comparison.model import CellResult, Engine, ProcessFigures


def processor(evaluation: Evaluation) -> Section:
    """Show the CPU time per frame by process."""
    panels = _panels(evaluation, _cpu_ms, Axis("CPU time per processed frame (ms)"), "ms")
    return Section(
        "cpu",
        "CPU time per frame",
        "User and system time of all processes of an engine after the warm-up, per processed frame; mean of the "
        "repetitions. Replicas of a vertex are added. The detector is not included.",
        _key(evaluation),
        panels,
    )


def memory(evaluation: Evaluation) -> Section:
    """Show the resident memory by process."""
    panels = _panels(evaluation, _mib, Axis("maximum resident memory (MiB)"), "MiB")
    return Section(
        "memory",
        "Memory",
        "Maximum resident memory of each process after the warm-up, mean of the repetitions.",
        _key(evaluation),
        panels,
    )


def scaling(evaluation: Evaluation) -> Section:
    """Show the highest loss-free rate against the number of replicas."""
    panels: list[Panel] = []
    names = set_ups(evaluation.maximum)
    for model in distinct(row.model for row in evaluation.maximum):
        curves: list[Curve] = []
        for engine in evaluation.engines:
            curves += _scaling(evaluation, engine, model)
        counts = tuple(sorted({row.replicas for row in evaluation.maximum if row.model == model}))
        x = Axis("replicas", start=0.5, end=counts[-1] + 0.5, ticks=counts)
        panels.append(Panel(model if len(names.models) > 1 else "", draw(Chart(curves, x, Axis("frames/s", start=0)))))
    return Section(
        "scaling",
        "Highest loss-free rate and scaling with replicas",
        "Found by bisection. The bar ends at the lowest rate at which the engine did not keep up."
        + _contradictions(evaluation),
        engine_key(evaluation) + ([Entry("proportional", NEUTRAL, "dotted")] if len(names.replicas) > 1 else []),
        panels,
    )


def _scaling(evaluation: Evaluation, engine: Engine, model: str) -> list[Curve]:
    rows = [row for row in evaluation.maximum if row.engine == engine and row.model == model]
    points = sorted(
        (row.replicas, row.loss_free_hz, row.lossy_hz or row.loss_free_hz) for row in rows if row.loss_free_hz
    )
    if not points:
        return []
    name = ENGINES[engine]
    x, y, high = ([float(value or 0) for value in column] for column in zip(*points, strict=True))
    curves = [Curve(name.title, name.color, x, y, y, high, marker=8)]
    if len(x) > 1:
        ideal = [y[0] * count / x[0] for count in x]
        curves.insert(0, Curve("", name.color, x, ideal, dash="dotted", width=1.5, alpha=0.7))
    return curves


def _contradictions(evaluation: Evaluation) -> str:
    found = [ENGINES[row.engine].title for row in evaluation.maximum if row.contradictory]
    return f" Cells contradict each other for: {', '.join(distinct(found))}." if found else ""


def _panels(
    evaluation: Evaluation, value: Callable[[CellResult, ProcessFigures], float], axis: Axis, unit: str
) -> list[Panel]:
    colors = _colors(evaluation)
    keys = distinct((row.model, row.replicas) for row in evaluation.load)
    names = set_ups(evaluation.load)
    panels: list[Panel] = []
    for key in keys:
        segments = [
            Segment(frame_rate(row.rate_hz), ENGINES[engine.engine].title, kind, colors[engine.engine][kind], mean)
            for row in sorted(evaluation.load, key=lambda row: row.rate_hz)
            if (row.model, row.replicas) == key
            for engine in row.engines
            for kind, mean in _means(engine, value).items()
        ]
        if segments:
            panels.append(Panel(names.name(*key), draw_bars(segments, axis, unit=unit)))
    return panels


def _means(row: EngineRow, value: Callable[[CellResult, ProcessFigures], float]) -> dict[str, float]:
    sums: defaultdict[str, float] = defaultdict(float)
    for result in row.results:
        for process in result.processes:
            sums[process_kind(process.name)] += value(result, process) / len(row.results)
    return dict(sums)


def _cpu_ms(result: CellResult, process: ProcessFigures) -> float:
    # The share of the process in the CPU time per frame of all processes.
    total_s = sum(other.cpu_s for other in result.processes)
    return (result.cpu_ms_per_frame or 0.0) * process.cpu_s / total_s if total_s else 0.0


def _mib(_result: CellResult, process: ProcessFigures) -> float:
    return process.rss_max_bytes / 2**20


def _colors(evaluation: Evaluation) -> dict[Engine, dict[str, str]]:
    kinds: dict[Engine, list[str]] = {engine: [] for engine in evaluation.engines}
    for row in evaluation.load:
        for engine in row.engines:
            kinds[engine.engine] += [
                process_kind(process.name) for found in engine.results for process in found.processes
            ]
    return {engine: tints(ENGINES[engine].color, names) for engine, names in kinds.items()}


def _key(evaluation: Evaluation) -> list[Entry]:
    return [
        Entry(f"{ENGINES[engine].title}: {kind}", color)
        for engine, colors in _colors(evaluation).items()
        for kind, color in colors.items()
    ]
