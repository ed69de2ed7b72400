"""Compute metrics from the pages that vertices write to the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charon import __version__
from charon.adapters.prometheus.scrape.text import MetricFamily
from charon.ledger.pages import InferencePage, SinkPage, SourcePage
from charon.ledger.states import rejection_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from charon.adapters.prometheus.scrape.text import MetricKind
    from charon.ledger.entries import LedgerEntry
    from charon.ledger.latency import LatencyHistogram
    from charon.ledger.pages import Page
    from charon.ledger.process import ProcessStats

_BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128)


class PageMetrics:
    """Metrics of the ledger's pages: one family per metric, with one series per page that has the metric."""

    def __init__(self) -> None:
        self._families: list[MetricFamily] = []
        add = self._add_family
        self._info = add("charon_build_info", "gauge", "Version of Charon; always 1.")
        self._vertex = add("charon_vertex_info", "gauge", "Description of the vertex; always 1.")
        self._ready = add("charon_vertex_ready", "gauge", "Whether the vertex is ready for frames.")
        self._start = add("charon_vertex_start_time_seconds", "gauge", "Start time of the vertex, Unix time.")
        self._updated = add("charon_vertex_updated_seconds", "gauge", "Time of the last update, Unix time.")
        self._memory = add("charon_resident_memory_bytes", "gauge", "Resident memory of the process.")
        self._cpu = add("charon_cpu_seconds_total", "counter", "CPU time of the process.")
        self._busy = add(
            "charon_busy_seconds_total",
            "counter",
            "Time spent preparing frames, running inference, or writing output.",
        )
        self._done = add("charon_messages_total", "counter", "Messages processed.")
        self._events = add("charon_events_total", "counter", "Other message events, by name.")
        self._frames = add("charon_frames_total", "counter", "Frames by state, each frame counted once.")
        self._rejected = add("charon_rejected_total", "counter", "Frames rejected, by reason.")
        self._duplicates = add("charon_duplicates_total", "counter", "Duplicate frames.")
        self._unreadable = add("charon_unreadable_total", "counter", "Messages that could not be decoded.")
        self._batch = add("charon_batch_size", "histogram", "Messages per batch.")
        self._ring = add("charon_ring_waiting", "gauge", "Frames in the source's ring buffer.")
        self._restarts = add("charon_detector_restarts_total", "counter", "Restarts of the detector's frame counter.")
        self._positions = add("charon_positions_waiting", "gauge", "Scan positions without a patch.")
        self._latency = add(
            "charon_latency_seconds",
            "histogram",
            "Latency from the detector's time stamp, or from receipt by the source, to the image.",
        )
        self._clocks = add(
            "charon_clock_disagreements_total", "counter", "Frames whose latency is negative or longer than an hour."
        )
        self._info.add(1, {"version": __version__})

    def families(self) -> list[MetricFamily]:
        """Return the families."""
        return list(self._families)

    def _add_family(self, name: str, kind: MetricKind, help_text: str) -> MetricFamily:
        family = MetricFamily(name, kind, help_text)
        self._families.append(family)
        return family

    def add(self, page: Page, labels: Mapping[str, str]) -> None:
        """Add the series of a page.

        Parameters
        ----------
        page
            Page of a vertex.
        labels
            Labels of every series, such as the vertex's name.
        """
        self._vertex.add(1, {**labels, **_description(page)})
        self._add_process(page.process, labels)
        self._add_entries(page.entries, labels)
        if isinstance(page, SourcePage):
            self._ring.add(page.waiting, labels)
            self._restarts.add(page.restarts, labels)
        elif isinstance(page, SinkPage):
            self._unreadable.add(page.report.unreadable, labels)
            image = page.report.image
            if image is not None:
                self._positions.add(image.positions_waiting, labels)
                self._add_latency(image.since_detector.histogram, {**labels, "since": "detector"})
                self._add_latency(image.since_received.histogram, {**labels, "since": "received"})

    def _add_process(self, process: ProcessStats, labels: Mapping[str, str]) -> None:
        self._ready.add(process.state.is_ready, labels)
        self._start.add(process.started_ns / 1e9, labels)
        self._updated.add(process.updated_ns / 1e9, labels)
        self._memory.add(process.rss_bytes, labels)
        self._cpu.add(process.cpu_s, labels)
        self._busy.add(process.busy_s, labels)
        self._add_counts(process.counts, labels)
        self._add_batches(process.batches, labels)

    def _add_counts(self, counts: Mapping[str, int], labels: Mapping[str, str]) -> None:
        self._done.add(counts.get("done", 0), labels)
        for name, n in sorted(counts.items()):
            reason = rejection_reason(name)
            if reason is not None:
                # Inference has no entries of its own: the sinks record the frames that it rejected.
                self._rejected.add(n, {**labels, "reason": reason})
            elif name != "done":
                self._events.add(n, {**labels, "event": name})

    def _add_entries(self, entries: Iterable[LedgerEntry], labels: Mapping[str, str]) -> None:
        states: dict[str, int] = {}
        duplicates: int | None = None
        for entry in entries:
            for state, ids in entry.sets.items():
                states[state] = states.get(state, 0) + len(ids)
            duplicates = (duplicates or 0) + sum(entry.counts.get(name, 0) for name in ("duplicates", "redundant"))
        for state, n in sorted(states.items()):
            reason = rejection_reason(state)
            if reason is not None:
                self._rejected.add(n, {**labels, "reason": reason})
            else:
                self._frames.add(n, {**labels, "state": state})
        if duplicates is not None:
            self._duplicates.add(duplicates, labels)

    def _add_batches(self, batches: Mapping[int, int], labels: Mapping[str, str]) -> None:
        if not batches:
            return
        within = [sum(n for size, n in batches.items() if size <= bound) for bound in _BATCH_BOUNDS]
        total = sum(size * n for size, n in batches.items())
        self._batch.add_histogram(_BATCH_BOUNDS, within, sum(batches.values()), total, labels)

    def _add_latency(self, histogram: LatencyHistogram, labels: Mapping[str, str]) -> None:
        bounds_s = [bound / 1000 for bound in histogram.bounds_ms]
        self._latency.add_histogram(bounds_s, histogram.cumulative, histogram.count, histogram.sum_s, labels)
        self._clocks.add(histogram.clock_disagrees, labels)


def _description(page: Page) -> dict[str, str]:
    """Return the labels that describe a vertex."""
    match page:
        case SourcePage():
            labels = {"channel": page.channel}
        case InferencePage():
            labels = {"model": page.model, "backend": page.backend}
        case SinkPage():
            labels = {"sink": page.report.sink}
    return {"kind": page.kind, **{name: value for name, value in labels.items() if value}}
