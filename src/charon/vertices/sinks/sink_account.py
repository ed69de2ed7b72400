"""Account of frames and latencies of an image sink."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from charon.ledger.book import LedgerBook
from charon.science.latency import LatencyRecorder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charon.frames import FrameId, Patch
    from charon.ledger.entries import LedgerEntry


class StitchRecorder(Protocol):
    """Records the patches in the image."""

    def add(self, frame: FrameId, stitched_ns: int) -> None:
        """Record a patch with the time at which it was stitched, in ns since 1970."""
        ...


class SinkAccount:
    """Frames by state, and latencies until a patch is in the image, over all scans.

    Parameters
    ----------
    stitch_log
        Records each patch in the image; None records none.
    """

    def __init__(self, stitch_log: StitchRecorder | None = None) -> None:
        self._stitch_log = stitch_log
        self._book = LedgerBook()
        self.since_detector = LatencyRecorder()
        self.since_received = LatencyRecorder()

    def add(self, frame: FrameId, scan: str, state: str) -> None:
        """Count a frame in a state."""
        self._book.add(frame.channel, frame.epoch_ns, scan, state, frame.unique_id)

    def add_duplicates(self, channel: str, epoch_ns: int, count: int = 1) -> None:
        """Count repeats of frames of an epoch."""
        self._book.count(channel, epoch_ns, "duplicates", count)

    def add_stitched(self, patch: Patch, stitched_ns: int) -> None:
        """Record a patch that is in the image, and its latencies."""
        if self._stitch_log is not None:
            self._stitch_log.add(patch.id, stitched_ns)
        if patch.id.time_ns:
            self.since_detector.add(stitched_ns - patch.id.time_ns)
        if received_ns := patch.times_ns.get("received"):
            self.since_received.add(stitched_ns - received_ns)

    def totals(self, scan: str) -> dict[str, int]:
        """Return the number of frames of a scan in each state."""
        return self._book.totals(scan)

    def entries(self) -> Sequence[LedgerEntry]:
        """Return the account for the page of the ledger."""
        return self._book.entries()
