"""Charts of curves: lines with spread, steps, guides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, Label, Slope, Span, Whisker

from charon.adapters.bokeh.style import FONT, GUIDE, INK, Axis, add_hover, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.models import UIElement
    from bokeh.plotting import figure
    from numpy.typing import NDArray

Dash = Literal["solid", "dashed", "dotted"]


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve of a chart.

    Parameters
    ----------
    label
        What it shows; the pointer displays it. Empty for a guide without values.
    color
        Colour, such as ``#0072b2``.
    x, y
        Coordinates, shape (points,).
    low, high
        Ends of the error bars, shape (points,); None for a curve without them.
    dash, width, alpha
        Style of the line; a width of 0 draws only markers.
    marker
        Diameter of the markers; 0 for none.
    hollow
        Whether markers are hollow.
    step
        Whether each value applies until the next.
    fill
        Whether the area below is filled.
    """

    label: str
    color: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    dash: Dash = "solid"
    width: float = 2
    alpha: float = 1
    marker: float = 0
    hollow: bool = False
    step: bool = False
    fill: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """Content of a chart.

    Parameters
    ----------
    curves
        The curves.
    x, y
        The axes.
    height
        Height in CSS pixels.
    diagonal
        Whether a line shows y = x.
    marks
        Positions on the x axis with a vertical line and its label.
    """

    curves: Sequence[Curve]
    x: Axis
    y: Axis
    height: int = 280
    diagonal: bool = False
    marks: Sequence[tuple[float, str]] = ()


def draw(chart: Chart) -> figure:
    """Draw a chart."""
    plot = new_figure(chart.x, _include_bars(chart), height=chart.height)
    if chart.diagonal:
        diagonal = Slope(gradient=1, y_intercept=0, line_color=GUIDE, line_dash="dotted", line_width=1.5)
        diagonal.level = "underlay"
        plot.add_layout(diagonal)
    for position, text in chart.marks:
        _mark(plot, position, text)
    for curve in chart.curves:
        _draw_curve(plot, curve, chart)
    return plot


def draw_linked(charts: Sequence[Chart]) -> UIElement:
    """Draw charts below each other; they share the x axis, and only the last one labels it."""
    plots = [draw(chart) for chart in charts]
    for plot in plots:
        plot.x_range = plots[0].x_range
        plot.min_border_left = 64
    for plot in plots[:-1]:
        plot.xaxis.axis_label = None
    return column(*plots, sizing_mode="stretch_width")


def _include_bars(chart: Chart) -> Axis:
    # Bokeh computes limits from the points only.
    bars = [value for curve in chart.curves for value in curve.high or ()]
    if chart.y.log or chart.y.end is not None or not bars:
        return chart.y
    return replace(chart.y, end=1.06 * max(*bars, *(value for curve in chart.curves for value in curve.y)))


def _draw_curve(plot: figure, curve: Curve, chart: Chart) -> None:
    source = ColumnDataSource(_columns(curve))
    glyphs: list[Any] = []
    style: dict[str, Any] = {"name": curve.label or None, "color": curve.color, "alpha": curve.alpha}
    if curve.fill:
        plot.varea(x="x", y1=0, y2="y", source=source, fill_color=curve.color, fill_alpha=curve.alpha * 0.25)
    if curve.width and curve.step:
        glyphs.append(plot.step("x", "y", source=source, line_width=curve.width, mode="after", **style))
    elif curve.width:
        glyphs.append(plot.line("x", "y", source=source, line_width=curve.width, line_dash=curve.dash, **style))
    if curve.low is not None:
        bars = Whisker(base="x", lower="low", upper="high", source=source, upper_head=None, lower_head=None)
        bars.line_color, bars.line_width = curve.color, 1.5
        plot.add_layout(bars)
    if curve.marker:
        fill: dict[str, Any] = {"fill_color": None} if curve.hollow else {}
        glyphs.append(
            plot.scatter(
                "x",
                "y",
                source=source,
                size=curve.marker,
                marker="diamond" if curve.hollow else "circle",
                **style | fill,
            )
        )
    if glyphs and curve.label:
        x, y = chart.x.label, chart.y.label
        add_hover(plot, glyphs[-1:], [("", "$name"), (x, "@x{0,0.[00]}"), (y, "@y{0,0.[000]}")])


def _columns(curve: Curve) -> dict[str, NDArray[np.float32]]:
    # Half the size of float64 in the page, and more digits than a screen can show.
    columns = {"x": curve.x, "y": curve.y}
    if curve.low is not None and curve.high is not None:
        columns |= {"low": curve.low, "high": curve.high}
    return {name: np.asarray(values, np.float32) for name, values in columns.items()}


def _mark(plot: figure, position: float, text: str) -> None:
    plot.add_layout(Span(location=position, dimension="height", line_color=INK, line_dash="dashed", tags=["ink"]))
    plot.add_layout(
        Label(
            x=position,
            y=4,
            y_units="screen",
            x_offset=5,
            text=text,
            text_font=FONT,
            text_font_size="11px",
            text_color=INK,
            tags=["ink"],
        )
    )
