"""What a vertex's page of the ledger says, as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from charon import __version__
from charon.adapters.prometheus.scrape.text import Family

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_READY = frozenset({"running", "waiting for the channel"})
_BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128)
_REJECTED = "rejected:"


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

    def add(self, page: Mapping[str, Any], labels: Mapping[str, str]) -> None:
        """Add a page.

        Parameters
        ----------
        page
            What a vertex's ``document`` returns. What it does not hold gives no series.
        labels
            Of every series, such as the vertex's name.
        """
        about = {key: str(page[key]) for key in ("kind", "channel", "model", "backend", "sink") if page.get(key)}
        self._vertex.add(1, {**labels, **about})
        self._ready.add(page.get("state") in _READY, labels)
        if "started_ns" in page:
            self._start.add(page["started_ns"] / 1e9, labels)
            self._updated.add(page["updated_ns"] / 1e9, labels)
            self._memory.add(page["rss_bytes"], labels)
            self._cpu.add(page["cpu_s"], labels)
            self._busy.add(page["busy_s"], labels)
        self._add_counts(page.get("counts", {}), labels)
        self._add_epochs(page.get("ledger", {}).get("epochs", ()), labels)
        self._add_batches(page.get("batches", {}), labels)
        if page.get("kind") == "source":
            self._ring.add(page["waiting"], labels)
            self._epochs.add(page["restarts"], labels)
        if "positions_waiting" in page:
            self._positions.add(page["positions_waiting"], labels)
        if "unreadable" in page:
            self._unreadable.add(page["unreadable"], labels)
        for since, told in page.get("latency_histograms", {}).items():
            where = {**labels, "since": since}
            bounds_s = [bound / 1000 for bound in told["bounds_ms"]]
            self._latency.add_histogram(bounds_s, told["cumulative"], told["count"], told["sum_s"], where)
            self._clocks.add(told["clock_disagrees"], where)

    def _add_counts(self, counts: Mapping[str, int], labels: Mapping[str, str]) -> None:
        self._done.add(counts.get("done", 0), labels)
        for name, n in sorted(counts.items()):
            if name.startswith(_REJECTED):
                # Inference has no ledger of names: what it set aside is in the sinks' too.
                self._rejected.add(n, {**labels, "reason": name.removeprefix(_REJECTED)})
            elif name != "done":
                self._events.add(n, {**labels, "event": name})

    def _add_epochs(self, epochs: Iterable[Mapping[str, Any]], labels: Mapping[str, str]) -> None:
        states: dict[str, int] = {}
        duplicates: int | None = None
        for epoch in epochs:
            for state, ranges in epoch["sets"].items():
                states[state] = states.get(state, 0) + sum(last - first + 1 for first, last in ranges)
            duplicates = (duplicates or 0) + sum(
                int(epoch["counts"].get(name, 0)) for name in ("duplicates", "redundant")
            )
        for state, n in sorted(states.items()):
            if state.startswith(_REJECTED):
                self._rejected.add(n, {**labels, "reason": state.removeprefix(_REJECTED)})
            else:
                self._frames.add(n, {**labels, "state": state})
        if duplicates is not None:
            self._duplicates.add(duplicates, labels)

    def _add_batches(self, batches: Mapping[str, int], labels: Mapping[str, str]) -> None:
        if not batches:
            return
        sizes = {int(size): n for size, n in batches.items()}
        within = [sum(n for size, n in sizes.items() if size <= bound) for bound in _BATCH_BOUNDS]
        total = sum(size * n for size, n in sizes.items())
        self._batch.add_histogram(_BATCH_BOUNDS, within, sum(sizes.values()), total, labels)
