"""What a source has ready for Numaflow, from the ring to the acknowledgement."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

# Numaflow takes 64 MiB with what gRPC puts around a payload.
_MOST_BYTES = 64 * 2**20 - 4096
PARTITION = 0
"""The partition of every offset. Numaflow's message ids hold it: were it the replica's, a frame that two
replicas read would have two ids, and would count twice."""


@dataclass(slots=True)
class Entry:
    """A message that Numaflow has not acknowledged.

    Parameters
    ----------
    offset
        Its name as bytes: what Numaflow calls it.
    number
        Its place in the order of coming.
    acknowledged
        Resolved with the acknowledgement.
    reader
        Who has it; None while it waits.
    """

    name: str
    offset: bytes
    payload: bytes
    number: int
    acknowledged: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    reader: int | None = None


class Outbox:
    """An outlet that is read: a message is confirmed when Numaflow has acknowledged its offset.

    A reader is one stream of read requests. What a reader was given and nobody acknowledged is handed out
    again when the reader is gone: Numaflow's container was restarted, and knows nothing of it.
    """

    def __init__(self) -> None:
        self._entries: dict[bytes, Entry] = {}
        self._waiting: deque[Entry] = deque()
        self._arrived = asyncio.Event()
        self._count = 0
        self._readers: set[int] = set()
        self._reader_count = 0

    async def send(self, payload: bytes, name: str, answers: object = None) -> bool:  # noqa: ARG002 - a source answers nobody
        """Return True when Numaflow has acknowledged the message; whether it was new, Numaflow does not tell.

        Raises
        ------
        UsageError
            If the message is larger than Numaflow takes at all: nothing behind it would ever be read.
        """
        if len(payload) > _MOST_BYTES:
            raise UsageError(
                f"{name}: a message of {len(payload)} bytes is larger than Numaflow takes: let frames be binned"
            )
        offset = name.encode()
        entry = self._entries.get(offset)
        if entry is None:
            self._count += 1
            entry = self._entries[offset] = Entry(name, offset, payload, self._count)
            self._waiting.append(entry)
            self._arrived.set()
        # Whoever gives up waiting must not take the acknowledgement from another who waits for the same name.
        return await asyncio.shield(entry.acknowledged)

    @property
    def unacknowledged(self) -> int:
        """How many messages wait or are handed out."""
        return len(self._entries)

    @property
    def readers(self) -> int:
        """How many readers there are: one, or none while Numaflow's container is away."""
        return len(self._readers)

    def open_reader(self) -> int:
        """Return a new reader; there is one Numaflow beside a source, so any earlier one is gone."""
        for reader in list(self._readers):
            self.close_reader(reader)
        self._reader_count += 1
        self._readers.add(self._reader_count)
        return self._reader_count

    def close_reader(self, reader: int) -> None:
        """Hand out again what a reader had."""
        self._readers.discard(reader)
        self._wait_again(entry for entry in self._entries.values() if entry.reader == reader)
        # A read that still waits belongs to it perhaps: it is to end.
        self._arrived.set()

    async def take(self, reader: int, maximum: int, timeout_s: float) -> list[Entry]:
        """Return what waits, up to `maximum`, as soon as there is anything; an empty list after `timeout_s`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while reader in self._readers:
            taken: list[Entry] = []
            while self._waiting and len(taken) < maximum:
                entry = self._waiting.popleft()
                if entry.acknowledged.done():
                    continue
                entry.reader = reader
                taken.append(entry)
            left = deadline - loop.time()
            if taken or left <= 0 or maximum <= 0:
                return taken
            self._arrived.clear()
            try:
                async with asyncio.timeout(left):
                    await self._arrived.wait()
            except TimeoutError:
                continue
        return []

    def acknowledge(self, offsets: Iterable[bytes]) -> None:
        """Confirm messages; an offset that nobody waits for was acknowledged before."""
        for offset in offsets:
            entry = self._entries.pop(offset, None)
            if entry is not None and not entry.acknowledged.done():
                entry.acknowledged.set_result(True)

    def refuse(self, offsets: Iterable[bytes]) -> None:
        """Hand out messages again that Numaflow gives back."""
        found = (self._entries.get(offset) for offset in offsets)
        self._wait_again(entry for entry in found if entry is not None and entry.reader is not None)

    def _wait_again(self, entries: Iterable[Entry]) -> None:
        again = sorted(entries, key=lambda entry: entry.number)
        for entry in again:
            entry.reader = None
        self._waiting.extendleft(reversed(again))
        if again:
            self._arrived.set()
