"""Figures: what they contain, and their limits."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from bokeh.models import BoxAnnotation, ColumnDataSource, HoverTool, Label, Scatter, Slope, Span
from hypothesis import given
from hypothesis import strategies as st

from charon.adapters.bokeh.bars import Segment, draw_bars
from charon.adapters.bokeh.charts import Chart, Curve, draw, draw_linked
from charon.adapters.bokeh.forest import Estimate, draw_forest
from charon.adapters.bokeh.style import Axis, log_axis

X, Y = Axis("offered (frames/s)", start=0), Axis("processed (frames/s)", start=0)


def drawn(*curves, **options) -> Any:
    return draw(Chart(curves, X, Y, **options))


def only(figure, **selector) -> Any:
    return figure.select_one(selector)


def data(figure):
    return [source.data for source in figure.select({"type": ColumnDataSource})]


def test_a_chart_has_its_points_and_units():
    figure = drawn(Curve("a", "#0f7cc0", [1, 2], [3, 4], marker=8))
    (columns,) = data(figure)
    assert columns["x"].tolist() == [1, 2]
    assert columns["y"].tolist() == [3, 4]
    assert columns["y"].dtype == np.float32
    assert (figure.xaxis.axis_label, figure.yaxis.axis_label) == (X.label, Y.label)


def test_the_pointer_shows_name_and_values():
    figure = drawn(Curve("pipeline", "#0f7cc0", [1], [3]))
    hover = only(figure, type=HoverTool)
    assert hover.tooltips[0] == ("", "$name")
    assert [label for label, _ in hover.tooltips[1:]] == [X.label, Y.label]
    assert [renderer.name for renderer in hover.renderers] == ["pipeline"]


def test_names_from_files_are_not_templates():
    figure = drawn(Curve("@x{safe} $$tex$$", "#0f7cc0", [1], [3]))
    assert only(figure, type=HoverTool).tooltips[0] == ("", "$name")


def test_guides_show_no_values():
    assert only(drawn(Curve("", "#0f7cc0", [1], [3], dash="dotted")), type=HoverTool) is None


def test_error_bars_are_within_the_limits():
    figure = drawn(Curve("a", "#0f7cc0", [1, 2], [3, 4], low=[2, 3], high=[3, 9]))
    assert figure.y_range.end > 9


def test_guides_and_marks_are_drawn():
    figure = drawn(Curve("a", "#0f7cc0", [1], [3]), diagonal=True, marks=[(1.5, "SIGKILL")])
    assert only(figure, type=Slope).gradient == 1
    assert only(figure, type=Span).location == 1.5
    assert only(figure, type=Label).text == "SIGKILL"


def test_hollow_markers_have_no_fill():
    figure = drawn(Curve("a", "#0f7cc0", [1], [3], marker=8, hollow=True, width=0))
    glyph = figure.select({"type": Scatter})[0]
    assert (glyph.fill_color, glyph.marker) == (None, "diamond")


def test_linked_charts_share_their_x_axis():
    chart = Chart([Curve("a", "#0f7cc0", [1], [3], step=True, fill=True)], X, Y)
    column: Any = draw_linked([chart, chart])
    first, second = column.children
    assert first.x_range is second.x_range
    assert (first.xaxis.axis_label, second.xaxis.axis_label) == (None, X.label)


def shown_columns(figure):
    """Return the columns that the pointer shows, and those that exist, of each renderer with values."""
    return [
        (set(re.findall(r"@(\w+)", str(hover.tooltips))), set(renderer.data_source.column_names))
        for hover in figure.select({"type": HoverTool})
        for renderer in hover.renderers
    ]


@pytest.mark.parametrize(
    "figure",
    [
        drawn(Curve("a", "#0f7cc0", [1, 2], [3, 4], low=[2, 3], high=[3, 9], marker=5)),
        draw_bars([Segment("50 frames/s", "pipeline", "source", "#111111", 1.5)], Axis("CPU (ms)"), unit="ms"),
        draw_forest([Estimate("latency", "50 frames/s", 1.7, 1.6, 1.9, "#d55e00")], "ratio A / B"),
    ],
    ids=["chart", "bars", "forest"],
)
def test_the_pointer_shows_columns_that_exist(figure):
    found = shown_columns(figure)
    assert found
    assert all(shown and shown <= existing for shown, existing in found)


def test_stacked_bars_add_up():
    segments = [
        Segment("50 frames/s", "pipeline", "source", "#111111", 1.5),
        Segment("50 frames/s", "baseline", "mirror", "#222222", 0.5),
        Segment("50 frames/s", "pipeline", "cat", "#333333", 2.0),
    ]
    figure: Any = draw_bars(segments, Axis("CPU (ms)"), unit="ms")
    columns = data(figure)[0]
    assert columns["left"] == [0, 0, 1.5]
    assert columns["right"] == [1.5, 0.5, 3.5]
    assert columns["row"][0] == columns["row"][2] != columns["row"][1]
    assert list(figure.yaxis.major_label_overrides.values()) == ["pipeline", "baseline"]
    assert [label.text for label in figure.select({"type": Label})] == ["50 frames/s"]


def test_a_forest_shows_intervals_around_1():
    estimates = [
        Estimate("latency", "50 frames/s", 1.7, 1.6, 1.9, "#d55e00"),
        Estimate("latency", "100 frames/s", 0.9, None, None, "#8b95a1"),
    ]
    figure: Any = draw_forest(estimates, "ratio A / B", band=0.05)
    columns = data(figure)[0]
    assert columns["low"] == [1.6, 0.9]
    assert columns["high"] == [1.9, 0.9]
    assert columns["interval"] == ["1.600 to 1.900", "requires two repetitions"]
    assert figure.x_range.start < 0.9
    assert figure.x_range.end > 1.9
    band = only(figure, type=BoxAnnotation, left=0.95)
    assert band.right == 1.05


def test_a_wide_interval_does_not_compress_others():
    estimates = [
        Estimate("", "p99", 1.1, 1e-6, 1e6, "#d55e00"),
        Estimate("", "p50", 1.2, 1.1, 1.3, "#d55e00"),
    ]
    figure: Any = draw_forest(estimates, "ratio A / B")
    assert 0.5 < figure.x_range.start < 1
    assert 1.2 < figure.x_range.end < 2


def test_an_interval_without_limits_ends_at_the_edge():
    figure: Any = draw_forest([Estimate("", "p99", 1.1, 0.0, math.inf, "#d55e00")], "ratio A / B")
    columns = data(figure)[0]
    assert (columns["low"], columns["high"]) == ([figure.x_range.start], [figure.x_range.end])
    assert columns["interval"] == ["0.000 to inf"]


@given(st.lists(st.floats(1e-3, 1e6), min_size=1), st.floats(1.1, 100))
def test_a_log_axis_contains_its_values(values, span):
    axis = log_axis("latency (ms)", values, span=span)
    assert axis.start is not None
    assert axis.end is not None
    assert axis.start < min(values) <= max(values) < axis.end
    assert axis.end / axis.start >= span * 0.999


@pytest.mark.parametrize(("values", "ticks"), [([2, 30], (2, 5, 10, 20)), ([1, 900], (1, 10, 100, 1000))])
def test_ticks_of_a_log_axis_are_round(values, ticks):
    axis = log_axis("latency (ms)", values)
    assert axis.ticks == tuple(tick for tick in ticks if tick <= (axis.end or 0))


def test_a_log_axis_ignores_what_it_cannot_show():
    axis = log_axis("latency (ms)", [0.0, -1.0])
    assert axis.start is not None
    assert axis.start > 0


def test_labels_are_short_and_not_tex():
    figure: Any = draw_forest([Estimate("$$x$$", "y" * 99, 1.0, None, None, "#8b95a1")], "ratio A / B")
    (label,) = figure.yaxis.major_label_overrides.values()
    assert label == "y" * 39 + "…"
    assert "$" not in only(figure, type=Label).text
