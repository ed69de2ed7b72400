"""The form of a record in the log.

A header (magic, length of the payload, CRC-32 of length, time and payload, time of writing in ns since
1970; little-endian) and the payload.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import NamedTuple

FORM = b"CHARON\x01\n"
"""What a segment begins with."""

_MAGIC = b"\xc3pat"
_HEADER = struct.Struct("<4sIIq")
_CHECKED = struct.Struct("<Iq")
_SEARCH_BYTES = 1 << 20

HEADER_BYTES = _HEADER.size
"""Bytes of a record before its payload."""


class Location(NamedTuple):
    """Where a record is: number of its segment and offset in bytes."""

    segment: int
    offset: int


class Record(NamedTuple):
    """A record as it was written."""

    location: Location
    logged_ns: int
    payload: bytes


def header(payload: bytes, logged_ns: int) -> bytes:
    """Return what goes before a payload."""
    crc = zlib.crc32(payload, zlib.crc32(_CHECKED.pack(len(payload), logged_ns)))
    return _HEADER.pack(_MAGIC, len(payload), crc, logged_ns)


def record_at(fd: int, location: Location) -> Record | None:
    """Return the record that begins at a place; None if none does, or it is torn or damaged."""
    found = os.pread(fd, HEADER_BYTES, location.offset)
    if len(found) < HEADER_BYTES or found[:4] != _MAGIC:
        return None
    _, length, _, logged_ns = _HEADER.unpack(found)
    # A damaged length must not become a huge buffer.
    if location.offset + HEADER_BYTES + length > os.fstat(fd).st_size:
        return None
    payload = os.pread(fd, length, location.offset + HEADER_BYTES)
    return Record(location, logged_ns, payload) if header(payload, logged_ns) == found else None


def next_record(fd: int, start: Location) -> Record | None:
    """Return the first complete record at or after a place, which need not be where one begins."""
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
