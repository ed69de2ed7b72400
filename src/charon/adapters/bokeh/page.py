"""Self-contained pages: markup, style and figures in one file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import TYPE_CHECKING

from bokeh.embed import json_item
from bokeh.resources import Resources

from charon.adapters.bokeh.markup import Html, element, join

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bokeh.models import UIElement


def slot(name: str) -> Html:
    """Return the element in which the page draws a figure."""
    return element("div", class_="figure", data_figure=name)


def render_page(title: str, body: Html, figures: Mapping[str, UIElement]) -> str:
    """Return a page as HTML.

    Its content security policy forbids every request, and every script except its own.

    Parameters
    ----------
    title
        Title of the window.
    body
        Content, with a `slot` for each figure.
    figures
        Figures by the name of their slot.
    """
    scripts = [*Resources(mode="inline", components=["bokeh"], log_level="warn").js_raw, _read("page.js")]
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"
    head = join(
        (
            Html('<meta charset="utf-8">'),
            Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Html('<meta name="color-scheme" content="light dark">'),
            Html('<link rel="icon" href="data:,">'),
            element("title", title),
            element("style", Html(_read("page.css"))),
        )
    )
    data = element("script", Html(_to_json(figures)), type="application/json", id="figures")
    code = join(element("script", Html(script)) for script in scripts)
    page = element("html", element("head", head), element("body", body, data, code), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def _to_json(figures: Mapping[str, UIElement]) -> str:
    items = {name: json_item(figure) for name, figure in figures.items()}
    # "<" in a string could end the element that contains the text.
    return json.dumps(items, separators=(",", ":")).replace("<", "\\u003c")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _read(name: str) -> str:
    return files(__package__ or "").joinpath(name).read_text(encoding="utf-8")
