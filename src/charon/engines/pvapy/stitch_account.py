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
    """Processed frames by the state of their patches; each is counted once.

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
    records = np.concatenate([stitcher[:0], *logs, stitcher])
    frame = _frame_numbers(records)
    position = np.arange(len(records)) - (len(records) - len(stitcher))

    def frames_with(outcome: int, first: int) -> NDArray[np.bool_]:
        """Return for each frame whether it has a record with an outcome, from a position in the stitcher's log on."""
        found = np.zeros(len(records), bool)
        found[frame[(records["outcome"] == outcome) & (position >= first)]] = True
        return found

    processed = frames_with(PROCESSED, -len(records))
    received = frames_with(RECEIVED, 0)
    stitched = frames_with(STITCHED, start)
    unstitched = frames_with(UNSTITCHED, 0) & ~stitched
    return StitchAccount(
        stitched=int(stitched.sum()),
        unstitched=int(unstitched.sum()),
        missed=int((processed & ~received).sum()),
        lost=int((received & ~stitched & ~unstitched).sum()),
    )


def _frame_numbers(records: NDArray[np.void]) -> NDArray[np.intp]:
    """Return a number for each record, equal for the records of a frame."""
    ids, times = records["unique_id"], records["time_ns"]
    order = np.lexsort((ids, times))
    ids, times = ids[order], times[order]
    numbers = np.zeros(len(records), np.intp)
    numbers[order[1:]] = np.cumsum((ids[1:] != ids[:-1]) | (times[1:] != times[:-1]))
    return numbers


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
        self._parts: list[NDArray[np.void]] = []
        self._start = 0
        self._warned = False

    def read(self) -> None:
        """Read the records that were added."""
        new = self._reader.read()
        if len(new):
            self._parts.append(new)

    def restart(self) -> None:
        """Count the patches so far as lost; called after the process has exited."""
        self.read()
        self._start = sum(len(part) for part in self._parts)

    def update(self, logs: Sequence[NDArray[np.void]], messages: list[str]) -> None:
        """Compute the account, and add a message if patches are not stitched."""
        self._parts = [np.concatenate([np.empty(0, RECORD), *self._parts])]
        self.account = stitch_account_of(logs, self._parts[0], self._start)
        if self.account.unstitched and not self._warned:
            self._warned = True
            messages.append(
                "patches without a scan position, or too far from the others, are not stitched: the baseline requires"
                " the image attributes x_position and y_position, and does not support late positions"
            )
