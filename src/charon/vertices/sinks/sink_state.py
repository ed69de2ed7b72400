"""State of an image sink that follows from its patch log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from charon.frames import LatePosition, Patch, Rejection
from charon.ledger.sink_report import ImageReport
from charon.vertices.seen_ids import SeenIds, SeenTimes
from charon.vertices.sinks.scan import Scan
from charon.vertices.sinks.sink import decode_for_sink
from charon.vertices.sinks.sink_account import SinkAccount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from charon.adapters.storage.patch_log import Location, PatchLog
    from charon.frames import Position
    from charon.vertices.sinks.scan import ImageAnchor
    from charon.vertices.sinks.scan_files import RowId, ScanSettings
    from charon.vertices.sinks.sink import SinkMessage
    from charon.vertices.sinks.stitch_log import StitchLog


@dataclass(slots=True)
class _WaitingPatch:
    """A patch without a position: its scan, its location in the log and its row in the file."""

    scan: Scan
    location: Location
    row_id: RowId


class SinkState:
    """The scans, the ids of all messages, and patches and late positions that wait for each other.

    The order of messages affects only the order of rows in the files.

    Parameters
    ----------
    log
        The patch log; patches that wait for a position are read again from it, to save memory.
    settings
        Settings of all scans.
    anchors
        Positions that the images of scans must include.
    stitch_log
        Log with a record of each patch in the image; None writes none.
    """

    def __init__(
        self,
        log: PatchLog,
        settings: ScanSettings,
        anchors: Mapping[str, ImageAnchor],
        stitch_log: StitchLog | None = None,
    ) -> None:
        self.scans: dict[str, Scan] = {}
        self.account = SinkAccount(stitch_log)
        self._log = log
        self._settings = settings
        self._anchors = anchors
        self._frames = SeenIds()
        self._position_times = SeenTimes()
        self._waiting_patches: dict[tuple[str, int], list[_WaitingPatch]] = {}
        self._waiting_positions: dict[tuple[str, int], Position] = {}

    def contains(self, message: SinkMessage) -> bool:
        """Return whether a message with the same message id was added before."""
        if isinstance(message, LatePosition):
            return self._position_times.has(message.channel, message.time_ns)
        return message.id in self._frames

    def add(self, message: SinkMessage, location: Location, logged_ns: int | None = None) -> None:
        """Add a new message that is in the log.

        Parameters
        ----------
        message
            The message.
        location
            Location of the message in the log.
        logged_ns
            Time at which an earlier process logged the message; None if the message was just received.
        """
        if isinstance(message, LatePosition):
            self._add_position(message, logged_ns)
            return
        self._frames.add(message.id)
        if isinstance(message, Rejection):
            self._scan(message.scan).add_rejection(message)
        else:
            self._add_patch(message, location, logged_ns)

    def new_anchors(self) -> dict[str, ImageAnchor]:
        """Return the anchors of scans whose image must move, because most patches are far from it."""
        anchors = {name: scan.new_anchor for name, scan in self.scans.items()}
        return {name: anchor for name, anchor in anchors.items() if anchor is not None}

    def has_broken_files(self) -> bool:
        """Return whether the files of a scan must be rebuilt."""
        return any(scan.files.is_broken for scan in self.scans.values())

    def write_files(self, interval_s: float) -> None:
        """Write pending rows of every scan that was last written `interval_s` ago."""
        for scan in self.scans.values():
            scan.files.write(interval_s)

    def abandon(self) -> None:
        """Close all files without finishing them."""
        for scan in self.scans.values():
            scan.files.abandon()

    def report(self) -> ImageReport:
        """Return the latencies and the output of each scan."""
        return ImageReport(
            since_detector=self.account.since_detector.latency(),
            since_received=self.account.since_received.latency(),
            scans={name: scan.report() for name, scan in self.scans.items()},
            positions_waiting=len(self._waiting_positions),
        )

    def _scan(self, name: str) -> Scan:
        scan = self.scans.get(name)
        if scan is None:
            scan = self.scans[name] = Scan(name, self._settings, self.account, self._anchors.get(name))
        return scan

    def _add_patch(self, patch: Patch, location: Location, logged_ns: int | None) -> None:
        scan, key = self._scan(patch.scan), (patch.id.channel, patch.id.time_ns)
        position_m = patch.position_m or self._waiting_positions.pop(key, None)
        row_id = scan.add_patch(patch, position_m, logged_ns)
        if position_m is None:
            self._waiting_patches.setdefault(key, []).append(_WaitingPatch(scan, location, row_id))

    def _add_position(self, message: LatePosition, logged_ns: int | None) -> None:
        key = (message.channel, message.time_ns)
        self._position_times.add(*key)
        waiting_patches = self._waiting_patches.pop(key, None)
        if waiting_patches is None:
            self._waiting_positions[key] = message.position_m
            return
        for waiting in waiting_patches:
            patch = decode_for_sink(self._log.read(waiting.location).payload)
            if isinstance(patch, Patch):
                waiting.scan.add_position(patch, waiting.row_id, message.position_m, logged_ns)
