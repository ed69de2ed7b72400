"""Forest plots: estimates with their confidence intervals, one per line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bokeh.models import BoxAnnotation, ColumnDataSource, Span

from charon.adapters.bokeh.style import GUIDE, Axis, add_hover, new_row_figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bokeh.plotting import figure

    from charon.adapters.bokeh.style import Row


@dataclass(frozen=True, slots=True)
class Estimate:
    """A ratio with its interval.

    Parameters
    ----------
    group, label
        The line, and the group of lines to which it belongs.
    value
        The ratio.
    low, high
        Ends of the confidence interval; None without one.
    color
        Colour of the marker.
    """

    group: str
    label: str
    value: float
    low: float | None
    high: float | None
    color: str


def draw_forest(estimates: Sequence[Estimate], label: str, *, band: float | None = None) -> figure:
    """Draw ratios on a logarithmic axis around 1.

    Parameters
    ----------
    estimates
        The ratios, from the top; lines of a group are neighbours.
    label
        Label of the axis.
    band
        Half-width of a shaded band around 1, such as 0.05.
    """
    start, end = _limits(estimates, band or 0.0)
    axis = Axis(label, log=True, start=start, end=end, ticks=_ticks(start, end))
    plot, positions = new_row_figure(axis, [(estimate.group, estimate.label) for estimate in estimates])
    if band is not None:
        plot.add_layout(BoxAnnotation(left=1 - band, right=1 + band, fill_color=GUIDE, fill_alpha=0.2, line_color=None))
    plot.add_layout(Span(location=1, dimension="height", line_color=GUIDE, line_width=1.5, level="underlay"))
    _draw_estimates(plot, estimates, positions, (start, end))
    return plot


def _draw_estimates(
    plot: figure, estimates: Sequence[Estimate], positions: Mapping[Row, float], limits: tuple[float, float]
) -> None:
    source = ColumnDataSource(
        {
            "line": [positions[estimate.group, estimate.label] for estimate in estimates],
            "title": [": ".join(filter(None, (estimate.group, estimate.label))) for estimate in estimates],
            "value": [estimate.value for estimate in estimates],
            "low": [estimate.value if estimate.low is None else estimate.low or limits[0] for estimate in estimates],
            "high": [_end(estimate, limits[1]) for estimate in estimates],
            "interval": [_interval(estimate) for estimate in estimates],
            "color": [estimate.color for estimate in estimates],
        }
    )
    plot.segment(x0="low", x1="high", y0="line", y1="line", source=source, color="color", line_width=2)
    points = plot.scatter(x="value", y="line", source=source, color="color", size=8)
    add_hover(plot, [points], [("", "@title"), ("ratio", "@value{0.000}"), ("95 % interval", "@interval")])


def _end(estimate: Estimate, limit: float) -> float:
    # The logarithmic axis has neither 0 nor infinity, which very wide intervals contain.
    high = estimate.value if estimate.high is None else estimate.high
    return high if math.isfinite(high) else limit


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return "requires two repetitions"
    return f"{estimate.low:.3f} to {estimate.high:.3f}"


def _limits(estimates: Sequence[Estimate], band: float) -> tuple[float, float]:
    # A very wide interval must not compress the others: its line is cut at the edge of the figure.
    values = [1 - band, 1 + band, *(estimate.value for estimate in estimates)]
    low, high = min(values), max(values)
    reach = max(high / low, 1.1)
    ends = [end for estimate in estimates for end in (estimate.low, estimate.high) if end is not None]
    start = max(min([low, *ends]), low / reach)
    end = min(max([high, *ends]), high * reach)
    margin = (end / start) ** 0.06
    return start / margin, end * margin


def _ticks(start: float, end: float) -> tuple[float, ...]:
    spans = (
        (1.25, (0.9, 0.95, 1, 1.05, 1.1)),
        (2.2, (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2)),
        (8, (0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5)),
        (60, (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)),
        (math.inf, tuple(10.0**power for power in range(-6, 7))),
    )
    ticks = next(ticks for span, ticks in spans if end / start <= span)
    return tuple(tick for tick in ticks if start <= tick <= end)
