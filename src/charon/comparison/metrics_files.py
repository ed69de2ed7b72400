"""Compare two files of `charonctl metrics`, such as those of two runs on a cluster, series by series."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from charon.adapters.prometheus.query import read_saved
from charon.comparison.statistics import Ratio, batch_means, ratio_of_means

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from charon.adapters.prometheus.query import SavedSeries

    Pair = tuple[SavedSeries, SavedSeries]

# Ten blocks are the usual choice for batch means: fewer have wide intervals, more of them are correlated.
_BLOCKS = 10
_MIN_SAMPLES_PER_BLOCK = 4


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A series of both files.

    Parameters
    ----------
    query
        The query.
    labels
        Labels of the series in A, such as ``{vertex="cat"}``.
    a_mean, b_mean
        Means over the samples with a finite value.
    ratio
        Ratio of A to B with an interval from the means of blocks; None if a mean is not positive. Without an interval
        if a series has too few samples.
    """

    query: str
    labels: str
    a_mean: float
    b_mean: float
    ratio: Ratio | None


@dataclass(frozen=True, slots=True)
class MetricsComparison:
    """Two files of `charonctl metrics`.

    Parameters
    ----------
    a, b
        The files.
    rows
        Series of both, in the order of A.
    only_a, only_b
        Series of only one file, as query and labels.
    """

    a: Path
    b: Path
    rows: tuple[MetricRow, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]


def compare_metrics(a: Path, b: Path) -> MetricsComparison:
    """Compare two files query by query, and series by series.

    Series with equal labels are compared. Pods and addresses have other names in every run, so the remaining series of
    a query are compared without the labels that have no value in common, if that identifies each series.

    Parameters
    ----------
    a, b
        JSON, CSV or Parquet files, which may have different formats.

    Raises
    ------
    UnavailableError, UsageError
        If a file cannot be read or is not a file of `charonctl metrics`.
    """
    sides = _by_query(read_saved(a)), _by_query(read_saved(b))
    rows: list[MetricRow] = []
    only: tuple[list[str], list[str]] = [], []
    for query in dict.fromkeys([*sides[0], *sides[1]]):
        pairs, *others = _match(sides[0].get(query, []), sides[1].get(query, []))
        rows += [_row(pair) for pair in pairs]
        for names, series in zip(only, others, strict=True):
            names += [f"{query} {_text(found.labels)}".rstrip() for found in series]
    return MetricsComparison(a, b, tuple(rows), tuple(only[0]), tuple(only[1]))


def _by_query(series: Iterable[SavedSeries]) -> dict[str, list[SavedSeries]]:
    """Return the series that contain a finite value, by query."""
    groups: defaultdict[str, list[SavedSeries]] = defaultdict(list)
    for found in series:
        if np.isfinite(found.values).any():
            groups[found.query].append(found)
    return groups


def _match(
    a: Sequence[SavedSeries], b: Sequence[SavedSeries]
) -> tuple[list[Pair], list[SavedSeries], list[SavedSeries]]:
    """Return the pairs of series of one query, and the remaining series of each side."""
    exact = _match_without(a, b, frozenset())
    rest_a, rest_b = _rest(a, exact, 0), _rest(b, exact, 1)
    other = _match_without(rest_a, rest_b, _distinct_labels(rest_a, rest_b))
    pairs = sorted([*exact, *other], key=lambda pair: next(k for k, found in enumerate(a) if found is pair[0]))
    return pairs, _rest(rest_a, other, 0), _rest(rest_b, other, 1)


def _match_without(a: Sequence[SavedSeries], b: Sequence[SavedSeries], ignored: frozenset[str]) -> list[Pair]:
    """Return the pairs that are identified by equal labels, without some of them."""

    def by_labels(series: Sequence[SavedSeries]) -> dict[frozenset[tuple[str, str]], SavedSeries]:
        groups: defaultdict[frozenset[tuple[str, str]], list[SavedSeries]] = defaultdict(list)
        for found in series:
            groups[frozenset(item for item in found.labels.items() if item[0] not in ignored)].append(found)
        return {labels: group[0] for labels, group in groups.items() if len(group) == 1}

    found_a, found_b = by_labels(a), by_labels(b)
    return [(found, found_b[labels]) for labels, found in found_a.items() if labels in found_b]


def _distinct_labels(a: Sequence[SavedSeries], b: Sequence[SavedSeries]) -> frozenset[str]:
    """Return the labels of both sides that have no value in common."""
    values_a, values_b = _label_values(a), _label_values(b)
    both = values_a.keys() & values_b.keys()
    return frozenset(label for label in both if not values_a[label] & values_b[label])


def _label_values(series: Sequence[SavedSeries]) -> dict[str, set[str]]:
    values: defaultdict[str, set[str]] = defaultdict(set)
    for found in series:
        for label, value in found.labels.items():
            values[label].add(value)
    return values


def _rest(series: Sequence[SavedSeries], pairs: Sequence[Pair], side: int) -> list[SavedSeries]:
    matched = {id(pair[side]) for pair in pairs}
    return [found for found in series if id(found) not in matched]


def _row(pair: Pair) -> MetricRow:
    a, b = pair
    means = float(np.mean(a.values[np.isfinite(a.values)])), float(np.mean(b.values[np.isfinite(b.values)]))
    return MetricRow(a.query, _text(a.labels), *means, _ratio(_blocks(a), _blocks(b), means))


def _ratio(a: NDArray[np.float64], b: NDArray[np.float64], means: tuple[float, float]) -> Ratio | None:
    found = ratio_of_means(a, b)
    if found is None or means[0] <= 0 or means[1] <= 0:
        return None
    # The blocks differ a little in their number of samples; the ratio is that of the means that are shown.
    shift = means[0] / means[1] / found.value
    low, high = (None if limit is None else limit * shift for limit in (found.low, found.high))
    return Ratio(means[0] / means[1], low, high, found.pairs)


def _blocks(series: SavedSeries) -> NDArray[np.float64]:
    """Return the means over blocks of equal duration; one block if there are too few samples for several."""
    count = int(np.isfinite(series.values).sum())
    blocks = min(_BLOCKS, count // _MIN_SAMPLES_PER_BLOCK)
    span_s = float(np.ptp(series.times_s))
    if blocks < 2 or span_s <= 0:
        return np.array([float(np.mean(series.values[np.isfinite(series.values)]))])
    # The last sample belongs to the last block.
    return batch_means(series.times_s, series.values, span_s / blocks * (1 + 1e-9))


def _text(labels: dict[str, str]) -> str:
    """Return labels in the notation of Prometheus."""
    name = labels.get("__name__", "")
    others = ", ".join(f'{label}="{value}"' for label, value in sorted(labels.items()) if label != "__name__")
    return f"{name}{{{others}}}" if others else name
