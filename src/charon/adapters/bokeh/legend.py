"""Keys of figures: samples of lines, markers and areas with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from charon.adapters.bokeh.markup import Html, element

if TYPE_CHECKING:
    from collections.abc import Iterable

_DASHES = {"solid": "", "dashed": "5 3", "dotted": "2 3"}


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a key.

    Parameters
    ----------
    label
        What it is.
    color
        Its colour; ``currentColor`` for the colour of text.
    shape
        Line, marker or area.
    """

    label: str
    color: str
    shape: Literal["solid", "dashed", "dotted", "circle", "diamond", "area"] = "area"


def legend(entries: Iterable[Entry]) -> Html:
    """Return a key as a list."""
    return element("ul", *(element("li", _sample(entry), entry.label) for entry in entries), class_="key")


def _sample(entry: Entry) -> Html:
    if entry.shape == "area":
        shape = element("rect", x="2", y="1", width="18", height="8", rx="2", fill=entry.color)
    elif entry.shape == "circle":
        shape = element("circle", cx="11", cy="5", r="4", fill=entry.color)
    elif entry.shape == "diamond":
        shape = element("path", d="M11 0.8 15.2 5 11 9.2 6.8 5Z", fill="none", stroke=entry.color, stroke_width="1.5")
    else:
        dash = _DASHES[entry.shape]
        shape = element(
            "line", x1="0", y1="5", x2="22", y2="5", stroke=entry.color, stroke_width="2", stroke_dasharray=dash
        )
    return element("svg", shape, width="22", height="10", aria_hidden="true")
