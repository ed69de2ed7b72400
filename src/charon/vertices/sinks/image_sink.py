"""The image sink: logs the patches of all scans, and stitches, stores and shows them from that log."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import charon
from charon.adapters.storage.patch_log import PatchLog
from charon.frames import LatePosition, Patch, Rejection, WireError
from charon.ledger.sink_report import SinkReport
from charon.vertices.sinks.image_refresh import ImageRefresh, RefreshIntervals
from charon.vertices.sinks.scan_files import ScanSettings, file_stem
from charon.vertices.sinks.sink import BatchCounts, decode_for_sink
from charon.vertices.sinks.sink_state import SinkState
from charon.vertices.sinks.stitch_log import StitchLog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from charon.adapters.storage.patch_log import Fsync
    from charon.ledger.entries import LedgerEntry
    from charon.vertices.sinks.image_refresh import PublishImage
    from charon.vertices.sinks.scan import ImageAnchor
    from charon.vertices.sinks.sink import SinkMessage

_log = logging.getLogger(__name__)
_RESERVE_BYTES = 32 << 20


@dataclass(slots=True)
class _Batch:
    """Decoded messages of one call of `accept`: new ones with their payload, by message id, and repeats."""

    new: dict[str, tuple[SinkMessage, bytes]] = field(default_factory=dict[str, "tuple[SinkMessage, bytes]"])
    repeats: list[SinkMessage] = field(default_factory=list["SinkMessage"])
    unreadable: int = 0

    def counts(self) -> BatchCounts:
        kinds = [type(message) for message, _ in self.new.values()]
        return BatchCounts(
            kinds.count(Patch), kinds.count(Rejection), kinds.count(LatePosition), len(self.repeats), self.unreadable
        )


class ImageSink:
    """Appends messages to a patch log and derives everything else from it.

    A message is accepted once it is in the log. Canvases, HDF5 files, seen ids, account and latencies are rebuilt from
    the log at the start, so a killed sink resumes in the same state; only the count of duplicates restarts at 0.

    All methods except `report` must be called from one thread.

    Parameters
    ----------
    output_dir
        Folder of ``<scan>.h5``, ``<scan>.png`` and the folder ``log``.
    run
        Name of the run; each run has its own log.
    provenance
        Text to store in the files, by keyword, such as the manifest.
    publish
        Function that publishes an image to viewers; called on the image thread.
    fsync
        Whether accepted messages survive a power failure: see `PatchLog`.
    weight_radius_m, weight_profile
        Weight of a patch: see `Canvas`.
    intervals
        Intervals between refreshes of files, images and pictures.
    frame_log
        File of the frame log, for a record of each patch in the image; None writes none.

    Raises
    ------
    UnavailableError
        If another process writes the log of this run, or the folder cannot be written.
    """

    is_durable: ClassVar[bool] = True

    def __init__(
        self,
        output_dir: Path,
        *,
        run: str,
        provenance: Mapping[str, str] | None = None,
        publish: PublishImage | None = None,
        fsync: Fsync = "batch",
        weight_radius_m: float | None = None,
        weight_profile: tuple[float, ...] | None = None,
        intervals: RefreshIntervals | None = None,
        frame_log: Path | None = None,
    ) -> None:
        self._intervals = intervals or RefreshIntervals()
        provenance = {"version": charon.__version__, "run": run, **(provenance or {})}
        self._settings = ScanSettings(output_dir, run, provenance, weight_radius_m, weight_profile)
        self._log = PatchLog(output_dir / "log" / file_stem(run), fsync=fsync)
        self._stitch_log = None if frame_log is None else StitchLog(frame_log)
        self._refresh = ImageRefresh(run, self._intervals, publish)
        self._lock = threading.Lock()
        self._anchors: dict[str, ImageAnchor] = {}
        self._state = self._new_state()
        # Repeats are not in the log, so they are counted here and added after every rebuild.
        self._duplicates: Counter[tuple[str, int]] = Counter()
        self._unreadable = 0
        self._rebuild_due_s: float | None = None
        self._rebuild()

    def restore(self, entries: Sequence[LedgerEntry]) -> None:
        """Do nothing: the state is restored from the patch log."""

    def accept(self, messages: Sequence[bytes]) -> BatchCounts:
        """Log, stitch and store the messages that are new; see `Sink`."""
        batch = self._decode(messages)
        locations = self._log.append_many([payload for _, payload in batch.new.values()])
        for (message, _), location in zip(batch.new.values(), locations, strict=True):
            with self._lock:  # for each message, so that `report` waits for one patch at most
                self._state.add(message, location)
        self._count(batch)
        if self._state.new_anchors():
            self._rebuild()
        return batch.counts()

    def tick(self) -> None:
        """Write files and start images that are due; rebuild files that could not be written."""
        self._state.write_files(self._intervals.file_s)
        for scan in self._state.scans.values():
            self._refresh.tick(scan)
        self._rebuild_broken_files()

    def close(self) -> None:
        """Write the last images and the account, and close the files."""
        if self._state.has_broken_files() and self._has_space():
            self._rebuild()
        self._state.write_files(0.0)
        for scan in self._state.scans.values():
            self._refresh.finish(scan)
            scan.files.close()
        self._refresh.close()
        self._log.close()
        if self._stitch_log is not None:
            self._stitch_log.close()

    def report(self) -> SinkReport:
        """Return the account of frames, the latencies and the output of each scan; from any thread."""
        with self._lock:
            entries = self._state.account.entries()
            return SinkReport(entries=entries, unreadable=self._unreadable, image=self._state.report())

    def _decode(self, messages: Sequence[bytes]) -> _Batch:
        batch = _Batch()
        for payload in messages:
            try:
                message = decode_for_sink(payload)
            except WireError as error:
                _log.error("skipped an invalid message: %s", error)
                batch.unreadable += 1
                continue
            message_id = message.name if isinstance(message, LatePosition) else message.id.name
            if message_id in batch.new or self._state.contains(message):
                batch.repeats.append(message)
            else:
                batch.new[message_id] = message, payload
        return batch

    def _count(self, batch: _Batch) -> None:
        """Count repeated frames and invalid messages."""
        with self._lock:
            self._unreadable += batch.unreadable
            for message in batch.repeats:
                if not isinstance(message, LatePosition):
                    epoch = message.id.channel, message.id.epoch_ns
                    self._duplicates[epoch] += 1
                    self._state.account.add_duplicates(*epoch)

    def _new_state(self) -> SinkState:
        return SinkState(self._log, self._settings, self._anchors, self._stitch_log)

    def _rebuild(self) -> None:
        """Rebuild the state from the log, and again while the image of a scan must move."""
        state = self._state
        while True:
            for scan, anchor in state.new_anchors().items():
                _log.warning("scan %s: most patches are near %s m; moving the image there", scan, anchor.position_m)
                self._anchors[scan] = anchor
            state.abandon()
            state = self._new_state()
            self._replay(state)
            if not state.new_anchors():
                break
        for epoch, count in self._duplicates.items():
            state.account.add_duplicates(*epoch, count)
        with self._lock:
            self._state = state

    def _replay(self, state: SinkState) -> None:
        for record in self._log.replay():
            try:
                state.add(decode_for_sink(record.payload), record.location, record.logged_ns)
            except WireError as error:
                _log.error("skipped an invalid message in the patch log: %s", error)
            if state.new_anchors():
                return
            state.write_files(self._intervals.file_s)

    def _rebuild_broken_files(self) -> None:
        """Rebuild files that could not be written, after a delay and if the disk has space."""
        if not self._state.has_broken_files():
            return
        now = time.monotonic()
        if self._rebuild_due_s is None:
            self._rebuild_due_s = now + self._intervals.rebuild_s
        elif now >= self._rebuild_due_s:
            self._rebuild_due_s = None
            if self._has_space():
                self._rebuild()

    def _has_space(self) -> bool:
        disk = os.statvfs(self._settings.folder)
        return disk.f_bavail * disk.f_frsize > self._log.size_bytes() + _RESERVE_BYTES
