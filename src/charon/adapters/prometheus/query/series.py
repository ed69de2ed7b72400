"""Series of a range query's result, decoded from Prometheus's responses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# A valid time is between 1970 and 9999.
_MAX_TIME_S = 253_402_300_800


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a range query's result.

    Parameters
    ----------
    labels
        Labels of the series, with the name of the metric under ``__name__``.
    values
        Samples in Prometheus's own format, ``[1755528477,"1.5"],[...]``, which need a tenth of the memory
        of Python lists.
    sample_count
        Number of samples in `values`.
    histograms
        Samples that are native histograms, in the same format.
    """

    labels: dict[str, str]
    values: bytes
    sample_count: int
    histograms: bytes = b""

    def to_json(self) -> bytes:
        """Return the series in Prometheus's own format."""
        parts = [b'{"metric":', to_json(self.labels)]
        if self.values or not self.histograms:
            parts += [b',"values":[', self.values, b"]"]
        if self.histograms:
            parts += [b',"histograms":[', self.histograms, b"]"]
        return b"".join([*parts, b"}"])


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Series that a query returned, and Prometheus's warnings about the query."""

    series: list[Series]
    warnings: list[str]


def parse_series(entry: dict[str, Any]) -> Series:
    """Return a series from an entry of a matrix.

    Raises
    ------
    ValueError, KeyError, TypeError, AttributeError
        If the entry is not a valid series.
    """
    metric, values, histograms = entry["metric"], entry.get("values", []), entry.get("histograms", [])
    if not all(isinstance(label, str) for label in metric.values()):
        raise ValueError("a label value is not a string")
    if not all(type(value) is str and 0 <= at < _MAX_TIME_S for at, value in values):
        raise ValueError("a sample is not a pair of a time and a string")
    return Series(metric, to_json(values)[1:-1], len(values), to_json(histograms)[1:-1])


def join_results(results: Sequence[QueryResult]) -> QueryResult:
    """Return the results of consecutive ranges as one, with the series in Prometheus's order."""
    if len(results) == 1:
        return results[0]
    grouped: dict[tuple[tuple[str, str], ...], list[Series]] = {}
    for result in results:
        for series in result.series:
            grouped.setdefault(tuple(sorted(series.labels.items())), []).append(series)
    joined = [_join(parts) for _, parts in sorted(grouped.items())]
    return QueryResult(joined, list(dict.fromkeys(warning for result in results for warning in result.warnings)))


def to_json(value: object) -> bytes:
    """Return a value as compact JSON; lone surrogates become ``?``."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def _join(parts: Sequence[Series]) -> Series:
    return Series(
        parts[0].labels,
        b",".join(part.values for part in parts if part.values),
        sum(part.sample_count for part in parts),
        b",".join(part.histograms for part in parts if part.histograms),
    )
