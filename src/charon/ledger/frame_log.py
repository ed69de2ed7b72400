"""Log of frames: records of fixed size, appended to one file per replica or consumer.

The kernel keeps what was appended when the process is killed, so an account from the files survives SIGKILL.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import numpy as np

from charon.errors import Reason, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from charon.frames import FrameId

RECORD = np.dtype([("unique_id", "<i8"), ("time_ns", "<i8"), ("done_ns", "<i8"), ("outcome", "<i4"), ("queued", "<i4")])
"""uniqueId and detector time stamp; time of the event; outcome; number of frames that waited for inference.

Times are in ns since 1970. The outcome is one of the constants below or a value of `rejected`.
"""

RECEIVED = 1
"""The frame was received for the first time by this process."""

PROCESSED = 2
"""The frame's patch is available: published by the baseline, or confirmed by the buffer and acknowledged."""

STITCHED = 3
"""The frame's patch is in the image."""

REPEATED = 4
"""The frame was received again."""

PUBLISHED = 5
"""The detector published the frame."""

UNSTITCHED = 6
"""The frame's patch cannot be stitched: it has no scan position, or is too far from the others (baseline only)."""

FIRST_REJECTED = 100
"""Outcome of the first reason; outcomes from here on are rejections."""

_PACK = struct.Struct("<qqqii").pack
# Fixed numbers: the files must remain readable when a reason is added.
_CODES = {
    Reason.SHAPE: 100,
    Reason.DTYPE: 101,
    Reason.CODEC: 102,
    Reason.TRUNCATED: 103,
    Reason.EMPTY: 104,
    Reason.NOT_FINITE: 105,
    Reason.MALFORMED: 106,
    Reason.POISON: 107,
}
_REASONS = {code: reason for reason, code in _CODES.items()}


def rejected(reason: Reason) -> int:
    """Return the outcome of a frame that was rejected for a reason."""
    return _CODES[reason]


def reason_of(outcome: int) -> Reason:
    """Return the reason of the outcome of a rejected frame.

    Raises
    ------
    ValueError
        If the outcome is not a rejection.
    """
    try:
        return _REASONS[outcome]
    except KeyError:
        raise ValueError(f"outcome {outcome} of a frame log is not a rejection") from None


class FrameLog:
    """Appends records to a file, each with one write; from any thread.

    Parameters
    ----------
    path
        The file. It is created if it is missing; an incomplete record at its end, of a killed process, is removed.

    Raises
    ------
    UnavailableError
        If the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            size = os.fstat(self._file).st_size
            if size % RECORD.itemsize:
                os.ftruncate(self._file, size - size % RECORD.itemsize)
        except OSError as error:
            message = f"cannot write the frame log {path}: {error.strerror}; choose another folder"
            raise UnavailableError(message) from error

    def append(self, frame: FrameId, outcome: int, done_ns: int, queued: int = 0) -> None:
        """Append a record.

        Parameters
        ----------
        frame
            The frame.
        outcome
            What happened to it.
        done_ns
            Time of the event in ns since 1970.
        queued
            Number of frames that waited for inference.

        Raises
        ------
        OSError
            If the record cannot be written, for example on a full disk. It is fatal: an account from a log with missing
            records would be wrong.
        """
        record = _PACK(frame.unique_id, frame.time_ns, done_ns, outcome, queued)
        try:
            written = os.write(self._file, record)
            while written < len(record):
                written += os.write(self._file, record[written:])
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error

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
        """Return the new records, (n,) of `RECORD`; a record that is not complete yet is left for the next call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._bytes)
                data = file.read()
        except FileNotFoundError:
            return np.empty(0, RECORD)
        data = data[: len(data) - len(data) % RECORD.itemsize]
        self._bytes += len(data)
        return np.frombuffer(data, RECORD)
