"""Latency figures of an image sink, as its page of the ledger contains them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

from charon.frames.fields import integer, mapping, number, optional_number, sequence

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySummary:
    """Quantiles of a latency in ms.

    Parameters
    ----------
    count
        Number of measured frames.
    clock_disagrees
        Frames that are not measured because their time stamps show that two clocks disagree.
    p50, p99, max, mean
        Median, 99th percentile, maximum and mean in ms; None without a measured frame.
    """

    count: int = 0
    clock_disagrees: int = 0
    p50: float | None = None
    p99: float | None = None
    max: float | None = None
    mean: float | None = None

    def to_json(self) -> dict[str, int | float | None]:
        """Return the summary as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: object) -> LatencySummary:
        """Return the summary that `to_json` returned."""
        fields = mapping(document, "latency")
        return cls(
            count=integer(fields, "count"),
            clock_disagrees=integer(fields, "clock_disagrees"),
            p50=optional_number(fields, "p50"),
            p99=optional_number(fields, "p99"),
            max=optional_number(fields, "max"),
            mean=optional_number(fields, "mean"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyHistogram:
    """Latencies counted by upper bounds; histograms of replicas can be added.

    Parameters
    ----------
    bounds_ms, cumulative
        Ascending upper bounds in ms, and the number of latencies within each.
    count, sum_s
        Number of latencies, and their sum in s.
    clock_disagrees
        Frames that are not measured because their time stamps show that two clocks disagree.
    """

    bounds_ms: Sequence[float]
    cumulative: Sequence[int]
    count: int
    sum_s: float
    clock_disagrees: int

    def to_json(self) -> dict[str, object]:
        """Return the histogram as JSON values."""
        return {
            "bounds_ms": list(self.bounds_ms),
            "cumulative": list(self.cumulative),
            "count": self.count,
            "sum_s": self.sum_s,
            "clock_disagrees": self.clock_disagrees,
        }

    @classmethod
    def from_json(cls, document: object) -> LatencyHistogram:
        """Return the histogram that `to_json` returned."""
        fields = mapping(document, "histogram")
        bounds_ms = sequence(fields["bounds_ms"], "bounds_ms")
        cumulative = sequence(fields["cumulative"], "cumulative", len(bounds_ms))
        if not all(isinstance(value, int | float) for value in (*bounds_ms, *cumulative)):
            raise TypeError("a histogram contains a value that is not a number")
        return cls(
            bounds_ms=cast("Sequence[float]", bounds_ms),
            cumulative=cast("Sequence[int]", cumulative),
            count=integer(fields, "count"),
            sum_s=number(fields, "sum_s"),
            clock_disagrees=integer(fields, "clock_disagrees"),
        )


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency since one origin.

    Parameters
    ----------
    summary
        Quantiles in ms.
    histogram
        The same latencies, counted by upper bounds.
    """

    summary: LatencySummary
    histogram: LatencyHistogram
