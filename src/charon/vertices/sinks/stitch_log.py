"""Records of stitched patches in a frame log, one per patch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charon.frames import FrameId
from charon.ledger.frame_log import STITCHED, FrameLog, FrameLogReader
from charon.vertices.seen_ids import SeenIds

if TYPE_CHECKING:
    from pathlib import Path


class StitchLog:
    """Appends a record for each patch that is in the image, and none for a patch that has one.

    An image is also stitched again from the patch log: after a restart, and if it must move. The records of an earlier
    process are read first, so a patch that is stitched again has no second record.

    Parameters
    ----------
    path
        The file of the frame log.

    Raises
    ------
    UnavailableError
        If the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._log = FrameLog(path)
        self._recorded = SeenIds()
        records = FrameLogReader(path).read()
        for unique_id, time_ns, *_ in records[records["outcome"] == STITCHED].tolist():
            self._recorded.add(FrameId("", unique_id, time_ns))

    def add(self, frame: FrameId, stitched_ns: int) -> None:
        """Record a patch with the time at which it was stitched, in ns since 1970, unless it has a record."""
        # A record contains no channel.
        if self._recorded.add(FrameId("", frame.unique_id, frame.time_ns)):
            self._log.append(frame, STITCHED, stitched_ns)

    def close(self) -> None:
        """Close the file."""
        self._log.close()
