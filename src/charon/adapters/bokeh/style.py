"""Style of all figures: fonts, colours of text and grid, sizes, tools."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bokeh.models import HoverTool, Label, NumeralTickFormatter, PrintfTickFormatter, Range1d
from bokeh.plotting import figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
INK = "#5b6470"
"""Text and guides; page.js replaces it in the dark scheme."""
PAPER = "#ffffff"
"""Background of text that covers lines; page.js replaces it in the dark scheme."""
GUIDE = "#8b95a1"
"""Lines of reference, such as y = x; legible in both schemes."""

Row = tuple[str, str]
"""Group and label of a row."""

_TOOLS = "pan,box_zoom,wheel_zoom,reset,save"


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis.

    Parameters
    ----------
    label
        Label with the unit.
    log
        Whether the scale is logarithmic.
    start, end
        Limits; None selects them from the data.
    ticks
        Positions of the ticks; empty selects them.
    """

    label: str
    log: bool = False
    start: float | None = None
    end: float | None = None
    ticks: tuple[float, ...] = ()


def log_axis(label: str, values: Iterable[float], *, span: float = 6, end: float | None = None) -> Axis:
    """Return a logarithmic axis with round ticks, or with decades only if there are many.

    Parameters
    ----------
    label
        Label with the unit.
    values
        Values that it shows; those that are not positive are ignored.
    span
        Smallest ratio of the limits.
    end
        A value that the axis must include; None for none.
    """
    shown = [value for value in (*values, end or 0.0) if value > 0] or [1.0]
    low, high = min(shown) / 1.15, max(shown) * 1.15
    wider = max(1.0, math.sqrt(span * low / high))
    return _log_axis(label, low / wider, high * wider)


def _log_axis(label: str, low: float, high: float) -> Axis:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    span = math.log10(high / low)
    mantissas = (1, 2, 3, 4, 5, 7) if span < 1 else (1, 2, 5) if span < 2.2 else (1,)
    ticks = tuple(
        tick for decade in decades for mantissa in mantissas if low <= (tick := mantissa * 10.0**decade) <= high
    )
    return Axis(label, log=True, start=low, end=high, ticks=ticks)


def new_figure(x: Axis, y: Axis, *, height: int) -> figure:
    """Return an empty figure that is as wide as its container.

    Parameters
    ----------
    x, y
        The axes.
    height
        Height in CSS pixels.
    """
    plot = _figure(height, x=x, log_y=y.log)
    _set_axis(plot, "y", y)
    _style(plot)
    return plot


def new_row_figure(axis: Axis, rows: Sequence[Row]) -> tuple[figure, dict[Row, float]]:
    """Return an empty figure with labelled rows, and the position of each row on its y axis.

    Parameters
    ----------
    axis
        Axis of the values.
    rows
        (group, label) of each row, from the top; rows of a group are neighbours. A group without a name has no heading.
    """
    positions, headings, bottom = _positions(rows)
    plot = _figure(round(60 + 20 * bottom), x=axis, y_range=Range1d(start=-bottom - 0.3, end=0))
    _style(plot)
    plot.yaxis.ticker = list(positions.values())
    plot.yaxis.major_label_overrides = {position: plain(label, 40) for (_, label), position in positions.items()}
    plot.yaxis.major_tick_line_color = None
    plot.ygrid.visible = False
    for heading, position in headings.items():
        plot.add_layout(
            Label(
                x=4,
                x_units="screen",
                y=position,
                text=plain(heading, 80),
                text_baseline="middle",
                text_font=FONT,
                text_font_size="11px",
                text_font_style="bold",
                text_color=INK,
                background_fill_color=PAPER,
                tags=["ink", "paper"],
            )
        )
    return plot, positions


def _positions(rows: Sequence[Row]) -> tuple[dict[Row, float], dict[str, float], float]:
    positions: dict[Row, float] = {}
    headings: dict[str, float] = {}
    bottom = 0.0
    for group, label in rows:
        if group and group not in headings:
            bottom += 1.2
            headings[group] = -bottom
        bottom += 1.0
        positions[group, label] = -bottom
    return positions, headings, bottom + 0.4


def plain(text: str, max_characters: int) -> str:
    """Return the start of a text, without the characters that Bokeh interprets as TeX."""
    short = text if len(text) <= max_characters else f"{text[: max_characters - 1]}…"
    return short.replace("$", "\N{FULLWIDTH DOLLAR SIGN}")


def add_hover(plot: figure, renderers: Sequence[Any], tooltips: Sequence[tuple[str, str]]) -> None:
    """Show values of the renderers next to the pointer."""
    plot.add_tools(HoverTool(renderers=list(renderers), tooltips=list(tooltips), point_policy="snap_to_data"))


def _figure(height: int, *, x: Axis, log_y: bool = False, y_range: Range1d | None = None) -> figure:
    options: dict[str, Any] = {} if y_range is None else {"y_range": y_range}
    options |= {"x_axis_type": "log" if x.log else "linear", "y_axis_type": "log" if log_y else "linear"}
    # Without an active drag tool, a touch scrolls the page.
    plot = figure(tools=_TOOLS, active_drag=None, height=height, sizing_mode="stretch_width", min_width=240, **options)
    _set_axis(plot, "x", x)
    return plot


def _set_axis(plot: figure, dimension: Literal["x", "y"], setting: Axis) -> None:
    axes, limits = getattr(plot, f"{dimension}axis"), getattr(plot, f"{dimension}_range")
    axes.axis_label = setting.label
    if setting.start is not None:
        limits.start = setting.start
    if setting.end is not None:
        limits.end = setting.end
    if setting.ticks:
        axes.ticker = list(setting.ticks)
    axes.formatter = PrintfTickFormatter(format="%g") if setting.log else NumeralTickFormatter(format="0,0.[000]")


def _style(plot: figure) -> None:
    plot.background_fill_color = plot.border_fill_color = plot.outline_line_color = None
    plot.toolbar.autohide = True
    plot.toolbar.logo = None
    plot.min_border_right = 14
    for axis in plot.axis:
        axis.axis_label_text_font = axis.major_label_text_font = FONT
        axis.axis_label_text_font_size, axis.major_label_text_font_size = "12px", "11px"
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_color = axis.major_label_text_color = INK
        axis.axis_line_color = axis.major_tick_line_color = GUIDE
        axis.minor_tick_line_color = None
        axis.major_tick_in = 0
    plot.grid.grid_line_color, plot.grid.grid_line_alpha = GUIDE, 0.22
