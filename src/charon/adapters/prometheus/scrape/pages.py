"""What a vertex's page of the ledger says, as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charon import __version__
from charon.adapters.prometheus.scrape.text import Family
from charon.ledger.pages import InferencePage, SinkPage, SourcePage
from charon.ledger.states import rejection_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from charon.ledger.entries import LedgerEntry
    from charon.ledger.latency import LatencyHistogram
    from charon.ledger.pages import Page
    from charon.ledger.process import ProcessStats

_BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128)


class Pages:
    """Metrics of the pages of a ledger: one family for each metric, a series for each page that has it."""

    def __init__(self) -> None:
        self._info = Family("charon_build_info", "gauge", "Always 1; the version of Charon.")
        self._vertex = Family("charon_vertex_info", "gauge", "Always 1; what the vertex is.")
        self._ready = Family("charon_vertex_ready", "gauge", "Whether the vertex is ready for frames.")
        self._start = Family("charon_vertex_start_time_seconds", "gauge", "When the vertex began, Unix time.")
        self._updated = Family("charon_vertex_updated_seconds", "gauge", "When the vertex last told, Unix time.")
        self._memory = Family("charon_resident_memory_bytes", "gauge", "Resident memory of the vertex's process.")
        self._cpu = Family("charon_cpu_seconds_total", "counter", "Processor time of the vertex's process.")
        self._busy = Family(
            "charon_busy_seconds_total", "counter", "Time spent preparing frames, in the network, or storing."
        )
        self._done = Family("charon_messages_total", "counter", "Messages that the vertex has dealt with.")
        self._events = Family("charon_events_total", "counter", "Other things that happened to messages, by name.")
        self._frames = Family(
            "charon_frames_total", "counter", "Frames that reached a state, each counted once by its name."
        )
        self._rejected = Family("charon_rejected_total", "counter", "Frames that were set aside, by reason.")
        self._duplicates = Family("charon_duplicates_total", "counter", "Repeats of frames that were recognised.")
        self._unreadable = Family("charon_unreadable_total", "counter", "Messages that could not be read.")
        self._batch = Family("charon_batch_size", "histogram", "Messages in a batch.")
        self._ring = Family("charon_ring_waiting", "gauge", "Frames that wait in the source for the buffer.")
        self._epochs = Family(
            "charon_detector_restarts_total", "counter", "How often the detector began to count anew."
        )
        self._positions = Family("charon_positions_waiting", "gauge", "Positions whose patch has not come yet.")
        self._latency = Family(
            "charon_latency_seconds",
            "histogram",
            "From the detector's time stamp, or from receipt by the source, until the patch is in the image.",
        )
        self._clocks = Family(
            "charon_clock_disagreements_total", "counter", "Frames whose latency says that two clocks disagree."
        )
        self._info.add(1, {"version": __version__})

    def families(self) -> list[Family]:
        """Return the families."""
        return [
            self._info,
            self._vertex,
            self._ready,
            self._start,
            self._updated,
            self._memory,
            self._cpu,
            self._busy,
            self._done,
            self._events,
            self._frames,
            self._rejected,
            self._duplicates,
            self._unreadable,
            self._batch,
            self._ring,
            self._epochs,
            self._positions,
            self._latency,
            self._clocks,
        ]

    def add(self, page: Page, labels: Mapping[str, str]) -> None:
        """Add a page.

        Parameters
        ----------
        page
            The page of a vertex.
        labels
            Labels of every series, such as the vertex's name.
        """
        self._vertex.add(1, {**labels, **_description(page)})
        self._add_process(page.process, labels)
        self._add_entries(page.entries, labels)
        if isinstance(page, SourcePage):
            self._ring.add(page.waiting, labels)
            self._epochs.add(page.restarts, labels)
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
