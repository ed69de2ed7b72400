"""Figures of the baseline, and their metrics for Prometheus."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from charon.adapters.prometheus.scrape import MetricFamily, render

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from charon.ledger.latency import Latency

RATE_WINDOW_S = 5.0


class RateMeter:
    """Number of frames per second over the last `RATE_WINDOW_S`."""

    def __init__(self) -> None:
        self._batches: deque[tuple[int, int]] = deque()

    def add(self, done_ns: int, frames: int) -> None:
        """Count frames that were processed at a time, ns since 1970."""
        self._batches.append((done_ns, frames))

    def rate_hz(self, now_ns: int | None = None) -> float:
        """Return the rate at a time, by default now."""
        start_ns = (time.time_ns() if now_ns is None else now_ns) - RATE_WINDOW_S * 1e9
        while self._batches and self._batches[0][0] < start_ns:
            self._batches.popleft()
        return sum(n for _, n in self._batches) / RATE_WINDOW_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of one consumer, or of all consumers together.

    Parameters
    ----------
    received, processed, rejected, duplicates
        Number of frames; rejected frames by reason.
    missed
        Number of missed frames; None for a consumer that shares the frames with others.
    lost
        Number of received frames that will be neither processed nor rejected; None for a consumer, which cannot know
        the frames of a killed one.
    rate_hz
        Processed frames per second.
    queued
        Number of frames that wait for inference.
    latency
        Latency from the detector's time stamp to the published result.
    stitched
        Number of patches in the image; None if nothing is stitched, and for a consumer.
    """

    received: int
    processed: int
    missed: int | None
    lost: int | None = None
    rejected: Mapping[str, int] = field(default_factory=dict[str, int])
    duplicates: int
    rate_hz: float
    queued: int
    latency: Latency
    stitched: int | None = None


def metrics_text(figures: Figures, labels: Mapping[str, str]) -> str:
    """Return the response to a scrape."""
    return render(_families(figures, labels))


def _families(figures: Figures, labels: Mapping[str, str]) -> Iterable[MetricFamily]:
    counters = {
        "pvapy_frame_processed_total": ("Frames whose result was published.", figures.processed),
        "pvapy_frame_received_total": ("Frames received, each counted once.", figures.received),
        "pvapy_frame_missed_total": ("Frames missed: gaps in uniqueId.", figures.missed),
        "pvapy_frame_lost_total": (
            "Frames received by a consumer that was killed before it processed them.",
            figures.lost,
        ),
        "pvapy_frame_stitched_total": ("Frames whose patch is in the image.", figures.stitched),
        "pvapy_frame_duplicates_total": ("Repeated deliveries of frames.", figures.duplicates),
    }
    for name, (text, value) in counters.items():
        counter = MetricFamily(name, "counter", text)
        if value is not None:
            counter.add(value, labels)
        yield counter
    rejected = MetricFamily("pvapy_frame_rejected_total", "counter", "Frames rejected, by reason.")
    for reason, n in sorted(figures.rejected.items()):
        rejected.add(n, {**labels, "reason": reason})
    yield rejected
    rate = MetricFamily("pvapy_frame_processingrate", "gauge", "Frames processed per second, over 5 s.")
    rate.add(round(figures.rate_hz, 3), labels)
    yield rate
    queued = MetricFamily("pvapy_frame_queued", "gauge", "Frames that wait for inference.")
    queued.add(figures.queued, labels)
    yield queued
    latency = MetricFamily(
        "pvapy_frame_latency_seconds", "histogram", "Latency from the detector's time stamp to the published result."
    )
    histogram = figures.latency.histogram
    bounds_s = [bound / 1000 for bound in histogram.bounds_ms]
    latency.add_histogram(bounds_s, histogram.cumulative, histogram.count, histogram.sum_s, labels)
    yield latency
    clocks = MetricFamily(
        "pvapy_frame_clock_disagreements_total", "counter", "Frames with a negative latency or one above an hour."
    )
    clocks.add(histogram.clock_disagrees, labels)
    yield clocks
