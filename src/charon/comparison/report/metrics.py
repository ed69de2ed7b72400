"""Report of two outputs of ``charonctl metrics``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charon.adapters.bokeh.forest import Estimate, draw_forest
from charon.adapters.bokeh.markup import Html, element, join, merge_first, table
from charon.adapters.bokeh.page import render_page
from charon.comparison.report import text
from charon.comparison.report.document import write_page
from charon.comparison.report.names import NEUTRAL, distinct
from charon.comparison.report.section import Panel, Section

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from charon.comparison.metrics_files import MetricRow, MetricsComparison

_COLOR = "#0f7cc0"
_MAX_ROWS = 60
_TITLE = "Two sets of metrics compared"


def write_metrics_report(comparison: MetricsComparison, path: Path) -> None:
    """Write the report of two outputs of ``charonctl metrics``.

    Parameters
    ----------
    comparison
        Means and ratios of all series.
    path
        The file, which is replaced.

    Raises
    ------
    UnavailableError
        If the file cannot be written.
    """
    sections = [_figures(comparison.rows), _table(comparison.rows), _unmatched(comparison)]
    files = element(
        "dl",
        *(
            join([element("dt", name), element("dd", str(file))])
            for name, file in (("A", comparison.a), ("B", comparison.b))
        ),
    )
    body = join([element("header", element("h1", _TITLE), files), *(section.render() for section in sections)])
    figures = {name: figure for section in sections for name, figure in section.figures.items()}
    write_page(render_page(_TITLE, element("main", body), figures), path)


def _figures(rows: Sequence[MetricRow]) -> Section:
    shown = [row for row in rows if row.ratio is not None]
    # The series with the clearest differences; the table has all of them.
    shown = sorted(shown, key=lambda row: not text.is_clear(row.ratio))[:_MAX_ROWS]
    estimates = [
        Estimate(row.query, row.labels or "no labels", row.ratio.value, row.ratio.low, row.ratio.high, _color(row))
        for query in distinct(row.query for row in shown)
        for row in shown
        if row.query == query and row.ratio is not None
    ]
    return Section(
        "ratios",
        "Ratios A / B",
        "Ratio of the means with 95 % confidence intervals from batch means; grey if the interval contains 1. "
        f"At most {_MAX_ROWS} series, those with a difference first.",
        panels=[Panel("", draw_forest(estimates, "ratio A / B"))] if estimates else [],
        wide=True,
    )


def _table(rows: Sequence[MetricRow]) -> Section:
    cells = [
        [row.query, row.labels, text.number(row.a_mean, 4), text.number(row.b_mean, 4), text.ratio(row.ratio)]
        for row in rows
    ]
    header = ["Query", "Series", "Mean A", "Mean B", "Ratio (95 % interval)"]
    return Section("series", "All series", content=table(header, merge_first(cells), numeric=(2, 3, 4)))


def _unmatched(comparison: MetricsComparison) -> Section:
    lines = [
        element("li", f"only in {name}: {series}")
        for name, found in (("A", comparison.only_a), ("B", comparison.only_b))
        for series in found
    ]
    content: Html = element("ul", *lines) if lines else element("p", "Every series is in both.")
    return Section("unmatched", "Series in one file only", content=content)


def _color(row: MetricRow) -> str:
    return _COLOR if text.is_clear(row.ratio) else NEUTRAL
