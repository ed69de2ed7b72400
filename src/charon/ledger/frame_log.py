"""Log of a consumer's frames: one record of fixed size per frame, appended to a file.

The kernel keeps what was appended when the process is killed, so the supervisor's account survives SIGKILL of a
consumer.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from charon.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

RECORD = np.dtype([("unique_id", "<i8"), ("time_ns", "<i8"), ("done_ns", "<i8"), ("outcome", "<i4"), ("queued", "<i4")])
"""uniqueId and detector time stamp; time of publication; outcome; frames that waited for inference."""

PROCESSED = 0
REPEATED = 1
_REASONS = tuple(Reason)
FIRST_REJECTED = 2


def rejected(reason: Reason) -> int:
    """Return the outcome of a frame that was rejected for a reason."""
    return FIRST_REJECTED + _REASONS.index(reason)


def reason_of(outcome: int) -> Reason:
    """Return the reason of the outcome of a rejected frame."""
    return _REASONS[outcome - FIRST_REJECTED]


Record = tuple[int, int, int, int, int]


class FrameLog:
    """Appends records to a file.

    Parameters
    ----------
    path
        The file; created if missing.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def append(self, records: Sequence[Record]) -> None:
        """Append records with one write."""
        os.write(self._file, np.array(records, RECORD).tobytes())

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class FrameLogReader:
    """Reads the records that were appended since the previous call.

    Parameters
    ----------
    path
        The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes = 0

    def read(self) -> NDArray[np.void]:
        """Return the new records, (n,) of `RECORD`."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._bytes)
                data = file.read()
        except FileNotFoundError:
            return np.empty(0, RECORD)
        data = data[: len(data) - len(data) % RECORD.itemsize]
        self._bytes += len(data)
        return np.frombuffer(data, RECORD)
