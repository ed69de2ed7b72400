"""Prometheus's text exposition format, version 0.0.4."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MetricKind = Literal["counter", "gauge", "histogram"]
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class MetricFamily:
    """A metric with all its samples.

    Parameters
    ----------
    name, kind, help
        Name, type and help text of the metric.
    """

    name: str
    kind: MetricKind
    help: str
    _lines: list[str] = field(default_factory=list[str])

    def add(self, value: float, labels: Mapping[str, str]) -> None:
        """Add a sample."""
        self._lines.append(_sample(self.name, labels, value))

    def add_histogram(
        self, bounds: Sequence[float], cumulative: Sequence[int], count: int, total: float, labels: Mapping[str, str]
    ) -> None:
        """Add the samples of a histogram.

        Parameters
        ----------
        bounds, cumulative
            Upper bounds in ascending order, and the number of observations up to each.
        count, total
            Number and sum of all observations.
        labels
            Labels of the histogram.
        """
        for bound, n in zip(bounds, cumulative, strict=True):
            self._lines.append(_sample(f"{self.name}_bucket", {**labels, "le": _number(bound)}, n))
        self._lines.append(_sample(f"{self.name}_bucket", {**labels, "le": "+Inf"}, count))
        self._lines.append(_sample(f"{self.name}_sum", labels, total))
        self._lines.append(_sample(f"{self.name}_count", labels, count))

    def lines(self) -> list[str]:
        """Return the lines of the family; none if it has no samples."""
        if not self._lines:
            return []
        help_text = self.help.replace("\\", "\\\\").replace("\n", "\\n")
        return [f"# HELP {self.name} {help_text}", f"# TYPE {self.name} {self.kind}", *self._lines]


def render(families: Iterable[MetricFamily]) -> str:
    """Return the response to a scrape."""
    return "".join(f"{line}\n" for family in families for line in family.lines())


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{pairs}}} {_number(value)}" if pairs else f"{name} {_number(value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
