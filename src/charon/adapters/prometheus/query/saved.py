"""Read the files of `charonctl metrics`: JSON, CSV or Parquet."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from charon.adapters.prometheus.query.formats import import_pyarrow
from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_PARQUET_MAGIC = b"PAR1"
_NAME_LABEL = "__name__"
_FIXED_COLUMNS = ("query", "metric", "time", "value")
_REMEDY = "use a file that charonctl metrics has written"


@dataclass(frozen=True, slots=True)
class SavedSeries:
    """A series of a saved export.

    Parameters
    ----------
    query
        The query.
    labels
        Its labels without empty ones, with the name of the metric under ``__name__``.
    times_s
        Times of the samples, (n,) float64, s since 1970.
    values
        Values of the samples, (n,) float64.
    """

    query: str
    labels: dict[str, str]
    times_s: NDArray[np.float64]
    values: NDArray[np.float64]


def read_saved(path: Path) -> list[SavedSeries]:
    """Return the series of a file in its order; queries that failed or returned nothing have none.

    Parameters
    ----------
    path
        A file that `charonctl metrics` has written. Its content determines the format.

    Raises
    ------
    UnavailableError
        If the file cannot be read, or it is a Parquet file and pyarrow is not installed.
    UsageError
        If the file is not a complete file of `charonctl metrics`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnavailableError(f"{path}: cannot read the file: {error.strerror or error}") from error
    try:
        if content.startswith(_PARQUET_MAGIC):
            return _read_parquet(content)
        return _read_json(content) if content.lstrip()[:1] == b"{" else _read_csv(content)
    except UnavailableError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OSError, csv.Error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{path}: not a saved export, or incomplete ({reason}); {_REMEDY}") from error


def _read_json(content: bytes) -> list[SavedSeries]:
    document = json.loads(content)
    series: list[SavedSeries] = []
    for entry in document["queries"]:
        for found in entry["data"]["result"] if entry["status"] == "success" else ():
            values = found.get("values", [])
            times = [float(at) for at, _ in values]
            series.append(_series(entry["query"], found["metric"], times, [float(value) for _, value in values]))
    return series


def _read_csv(content: bytes) -> list[SavedSeries]:
    rows = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
    headings = next(rows, list[str]())
    labels = _labels_of(headings)
    groups: dict[tuple[str, ...], tuple[list[float], list[float]]] = {}
    for row in rows:
        if len(row) != len(headings):
            raise ValueError(f"line {rows.line_num}: {len(row)} of {len(headings)} columns")
        times, values = groups.setdefault(tuple(row[:-2]), ([], []))
        times.append(_seconds(row[-2]))
        values.append(float(row[-1]))
    return [
        _series(head[0], dict(zip(labels, head[1:], strict=True)), times, values)
        for head, (times, values) in groups.items()
    ]


def _read_parquet(content: bytes) -> list[SavedSeries]:
    _, pq = import_pyarrow()
    # pyarrow reports a damaged file by a ValueError or an OSError.
    table = pq.read_table(io.BytesIO(content))
    headings: list[str] = table.column_names
    labels = _labels_of(headings)
    texts = [table.column(heading).to_pylist() for heading in headings[:-2]]
    rows: dict[tuple[str | None, ...], list[int]] = {}
    for row, head in enumerate(zip(*texts, strict=True)):
        rows.setdefault(head, []).append(row)
    times_s = table.column("time").cast("int64").to_numpy() / 1000
    values = table.column("value").to_numpy()
    return [
        _series(head[0] or "", dict(zip(labels, head[1:], strict=True)), times_s[found], values[found])
        for head, found in rows.items()
    ]


def _labels_of(headings: Sequence[str]) -> list[str]:
    """Return the names of the labels whose columns follow the query.

    A label with the name of a fixed column has a prefix in the file.
    """
    if list(headings[:2]) != ["query", "metric"] or list(headings[-2:]) != ["time", "value"]:
        raise ValueError("the columns are not query, metric, labels, time, value")
    labels = [_NAME_LABEL, *headings[2:-2]]
    for fixed in _FIXED_COLUMNS:
        renamed = [label for label in labels if label.startswith("label_") and _without_prefixes(label) == fixed]
        if renamed:
            labels[labels.index(max(renamed, key=len))] = fixed
    return labels


def _without_prefixes(heading: str) -> str:
    while heading.startswith("label_"):
        heading = heading.removeprefix("label_")
    return heading


def _series(
    query: object,
    labels: dict[str, Any],
    times_s: Sequence[float] | NDArray[Any],
    values: Sequence[float] | NDArray[Any],
) -> SavedSeries:
    if not isinstance(query, str) or not all(isinstance(value, str) for value in labels.values() if value is not None):
        raise TypeError("a query or a label is not a text")
    known = {label: cast("str", value) for label, value in labels.items() if value}
    return SavedSeries(query, known, np.asarray(times_s, np.float64), np.asarray(values, np.float64))


@lru_cache(maxsize=100_000)
def _seconds(text: str) -> float:
    """Return a time in UTC, such as ``2025-08-18T14:47:57Z``, in s since 1970."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"the time {text!r} has no zone")
    return moment.timestamp()
