"""The account of stitched patches, from the frame logs of the consumers and of the stitching consumer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from charon.ledger.frame_log import PROCESSED, RECEIVED, RECORD, STITCHED, UNSTITCHED, FrameLogReader

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class StitchAccount:
    """Processed frames by what became of their patches; each is counted once.

    Parameters
    ----------
    stitched
        Patches in the image.
    unstitched
        Patches that cannot be stitched: without a scan position, or too far from the others.
    missed
        Results that the stitching consumer did not receive.
    lost
        Patches that the stitching consumer received before it was killed, which are not in the image.
    """

    stitched: int = 0
    unstitched: int = 0
    missed: int = 0
    lost: int = 0

    def to_json(self) -> dict[str, int]:
        """Return the account as JSON values, with the names in the summary."""
        return {
            "stitched": self.stitched,
            "unstitched": self.unstitched,
            "missed_by_stitcher": self.missed,
            "lost_by_stitcher": self.lost,
        }


def stitch_account_of(logs: Sequence[NDArray[np.void]], stitcher: NDArray[np.void], start: int = 0) -> StitchAccount:
    """Return the account of stitched patches.

    Parameters
    ----------
    logs
        The records of each consumer, (n,) of `charon.ledger.frame_log.RECORD`.
    stitcher
        The records of the stitching consumer.
    start
        Number of records that its earlier processes have written: their image is lost.
    """
    processed = _frames(np.concatenate([stitcher[:0], *logs]), PROCESSED)
    received = _frames(stitcher, RECEIVED)
    stitched = _frames(stitcher[start:], STITCHED)
    unstitched = np.setdiff1d(_frames(stitcher, UNSTITCHED), stitched)
    return StitchAccount(
        stitched=len(stitched),
        unstitched=len(unstitched),
        missed=len(np.setdiff1d(processed, received)),
        lost=len(np.setdiff1d(np.setdiff1d(received, stitched), unstitched)),
    )


class StitchReader:
    """Reads the records of the stitching consumer, over its restarts.

    Parameters
    ----------
    path
        Its frame log.
    """

    def __init__(self, path: Path) -> None:
        self.account = StitchAccount()
        self._reader = FrameLogReader(path)
        self._records = np.empty(0, RECORD)
        self._start = 0
        self._warned = False

    def read(self) -> None:
        """Read the records that were added."""
        new = self._reader.read()
        if len(new):
            self._records = np.concatenate([self._records, new])

    def restart(self) -> None:
        """Count the patches so far as lost; called after the process has exited."""
        self.read()
        self._start = len(self._records)

    def update(self, logs: Sequence[NDArray[np.void]], messages: list[str]) -> None:
        """Compute the account, and add a message if patches are not stitched."""
        self.account = stitch_account_of(logs, self._records, self._start)
        if self.account.unstitched and not self._warned:
            self._warned = True
            messages.append(
                "patches without a scan position, or too far from the others, are not stitched: the baseline needs the"
                " image attributes x_position and y_position, and does not support late positions"
            )


def _frames(records: NDArray[np.void], outcome: int) -> NDArray[np.void]:
    """Return the distinct frames with an outcome, as (time_ns, unique_id)."""
    return np.unique(records[records["outcome"] == outcome][["time_ns", "unique_id"]])
