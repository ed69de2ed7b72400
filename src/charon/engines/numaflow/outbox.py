"""The source's outlet on Numaflow: messages wait here until Numaflow reads and acknowledges them."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

# Numaflow limits a gRPC message to 64 MiB, including gRPC's overhead.
_MAX_PAYLOAD_BYTES = 64 * 2**20 - 4096
PARTITION = 0
"""Partition of every offset. Numaflow's message ids contain it: if it were the replica's number, a
frame that two replicas read would have two ids and count twice."""


@dataclass(slots=True)
class Entry:
    """A message that Numaflow has not acknowledged.

    Parameters
    ----------
    name
        Name of the message.
    offset
        The name as bytes, which is Numaflow's offset.
    payload
        The message in its wire format.
    number
        Position in the order of arrival.
    acknowledged
        Resolved by the acknowledgement.
    reader
        Reader that has received the message; None while the message waits.
    """

    name: str
    offset: bytes
    payload: bytes
    number: int
    acknowledged: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    reader: int | None = None


class Outbox:
    """An outlet that Numaflow polls: a message is confirmed when Numaflow has acknowledged its offset.

    A reader is one stream of read requests. When it closes, its unacknowledged messages are delivered again to the
    next reader: Numaflow's container was restarted and no longer has them.
    """

    def __init__(self) -> None:
        self._entries: dict[bytes, Entry] = {}
        self._waiting: deque[Entry] = deque()
        self._arrived = asyncio.Event()
        self._count = 0
        self._readers: set[int] = set()
        self._reader_count = 0

    async def send(self, payload: bytes, name: str) -> bool:
        """Return True once Numaflow has acknowledged the message; Numaflow does not report repeats.

        Raises
        ------
        UsageError
            If the message exceeds Numaflow's limit: it would block every message after it.
        """
        if len(payload) > _MAX_PAYLOAD_BYTES:
            raise UsageError(
                f"{name}: message of {len(payload)} bytes exceeds Numaflow's limit of 64 MiB; bin or crop the frames"
            )
        offset = name.encode()
        entry = self._entries.get(offset)
        if entry is None:
            self._count += 1
            entry = self._entries[offset] = Entry(name, offset, payload, self._count)
            self._waiting.append(entry)
            self._arrived.set()
        # Cancelling one sender must not cancel the acknowledgement for another sender of the same name.
        return await asyncio.shield(entry.acknowledged)

    @property
    def unacknowledged(self) -> int:
        """Number of messages that wait or are in flight."""
        return len(self._entries)

    @property
    def readers(self) -> int:
        """Number of open readers: 1, or 0 while Numaflow's container is not connected."""
        return len(self._readers)

    def open_reader(self) -> int:
        """Return a new reader and close any earlier one: a pod has a single Numaflow container."""
        for reader in list(self._readers):
            self.close_reader(reader)
        self._reader_count += 1
        self._readers.add(self._reader_count)
        return self._reader_count

    def close_reader(self, reader: int) -> None:
        """Requeue a reader's unacknowledged messages."""
        self._readers.discard(reader)
        self._requeue(entry for entry in self._entries.values() if entry.reader == reader)
        # Wakes a read of this reader that is still waiting, so that it returns.
        self._arrived.set()

    async def read(self, reader: int, max_messages: int, timeout_s: float) -> list[Entry]:
        """Return waiting messages, at most `max_messages`, or an empty list after `timeout_s`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while reader in self._readers:
            entries: list[Entry] = []
            while self._waiting and len(entries) < max_messages:
                entry = self._waiting.popleft()
                if entry.acknowledged.done():
                    continue
                entry.reader = reader
                entries.append(entry)
            remaining_s = deadline - loop.time()
            if entries or remaining_s <= 0 or max_messages <= 0:
                return entries
            self._arrived.clear()
            try:
                async with asyncio.timeout(remaining_s):
                    await self._arrived.wait()
            except TimeoutError:
                continue
        return []

    def acknowledge(self, offsets: Iterable[bytes]) -> None:
        """Confirm messages; ignore offsets that were acknowledged before."""
        for offset in offsets:
            entry = self._entries.pop(offset, None)
            if entry is not None and not entry.acknowledged.done():
                entry.acknowledged.set_result(True)

    def nack(self, offsets: Iterable[bytes]) -> None:
        """Requeue messages that Numaflow has returned."""
        entries = (self._entries.get(offset) for offset in offsets)
        self._requeue(entry for entry in entries if entry is not None and entry.reader is not None)

    def _requeue(self, entries: Iterable[Entry]) -> None:
        ordered = sorted(entries, key=lambda entry: entry.number)
        for entry in ordered:
            entry.reader = None
        self._waiting.extendleft(reversed(ordered))
        if ordered:
            self._arrived.set()
