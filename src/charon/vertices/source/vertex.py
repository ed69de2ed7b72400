"""The source vertex: reads the detector's channel, publishes its frames and accounts for them."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from charon.errors import Reason
from charon.frames import encode
from charon.ledger.frame_log import rejected
from charon.ledger.pages import SourcePage
from charon.ledger.states import FrameState, VertexState, rejected_state
from charon.tasks import task_group
from charon.vertices.ledger_writer import load_previous_page
from charon.vertices.publish import publish
from charon.vertices.source.prepare import FramePreparer
from charon.vertices.source.ring import UpdateRing
from charon.vertices.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from charon.frames import FrameId, LatePosition, Position
    from charon.ledger.book import LedgerBook
    from charon.ledger.frame_log import FrameLog
    from charon.science.preprocess import Geometry
    from charon.vertices.ports import Ledger, Outlet
    from charon.vertices.source.prepare import PreparedMessage
    from charon.vertices.source.ring import MissedRange, Update

_log = logging.getLogger(__name__)
# Preparing a batch may block the event loop for this time; switching threads costs about as much.
_ON_LOOP_LIMIT_S = 0.002


class SourceVertex:
    """Reads a channel into a bounded ring, prepares the frames and publishes them under their names.

    Parameters
    ----------
    channel
        Name of the channel.
    geometry
        Crop and binning of its frames; None publishes them unchanged.
    ring_bytes
        Memory for frames that wait for the buffer; when it is full, frames are missed, and counted.
    max_in_flight
        Maximum number of published messages that are not confirmed yet.
    positions
        Returns the scan position of a frame that has none, by frame id; None if it is unknown.
    frame_log
        Log of received, repeated and rejected frames.
    """

    def __init__(
        self,
        channel: str,
        *,
        geometry: Geometry | None = None,
        ring_bytes: int = 256 * 2**20,
        max_in_flight: int = 128,
        positions: Callable[[FrameId], Position | None] | None = None,
        frame_log: FrameLog | None = None,
    ) -> None:
        self.channel = channel
        self.stats = Stats(state=VertexState.WAITING_FOR_CHANNEL)
        self._ring = UpdateRing(channel, ring_bytes, self.stats)
        self._preparer = FramePreparer(
            channel, geometry=geometry, positions=positions, stats=self.stats, frame_log=frame_log
        )
        self._frame_log = frame_log
        self._max_in_flight = max_in_flight
        # Messages popped from the ring that no outlet has confirmed.
        self._unconfirmed = 0

    @property
    def book(self) -> LedgerBook:
        """The frames that this replica has read."""
        return self._preparer.book

    @property
    def pending(self) -> int:
        """Number of messages in the ring, in preparation or in flight."""
        return self._ring.backlog + self._unconfirmed

    # Called on the thread of the channel monitor, which must not be blocked.

    def on_update(self, update: Update) -> None:
        """Buffer an update, or record it as missed if the ring is full."""
        self._ring.put(update)

    def on_position(self, position: LatePosition) -> None:
        """Buffer a late position."""
        self._ring.put_position(position)

    def on_state(self, connected: bool) -> None:
        """Record that the channel was connected or disconnected."""
        self.stats.state = VertexState.RUNNING if connected else VertexState.WAITING_FOR_CHANNEL
        _log.info("channel %s: %s", self.channel, "connected" if connected else "disconnected; waiting for it")

    # Called on the event loop.

    async def restore(self, ledger: Ledger) -> None:
        """Resume from the latest page of this replica."""
        page = await load_previous_page(ledger, self.stats)
        if isinstance(page, SourcePage):
            self._preparer.restore(page)

    async def work(self, outlets: Sequence[Outlet], stop: asyncio.Event) -> None:
        """Publish frames until `stop` is set and the ring is empty; record the remaining updates as missed."""
        self._ring.attach()
        try:
            with ThreadPoolExecutor(1, "prepare") as thread:
                async with task_group() as tasks:
                    await self._publish_until(stop, outlets, thread, tasks)
        finally:
            self.record_missed()

    def record_missed(self) -> None:
        """Record the updates in the ring as missed, because nothing will publish them."""
        while updates := self._ring.pop_batch():
            self._preparer.record_missed(updates)

    async def _publish_until(
        self, stop: asyncio.Event, outlets: Sequence[Outlet], thread: ThreadPoolExecutor, tasks: asyncio.TaskGroup
    ) -> None:
        slots = asyncio.Semaphore(self._max_in_flight)
        while self._ring.backlog or not stop.is_set():
            positions, updates = self._ring.pop_positions(), self._ring.pop_batch()
            if not positions and not updates:
                await self._ring.wait()
                continue
            self._unconfirmed += len(positions) + len(updates)
            messages = await self._prepare(updates, thread)
            self._unconfirmed -= len(updates) - len(messages)
            for send in (
                *(partial(self._publish_position, position, outlets) for position in positions),
                *(partial(self._publish_message, message, outlets) for message in messages),
            ):
                await slots.acquire()
                tasks.create_task(self._in_slot(send, slots))

    async def _prepare(
        self, updates: Sequence[Update | MissedRange], thread: ThreadPoolExecutor
    ) -> list[PreparedMessage]:
        """Prepare updates, on the event loop if that is faster than switching threads."""
        if not updates:
            return []
        if self._preparer.prepare_s * len(updates) < _ON_LOOP_LIMIT_S:
            messages = self._preparer.prepare(updates)
        else:
            messages = await asyncio.get_running_loop().run_in_executor(thread, self._preparer.prepare, updates)
        if self._preparer.frame_bytes:
            self._ring.resize(self._preparer.frame_bytes)
        return messages

    async def _in_slot(self, send: Callable[[], Awaitable[None]], slots: asyncio.Semaphore) -> None:
        try:
            await send()
        finally:
            slots.release()
            self._unconfirmed -= 1

    async def _publish_message(self, message: PreparedMessage, outlets: Sequence[Outlet]) -> None:
        new = await publish(outlets, message.payload, message.id.name)
        key = (message.id.channel, message.id.epoch_ns, message.scan)
        self.book.add(*key, FrameState.ACCEPTED, message.id.unique_id)
        if message.reason:
            self.book.add(*key, rejected_state(message.reason), message.id.unique_id)
            if self._frame_log is not None:
                self._frame_log.append(message.id, rejected(Reason(message.reason)), time.time_ns())
        self.stats.count("done")
        if not new:
            self.book.count(message.id.channel, message.id.epoch_ns, "redundant")

    async def _publish_position(self, position: LatePosition, outlets: Sequence[Outlet]) -> None:
        await publish(outlets, encode(position), position.name)
        self.stats.count("positions")

    def page(self) -> SourcePage:
        """Return this replica's page of the ledger."""
        epochs = self._preparer.epochs
        return SourcePage(
            process=self.stats.snapshot(),
            channel=self.channel,
            restarts=epochs.restarts,
            waiting=len(self._ring),
            pending=self.pending,
            last=epochs.last,
            entries=self.book.entries(),
        )
