"""Sections of the report: text, key, figures, tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from charon.adapters.bokeh.legend import Entry, legend
from charon.adapters.bokeh.markup import Html, element, join
from charon.adapters.bokeh.page import slot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.models import UIElement


@dataclass(frozen=True, slots=True)
class Panel:
    """A figure with its title.

    Parameters
    ----------
    title
        Title; empty if the section has only this figure.
    figure
        The figure.
    note
        What it shows, below the title.
    """

    title: str
    figure: UIElement
    note: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the report.

    Parameters
    ----------
    name
        Anchor, and first part of the names of its figures.
    title
        Heading.
    text
        What the figures show, in one or two sentences.
    key
        Entries of the key of the figures.
    panels
        The figures.
    wide
        Whether each figure is as wide as the page.
    content
        Markup below the figures.
    """

    name: str
    title: str
    text: str = ""
    key: Sequence[Entry] = ()
    panels: Sequence[Panel] = ()
    wide: bool = False
    content: Html = field(default=Html(""))

    @property
    def figures(self) -> dict[str, UIElement]:
        """The figures by the name of their slot."""
        return {f"{self.name}-{index}": panel.figure for index, panel in enumerate(self.panels, 1)}

    def render(self) -> Html:
        """Return the section as markup."""
        panels = [
            element("div", _heading(panel), slot(name), class_="panel")
            for name, panel in zip(self.figures, self.panels, strict=True)
        ]
        return element(
            "section",
            element("h2", self.title),
            *([element("p", self.text, class_="soft")] if self.text else []),
            *([legend(self.key)] if self.key else []),
            *([element("div", *panels, class_="panels wide" if self.wide else "panels")] if panels else []),
            join([self.content]),
            id=self.name,
        )


def _heading(panel: Panel) -> Html:
    title = [element("h3", panel.title)] if panel.title else []
    return join([*title, *([element("p", panel.note, class_="soft")] if panel.note else [])])
