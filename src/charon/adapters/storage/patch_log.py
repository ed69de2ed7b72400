"""The patch log: an append-only record of messages in the order in which they were accepted.

The log is a folder of segments, ``00000000.log`` onwards. A segment starts with eight bytes that identify the
format; records follow. A writer that is killed during a write leaves an incomplete record at the end, which the next
writer truncates. Everything else that a sink stores can be rebuilt from the log.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from charon.adapters.storage.records import (
    HEADER_BYTES,
    SEGMENT_MAGIC,
    Location,
    Record,
    header,
    next_record,
    record_at,
)
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_log = logging.getLogger(__name__)

__all__ = ["Fsync", "Location", "PatchLog", "Record", "Recovery"]

_MAX_BUFFERS = 512  # below IOV_MAX on every system

Fsync = Literal["batch", "off"]


@dataclass(frozen=True, slots=True)
class Recovery:
    """Result of opening an existing log: bytes of an incomplete record that were truncated."""

    torn_bytes: int = 0


class PatchLog:
    """Writer and reader of a log; a lock on the folder excludes a second writer.

    Parameters
    ----------
    folder
        Directory of the segments; created if missing.
    fsync
        ``batch`` writes every append to disk before it returns, so that it survives a power failure. ``off`` leaves
        this to the operating system: an append then survives a crash of the process, but not a power failure.
    segment_bytes
        Size at which a new segment starts.

    Raises
    ------
    UnavailableError
        If another process writes this log, or the folder cannot be created or written.
    """

    def __init__(self, folder: Path, *, fsync: Fsync = "batch", segment_bytes: int = 128 << 20) -> None:
        self.folder = folder
        self._fsync = fsync == "batch"
        self._segment_bytes = segment_bytes
        self._reader: tuple[int, int] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock_folder(folder)
        except UnavailableError:  # is an OSError too
            raise
        except OSError as error:
            raise UnavailableError(f"cannot create the patch log {folder}: {error.strerror}") from error
        try:
            self._number = max(self._segments(), default=0)
            self._fd = os.open(self._path(self._number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._size, self.recovery = self._recover()
        except OSError as error:
            os.close(self._lock)
            raise UnavailableError(f"cannot open the patch log {folder}: {error.strerror}") from error

    def append_many(self, payloads: Sequence[bytes], logged_ns: int | None = None) -> list[Location]:
        """Append messages, all of them or none, and return the location of each.

        Raises
        ------
        UnavailableError
            If the disk is full or cannot be written. The log then has none of the messages, and the call may be
            retried.
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
            self._start_segment_if_full(sum(lengths))
            self._write(buffers)
        except OSError as error:
            self._truncate_failed_append()
            raise UnavailableError(f"cannot write {self._path(self._number)}: {error.strerror}") from error
        locations: list[Location] = []
        for length in lengths:
            locations.append(Location(self._number, self._size))
            self._size += length
        return locations

    def replay(self, start: Location | None = None) -> Iterator[Record]:
        """Yield the complete records, starting at `start`; damaged sections are logged and skipped."""
        for number in self._segments():
            if start is not None and number < start.segment:
                continue
            offset = start.offset if start is not None and number == start.segment else len(SEGMENT_MAGIC)
            yield from self._records(number, offset)

    def read(self, location: Location) -> Record:
        """Return one record.

        Raises
        ------
        UnavailableError
            If there is no complete record at this location.
        """
        record = record_at(self._fd_of(location.segment), location)
        if record is None:
            raise UnavailableError(f"{self._path(location.segment)}: no complete record at byte {location.offset}")
        return record

    def size_bytes(self) -> int:
        """Return the size of all segments."""
        return sum(self._path(number).stat().st_size for number in self._segments())

    def close(self) -> None:
        """Close the files and release the lock."""
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
        return self.folder / f"{number:08d}.log"

    def _segments(self) -> list[int]:
        return sorted(int(path.stem) for path in self.folder.glob("[0-9]*.log"))

    def _recover(self) -> tuple[int, Recovery]:
        """Truncate an incomplete record at the end of the last segment; return the segment's size and the result."""
        size = os.fstat(self._fd).st_size
        end = 0
        if os.pread(self._fd, len(SEGMENT_MAGIC), 0) == SEGMENT_MAGIC:
            end = len(SEGMENT_MAGIC)
            for record in self._records(self._number, end):
                end = record.end
        os.ftruncate(self._fd, end)
        if end == 0:
            os.pwrite(self._fd, SEGMENT_MAGIC, 0)
            end, size = len(SEGMENT_MAGIC), max(size, len(SEGMENT_MAGIC))
        if size > end:
            _log.warning("%s: truncated an incomplete record of %d bytes", self._path(self._number), size - end)
        return end, Recovery(size - end)

    def _records(self, number: int, offset: int) -> Iterator[Record]:
        fd = self._fd_of(number)
        while True:
            record = record_at(fd, Location(number, offset))
            if record is None:
                record = next_record(fd, Location(number, offset + 1))
                if record is None:
                    return
                path = self._path(number)
                _log.error("%s: skipped damaged bytes %d to %d", path, offset, record.location.offset)
            yield record
            offset = record.end
            # The caller may have read another segment between two records, which closes this one's descriptor.
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
                raise UnavailableError(f"cannot read {self._path(number)}: {error.strerror}") from error
        return self._reader[1]

    def _start_segment_if_full(self, append_bytes: int) -> None:
        """Start a new segment if an append of this size would exceed the size limit of the current one."""
        if self._size + append_bytes <= self._segment_bytes or self._size <= len(SEGMENT_MAGIC):
            return
        path = self._path(self._number + 1)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(fd, SEGMENT_MAGIC, 0)
            if self._fsync:
                os.fsync(fd)
                _sync_folder(self.folder)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        os.close(self._fd)
        self._fd, self._number, self._size = fd, self._number + 1, len(SEGMENT_MAGIC)

    def _write(self, buffers: list[bytes | memoryview]) -> None:
        offset = self._size
        while buffers:
            written = os.pwritev(self._fd, buffers[:_MAX_BUFFERS], offset)
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

    def _truncate_failed_append(self) -> None:
        try:
            os.ftruncate(self._fd, self._size)
        except OSError as error:
            # The next append overwrites these bytes.
            _log.warning("%s: cannot truncate an incomplete record: %s", self._path(self._number), error.strerror)


def _lock_folder(folder: Path) -> int:
    path = folder / "lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise UnavailableError(
            f"the patch log {folder} is in use by another process, id {holder}; stop it or use another output folder"
        ) from error
    with suppress(OSError):  # the id serves the error message only, and the disk may be full
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
