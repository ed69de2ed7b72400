"""HTML elements, with all text escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Html(str):
    """Markup that is already escaped; any other string is text."""

    __slots__ = ()


def element(name: str, *children: str, **attributes: str) -> Html:
    """Return an element.

    Parameters
    ----------
    name
        Tag name, such as ``p``.
    children
        Markup, or text that is escaped.
    attributes
        Attributes; ``_`` in a name becomes ``-``, a trailing ``_`` is removed.
    """
    options = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value, quote=True)}"'
        for key, value in attributes.items()
        if value
    )
    return Html(f"<{name}{options}>{join(children)}</{name}>")


def join(children: Iterable[str]) -> Html:
    """Return the children one after the other; text is escaped."""
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Iterable[int] = (), name: str = "") -> Html:
    """Return a table that scrolls horizontally if the window is narrow.

    Parameters
    ----------
    header
        Column titles.
    rows
        Cells; the first of each row is its header.
    numeric
        Columns that are aligned to the right.
    name
        Class of the table. In a ``guide``, each cell has the title of its column, which a narrow window shows.
    """
    classes = ["number" if index in set(numeric) else "text" for index in range(len(header))]
    head = join(element("th", cell, class_=class_) for cell, class_ in zip(header, classes, strict=True))
    titles = header if name == "guide" else [""] * len(header)
    body = (element("tr", *(map(_cell, ["th", *["td"] * (len(header) - 1)], row, classes, titles))) for row in rows)
    content = element("table", element("thead", element("tr", head)), element("tbody", *body), class_=name)
    return element("div", content, class_="scroll")


def merge_first(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the rows without a first cell that repeats the one above."""
    before = ["", *(row[0] for row in rows)]
    return [["" if row[0] == above else row[0], *row[1:]] for row, above in zip(rows, before, strict=False)]


def _cell(tag: str, content: str, class_: str, title: str) -> Html:
    return element(tag, content, class_=class_, data_title=title)
