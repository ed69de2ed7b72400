"""Rates and backlog over time in single cells: recovery after SIGKILL, overload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from charon.adapters.bokeh.charts import Chart, Curve, draw_linked
from charon.adapters.bokeh.legend import Entry
from charon.adapters.bokeh.style import Axis
from charon.comparison.figures import timeline
from charon.comparison.report import text
from charon.comparison.report.load import engine_key
from charon.comparison.report.names import ENGINES, NEUTRAL, set_ups, titled
from charon.comparison.report.section import Panel, Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.models import UIElement
    from numpy.typing import NDArray

    from charon.comparison.evaluation import Evaluation, OverloadRow
    from charon.comparison.model import CellResult
    from charon.comparison.results import ResultsFolder

_BIN_S = 0.25


def recovery(evaluation: Evaluation, folder: ResultsFolder) -> Section:
    """Show rates and backlog of the cells in which an inference worker was killed."""
    return Section(
        "recovery",
        "Recovery after SIGKILL of an inference worker",
        "Rates in bins of 0.25 s; time 0 is the kill; one line per repetition. The backlog is the number of published "
        "frames whose result follows later.",
        _key(evaluation),
        _panels(evaluation.recovery, folder, "after the kill"),
    )


def overload(evaluation: Evaluation, folder: ResultsFolder) -> Section:
    """Show rates and backlog of the cells at 1.5 times the highest loss-free rate."""
    return Section(
        "overload",
        "Overload",
        "At 1.5 times the highest loss-free rate of each engine, in bins of 0.25 s.",
        _key(evaluation),
        _panels(evaluation.overload, folder, "after the first frame"),
    )


def _key(evaluation: Evaluation) -> list[Entry]:
    return [Entry("offered", NEUTRAL, "solid"), *engine_key(evaluation)]


def _panels(rows: Sequence[OverloadRow], folder: ResultsFolder, origin: str) -> list[Panel]:
    names = set_ups(rows)
    panels: list[Panel] = []
    for row in rows:
        title = titled(ENGINES[row.engine].title, text.frame_rate(row.rate_hz), names.name(row.model, row.replicas))
        if (figure := _draw(row, folder, origin)) is not None:
            panels.append(Panel(title, figure, f"{text.loss(row.counts, 'frames')} without a result"))
    return panels


def _draw(row: OverloadRow, folder: ResultsFolder, origin: str) -> UIElement | None:
    rates: list[Curve] = []
    backlogs: list[Curve] = []
    for result in row.results:
        found = _curves(result, folder, is_first=not rates)
        if found is not None:
            # All repetitions have the same offered rate.
            rates += found[1:2] if rates else found[:2]
            backlogs.append(found[2])
    if not rates:
        return None
    killed = any(result.recovery is not None for result in row.results)
    marks = [[(0.0, label)] if killed else [] for label in ("SIGKILL", "")]
    x = Axis(f"time {origin} (s)")
    top = max(value for curve in backlogs for value in curve.y)
    return draw_linked(
        [
            Chart(rates, x, Axis("frames/s", start=0), 190, marks=marks[0]),
            Chart(
                backlogs,
                x,
                Axis("backlog (frames)", start=0, end=None if top >= 10 else 10),
                150,
                marks=[(0.0, "")] if killed else [],
            ),
        ]
    )


def _curves(result: CellResult, folder: ResultsFolder, *, is_first: bool) -> tuple[Curve, Curve, Curve] | None:
    samples = folder.samples(result)
    if samples is None or not len(samples):
        return None
    course = timeline(samples, _BIN_S)
    start_s = 0.0
    if result.recovery is not None:
        start_s = (int(samples.published_ns.min()) - result.recovery.killed_ns) / 1e9
    end_s = start_s + course.t_s + _BIN_S / 2
    name = ENGINES[result.cell.condition.engine]
    label = f"{name.title}, repetition {result.cell.repetition + 1}"
    return (
        _rate("offered", NEUTRAL, end_s, course.offered_hz),
        _rate(label, name.color, end_s, course.processed_hz),
        Curve(label, name.color, end_s.tolist(), course.backlog.tolist(), alpha=0.8, width=1.5, fill=is_first),
    )


def _rate(label: str, color: str, end_s: NDArray[np.float64], rate_hz: NDArray[np.float64]) -> Curve:
    # The last bin is shorter than the others: its rate would be too low. A step begins at the start of its bin.
    bins = int(np.flatnonzero(rate_hz).max(initial=0))
    edges = end_s[: bins + 1] - _BIN_S
    rates = np.append(rate_hz[:bins], rate_hz[max(bins - 1, 0)])
    return Curve(label, color, edges.tolist(), rates.tolist(), step=True, alpha=0.8, width=1.5)
