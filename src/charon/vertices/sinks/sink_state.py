"""Everything an image sink knows, as it follows from its log."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from charon.frames import LatePosition, Patch, Rejection
from charon.ledger.book import LedgerBook
from charon.ledger.sink_report import ImageReport
from charon.ledger.states import FrameState, rejected_state
from charon.science.latency import LatencyRecorder
from charon.vertices.seen_ids import SeenIds, SeenTimes
from charon.vertices.sinks.scan_output import Anchor, Outputs, Place, ScanOutput
from charon.vertices.sinks.sink import opened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from charon.adapters.storage.patch_log import Location, PatchLog
    from charon.frames import FrameId, Position

    Sunk = Patch | Rejection | LatePosition
    """What comes to a sink."""


@dataclass(slots=True)
class _Waiting:
    """A patch that waits for its position: where it is in the log and in the file."""

    scan: str
    location: Location
    place: Place


class ImageState:
    """Names, account, latencies and the output of each scan, after the messages that were taken.

    Taking the same messages in another order gives the same state, but for the order of rows in the
    files.

    Parameters
    ----------
    log
        Where patches that wait for their position are read again: they are not kept in memory.
    outputs
        What the outputs of all scans share.
    anchors
        Where the image of a scan is, for those whose patches were found to disagree.
    """

    def __init__(self, log: PatchLog, outputs: Outputs, anchors: Mapping[str, Anchor]) -> None:
        self.scans: dict[str, ScanOutput] = {}
        self.book = LedgerBook()
        self.since_detector = LatencyRecorder()
        self.since_received = LatencyRecorder()
        self._log = log
        self._outputs = outputs
        self._anchors = anchors
        self._names = SeenIds()
        self._times = SeenTimes()
        self._waiting: dict[tuple[str, int], list[_Waiting]] = {}
        self._positions: dict[tuple[str, int], Position] = {}

    def has(self, message: Sunk) -> bool:
        """Return whether a message of this name was taken before."""
        if isinstance(message, LatePosition):
            return self._times.has(message.channel, message.time_ns)
        return message.id in self._names

    def take(self, message: Sunk, location: Location, logged_ns: int | None = None) -> None:
        """Take a message that is new and in the log.

        Parameters
        ----------
        message
            The message.
        location
            Its place in the log.
        logged_ns
            When it was written there, if an earlier process stitched it; None where it is stitched now.
        """
        if isinstance(message, LatePosition):
            self._take_position(message, logged_ns)
            return
        self._names.add(message.id)
        if isinstance(message, Rejection):
            self._output(message.scan).reject(message)
            self._note(message.id, message.scan, rejected_state(message.reason))
            return
        self._take_patch(message, location, logged_ns)
        self._note(message.id, message.scan, FrameState.RECONSTRUCTED)

    def moved(self) -> dict[str, Anchor]:
        """Return the scans whose image ought to be elsewhere, because most patches are, and where."""
        anchors = {scan: output.better_anchor for scan, output in self.scans.items()}
        return {scan: anchor for scan, anchor in anchors.items() if anchor is not None}

    def abandon(self) -> None:
        """Let go of all files."""
        for output in self.scans.values():
            output.abandon()

    def report(self) -> ImageReport:
        """Return the latencies and the output of each scan."""
        return ImageReport(
            since_detector=self.since_detector.latency(),
            since_received=self.since_received.latency(),
            scans={scan: output.report() for scan, output in self.scans.items()},
            positions_waiting=len(self._positions),
        )

    def _note(self, frame: FrameId, scan: str, state: str) -> None:
        self.book.add(frame.channel, frame.epoch_ns, scan, state, frame.unique_id)

    def _output(self, scan: str) -> ScanOutput:
        output = self.scans.get(scan)
        if output is None:
            output = self.scans[scan] = ScanOutput(scan, self._outputs, self._anchors.get(scan))
        return output

    def _take_patch(self, patch: Patch, location: Location, logged_ns: int | None) -> None:
        output, key = self._output(patch.scan), (patch.id.channel, patch.id.time_ns)
        position_m = patch.position_m or self._positions.pop(key, None)
        stitched_ns = 0 if position_m is None else self._place(output, patch, position_m, logged_ns)
        place = output.keep(patch, position_m, stitched_ns)
        if position_m is None:
            output.waiting += 1
            self._waiting.setdefault(key, []).append(_Waiting(patch.scan, location, place))

    def _take_position(self, message: LatePosition, logged_ns: int | None) -> None:
        key = (message.channel, message.time_ns)
        self._times.add(*key)
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            self._positions[key] = message.position_m
            return
        for one in waiting:
            output = self.scans[one.scan]
            output.waiting -= 1
            patch = opened(self._log.read(one.location).payload)
            if isinstance(patch, Patch):
                stitched_ns = self._place(output, patch, message.position_m, logged_ns)
                output.set_position(one.place, message.position_m, stitched_ns)

    def _place(self, output: ScanOutput, patch: Patch, position_m: Position, logged_ns: int | None) -> int:
        """Put a patch on the canvas; return when that was, 0 if it could not be."""
        if not output.place(patch, position_m):
            return 0
        stitched_ns = time.time_ns() if logged_ns is None else logged_ns
        if patch.id.time_ns:
            self.since_detector.add(stitched_ns - patch.id.time_ns)
        if received_ns := patch.times_ns.get("received"):
            self.since_received.add(stitched_ns - received_ns)
        return stitched_ns
