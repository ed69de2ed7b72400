"""Figures of cells by name, and their summaries over repetitions."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from charon.comparison.model import LATENCY_STAGES, FrameCounts
from charon.comparison.statistics import Ratio, paired_ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from charon.comparison.model import CellResult

_QUANTILES = ("p50", "p90", "p99", "max")
FIGURE_KEYS = (
    "processed_hz",
    *(f"{quantile}_{stage}_ms" for stage in LATENCY_STAGES for quantile in _QUANTILES),
    "cpu_ms_per_frame",
    "rss_max_bytes",
)
"""Names of the figures that have a ratio, such as ``p50_result_ms``."""


def figure_values(result: CellResult) -> dict[str, float]:
    """Return the figures that a cell has measured, by name."""
    found: dict[str, float | None] = {
        "processed_hz": result.processed_hz,
        "cpu_ms_per_frame": result.cpu_ms_per_frame,
        "rss_max_bytes": result.rss_max_bytes,
    }
    for stage, latency in result.latency_ms.items():
        quantiles = (latency.p50, latency.p90, latency.p99, latency.max)
        found |= {f"{name}_{stage}_ms": value for name, value in zip(_QUANTILES, quantiles, strict=True)}
    return {key: float(value) for key in FIGURE_KEYS if (value := found.get(key)) is not None}


def common_values(results: Sequence[CellResult]) -> dict[str, list[float]]:
    """Return the values of the figures that all cells have measured, by name."""
    values = [figure_values(result) for result in results]
    return {key: [found[key] for found in values] for key in FIGURE_KEYS if all(key in found for found in values)}


def paired_ratios(a: Iterable[CellResult], b: Iterable[CellResult]) -> dict[str, Ratio]:
    """Return the ratios of cells of equal repetition, by figure; a figure without a ratio is absent."""
    sides = [{result.cell.repetition: figure_values(result) for result in side} for side in (a, b)]
    repetitions = sorted(sides[0].keys() & sides[1].keys())
    ratios = {
        key: paired_ratio(*([side[repetition].get(key) for repetition in repetitions] for side in sides))
        for key in FIGURE_KEYS
    }
    return {key: ratio for key, ratio in ratios.items() if ratio is not None}


def sum_counts(results: Iterable[CellResult]) -> FrameCounts:
    """Return the sum of the accounts of cells, without ids."""
    counts = [result.counts for result in results if result.counts is not None]

    def total(count: Callable[[FrameCounts], int]) -> int:
        return sum(count(found) for found in counts)

    return FrameCounts(
        published=total(lambda found: found.published),
        processed=total(lambda found: found.processed),
        rejected=total(lambda found: found.rejected),
        missed=total(lambda found: found.missed),
        lost=total(lambda found: found.lost),
        duplicates=total(lambda found: found.duplicates),
        unknown=total(lambda found: found.unknown),
    )


def median_of_all(values: Sequence[float | None]) -> float | None:
    """Return the median; None if there is no value or one of them is None."""
    known = [value for value in values if value is not None]
    return median(known) if known and len(known) == len(values) else None
