"""Format of a record in the patch log.

A record is a header (magic number, length of the payload, CRC-32 of length, time and payload, time of writing in ns
since 1970; little-endian) followed by the payload.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import NamedTuple

SEGMENT_MAGIC = b"CHARON\x01\n"
"""The first bytes of a segment: program and version of the format."""

_MAGIC = b"\xc3pat"
_HEADER = struct.Struct("<4sIIq")
_CHECKED = struct.Struct("<Iq")
_SEARCH_BYTES = 1 << 20

HEADER_BYTES = _HEADER.size
"""Size of the header of a record."""


class Location(NamedTuple):
    """Location of a record: number of its segment and offset in bytes."""

    segment: int
    offset: int


class Record(NamedTuple):
    """A record with its location and the time at which it was written, in ns since 1970."""

    location: Location
    logged_ns: int
    payload: bytes

    @property
    def end(self) -> int:
        """Offset of the first byte after the record."""
        return self.location.offset + HEADER_BYTES + len(self.payload)


def header(payload: bytes, logged_ns: int) -> bytes:
    """Return the header of a record with this payload."""
    crc = zlib.crc32(payload, zlib.crc32(_CHECKED.pack(len(payload), logged_ns)))
    return _HEADER.pack(_MAGIC, len(payload), crc, logged_ns)


def record_at(fd: int, location: Location) -> Record | None:
    """Return the record at a location; None if there is none, or if it is incomplete or damaged."""
    stored = os.pread(fd, HEADER_BYTES, location.offset)
    if len(stored) < HEADER_BYTES or stored[:4] != _MAGIC:
        return None
    _, length, _, logged_ns = _HEADER.unpack(stored)
    # A damaged length must not allocate a huge buffer.
    if location.offset + HEADER_BYTES + length > os.fstat(fd).st_size:
        return None
    payload = os.pread(fd, length, location.offset + HEADER_BYTES)
    return Record(location, logged_ns, payload) if header(payload, logged_ns) == stored else None


def next_record(fd: int, start: Location) -> Record | None:
    """Return the first complete record at or after a location, which may be inside another record."""
    offset = start.offset
    while chunk := os.pread(fd, _SEARCH_BYTES, offset):
        k = chunk.find(_MAGIC)
        while k >= 0:
            record = record_at(fd, Location(start.segment, offset + k))
            if record is not None:
                return record
            k = chunk.find(_MAGIC, k + 1)
        if len(chunk) < len(_MAGIC):
            return None
        offset += len(chunk) - len(_MAGIC) + 1
    return None
