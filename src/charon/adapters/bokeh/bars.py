"""Stacked horizontal bars."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bokeh.models import ColumnDataSource

from charon.adapters.bokeh.style import Axis, add_hover, new_row_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.plotting import figure


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar.

    Parameters
    ----------
    group, bar
        The bar, and the group of bars to which it belongs.
    label
        What the part is; the pointer displays it.
    color
        Its colour.
    value
        Its length.
    """

    group: str
    bar: str
    label: str
    color: str
    value: float


def draw_bars(segments: Sequence[Segment], axis: Axis, *, unit: str) -> figure:
    """Draw stacked horizontal bars in groups, in the order of the segments.

    Parameters
    ----------
    segments
        Parts of the bars.
    axis
        Axis of the values.
    unit
        Unit of the values, for the pointer.
    """
    axis = replace(axis, start=0)
    rows = dict.fromkeys((segment.group, segment.bar) for segment in segments)
    plot, positions = new_row_figure(axis, list(rows))
    left = _left_ends(segments)
    source = ColumnDataSource(
        {
            "row": [positions[segment.group, segment.bar] for segment in segments],
            "bar": [f"{segment.group}, {segment.bar}" for segment in segments],
            "left": left,
            "right": [start + segment.value for start, segment in zip(left, segments, strict=True)],
            "label": [segment.label for segment in segments],
            "value": [segment.value for segment in segments],
            "color": [segment.color for segment in segments],
        }
    )
    bars = plot.hbar(y="row", left="left", right="right", height=0.76, source=source, color="color", line_color=None)
    add_hover(plot, [bars], [("", "@bar"), ("", "@label"), (unit, "@value{0,0.[00]}")])
    return plot


def _left_ends(segments: Sequence[Segment]) -> list[float]:
    ends: dict[tuple[str, str], float] = {}
    left: list[float] = []
    for segment in segments:
        bar = (segment.group, segment.bar)
        left.append(ends.get(bar, 0.0))
        ends[bar] = left[-1] + segment.value
    return left
