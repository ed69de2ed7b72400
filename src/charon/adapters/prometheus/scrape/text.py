"""Prometheus's text format, version 0.0.4."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Family:
    """All samples of one metric.

    Parameters
    ----------
    name, kind, text
        Its name, its type, and what it is.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    _lines: list[str] = field(default_factory=list[str])

    def add(self, value: float, labels: Mapping[str, str]) -> None:
        """Add a sample."""
        self._lines.append(_sample(self.name, labels, value))

    def add_histogram(
        self, bounds: Sequence[float], cumulative: Sequence[int], count: int, total: float, labels: Mapping[str, str]
    ) -> None:
        """Add a histogram.

        Parameters
        ----------
        bounds, cumulative
            Upper bounds, rising, and how many observations are within each.
        count, total
            How many observations there are, and their sum.
        labels
            Of the histogram.
        """
        for bound, n in zip(bounds, cumulative, strict=True):
            self._lines.append(_sample(f"{self.name}_bucket", {**labels, "le": _number(bound)}, n))
        self._lines.append(_sample(f"{self.name}_bucket", {**labels, "le": "+Inf"}, count))
        self._lines.append(_sample(f"{self.name}_sum", labels, total))
        self._lines.append(_sample(f"{self.name}_count", labels, count))

    def lines(self) -> list[str]:
        """Return the family in text; nothing where it has no sample."""
        if not self._lines:
            return []
        text = self.text.replace("\\", "\\\\").replace("\n", "\\n")
        return [f"# HELP {self.name} {text}", f"# TYPE {self.name} {self.kind}", *self._lines]


def render(families: Iterable[Family]) -> str:
    """Return families as the text that a scrape takes."""
    return "".join(f"{line}\n" for family in families for line in family.lines())


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inner}}} {_number(value)}" if inner else f"{name} {_number(value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
