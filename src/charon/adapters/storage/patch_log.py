"""The log: messages appended in the order of arrival, complete or not there at all.

A directory of segments, ``00000000.log`` onwards. A segment begins with eight bytes that name the
form, then come records. A writer that is killed in the middle of a record leaves a torn tail, which the
next one cuts off. Everything else is derived from the log.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from charon.adapters.storage.records import FORM, HEADER_BYTES, Location, Record, header, next_record, record_at
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_log = logging.getLogger(__name__)

__all__ = ["Fsync", "Location", "PatchLog", "Record", "Recovery"]

_MOST_BUFFERS = 512  # fewer than IOV_MAX everywhere

Fsync = Literal["batch", "off"]


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found on opening: bytes of a torn tail that were cut off."""

    torn_bytes: int = 0


class PatchLog:
    """The one writer of a log, and its reader.

    Parameters
    ----------
    directory
        Where the segments are; made if need be.
    fsync
        ``batch`` forces every append to the disk before it returns, so that it survives the loss of
        power; ``off`` leaves that to the operating system: it then survives the end of this process.
    segment_bytes
        Size at which a new segment is begun.

    Raises
    ------
    UnavailableError
        If another process writes this log, or the directory cannot be made or written.
    """

    def __init__(self, directory: Path, *, fsync: Fsync = "batch", segment_bytes: int = 128 << 20) -> None:
        self.directory = directory
        self._fsync = fsync == "batch"
        self._segment_bytes = segment_bytes
        self._reader: tuple[int, int] | None = None
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(directory)
        except UnavailableError:
            raise
        except OSError as error:
            raise UnavailableError(f"the log {directory} cannot be made: {error.strerror}") from error
        try:
            self._number = max(self._segments(), default=0)
            self._fd = os.open(self._path(self._number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._size, self.recovery = self._recovered()
        except OSError as error:
            os.close(self._lock)
            raise UnavailableError(f"the log {directory} cannot be opened: {error.strerror}") from error

    def append_many(self, payloads: Sequence[bytes], logged_ns: int | None = None) -> list[Location]:
        """Append messages; when this returns they are there, all of them.

        Raises
        ------
        UnavailableError
            If the disk is full or cannot be written. None of the messages is there then, and the same
            call may be tried again later.
        """
        if not payloads:
            return []
        now = time.time_ns() if logged_ns is None else logged_ns
        buffers: list[bytes | memoryview] = []
        lengths: list[int] = []
        for payload in payloads:
            buffers += (header(payload, now), payload)
            lengths.append(HEADER_BYTES + len(payload))
        try:
            self._turn_over(sum(lengths))
            self._write(buffers)
        except OSError as error:
            self._cut_back()
            raise UnavailableError(f"the log {self._path(self._number)} cannot be written: {error.strerror}") from error
        locations: list[Location] = []
        for length in lengths:
            locations.append(Location(self._number, self._size))
            self._size += length
        return locations

    def replay(self, start: Location | None = None) -> Iterator[Record]:
        """Iterate over the complete records from `start` on; a damaged stretch is skipped and reported."""
        for number in self._segments():
            if start is not None and number < start.segment:
                continue
            offset = start.offset if start is not None and number == start.segment else len(FORM)
            yield from self._records(number, offset)

    def read(self, location: Location) -> Record:
        """Return one record.

        Raises
        ------
        UnavailableError
            If there is no complete record at this place.
        """
        record = record_at(self._fd_of(location.segment), location)
        if record is None:
            raise UnavailableError(f"the log {self._path(location.segment)} has no record at {location.offset}")
        return record

    def size_bytes(self) -> int:
        """Return how much all segments hold."""
        return sum(self._path(number).stat().st_size for number in self._segments())

    def close(self) -> None:
        """Let go of the files and of the lock."""
        if self._reader is not None:
            os.close(self._reader[1])
            self._reader = None
        os.close(self._fd)
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:08d}.log"

    def _segments(self) -> list[int]:
        return sorted(int(path.stem) for path in self.directory.glob("[0-9]*.log"))

    def _recovered(self) -> tuple[int, Recovery]:
        """Cut a torn tail off the last segment; return its size and what was cut."""
        size = os.fstat(self._fd).st_size
        end = 0
        if os.pread(self._fd, len(FORM), 0) == FORM:
            end = len(FORM)
            for record in self._records(self._number, end):
                end = record.location.offset + HEADER_BYTES + len(record.payload)
        os.ftruncate(self._fd, end)
        if end == 0:
            os.pwrite(self._fd, FORM, 0)
            end, size = len(FORM), max(size, len(FORM))
        if size > end:
            _log.warning("%s ended in a torn record: %d bytes cut off", self._path(self._number), size - end)
        return end, Recovery(size - end)

    def _records(self, number: int, offset: int) -> Iterator[Record]:
        fd = self._fd_of(number)
        while True:
            record = record_at(fd, Location(number, offset))
            if record is None:
                found = next_record(fd, Location(number, offset + 1))
                if found is None:
                    return
                _log.error("%s is damaged from byte %d to %d", self._path(number), offset, found.location.offset)
                record = found
            yield record
            offset = record.location.offset + HEADER_BYTES + len(record.payload)
            fd = self._fd_of(number)

    def _fd_of(self, number: int) -> int:
        if number == self._number:
            return self._fd
        if self._reader is None or self._reader[0] != number:
            if self._reader is not None:
                os.close(self._reader[1])
                self._reader = None
            try:
                self._reader = (number, os.open(self._path(number), os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                raise UnavailableError(f"the log {self._path(number)} cannot be read: {error.strerror}") from error
        return self._reader[1]

    def _turn_over(self, coming: int) -> None:
        """Begin a new segment where the coming bytes would make this one too large."""
        if self._size + coming <= self._segment_bytes or self._size <= len(FORM):
            return
        path = self._path(self._number + 1)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(fd, FORM, 0)
            if self._fsync:
                os.fsync(fd)
                _sync_directory(self.directory)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        os.close(self._fd)
        self._fd, self._number, self._size = fd, self._number + 1, len(FORM)

    def _write(self, buffers: list[bytes | memoryview]) -> None:
        offset = self._size
        while buffers:
            written = os.pwritev(self._fd, buffers[:_MOST_BUFFERS], offset)
            offset += written
            k = 0
            while k < len(buffers) and written >= len(buffers[k]):
                written -= len(buffers[k])
                k += 1
            buffers = buffers[k:]
            if written:
                buffers[0] = memoryview(buffers[0])[written:]
        if self._fsync:
            os.fdatasync(self._fd)

    def _cut_back(self) -> None:
        """Take back what a failed append left; the next one would write over it in any case."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError as error:
            _log.warning("%s keeps a torn tail for now: %s", self._path(self._number), error.strerror)


def _locked(directory: Path) -> int:
    path = directory / "lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise UnavailableError(f"the log {directory} is being written by another process, id {holder}") from error
    with suppress(OSError):  # who holds it is only for the message; the disk may be full
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
