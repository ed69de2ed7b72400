"""The bounded ring between the thread of the channel monitor and the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from charon.errors import BadFrameError

if TYPE_CHECKING:
    from charon.frames import Frame, FrameId, LatePosition
    from charon.vertices.stats import Stats

_log = logging.getLogger(__name__)
# Updates prepared together: enough to amortise the thread switch, few enough for low latency.
_MAX_BATCH = 8
# Capacity until the size of a frame is known, and its lower bound afterwards.
_INITIAL_UPDATES = 256
_MIN_UPDATES = 64
_WAIT_TIMEOUT_S = 0.1


class Update(Protocol):
    """One update of the detector's channel, not yet decoded."""

    @property
    def received_ns(self) -> int:
        """Time of arrival by the local clock, in ns since 1970."""
        ...

    def identify(self) -> FrameId:
        """Return the frame's id, even if its image is bad; raise BadFrameError if the update is not a frame."""
        ...

    def frame(self) -> Frame:
        """Return the frame; raise BadFrameError if it is bad."""
        ...


@dataclass(slots=True)
class MissedRange:
    """Consecutive frames that were dropped because the ring was full, recorded in order with the others."""

    first: FrameId
    last: FrameId

    def extend(self, frame_id: FrameId) -> bool:
        """Add a frame if it directly follows the last one; return whether it was added."""
        if frame_id.unique_id != self.last.unique_id + 1 or frame_id.time_ns < self.last.time_ns:
            return False
        self.last = frame_id
        return True


class UpdateRing:
    """Buffers updates and late positions; drops updates while it is full.

    Parameters
    ----------
    channel
        Name of the channel, for the log.
    max_bytes
        Memory for the images of waiting updates.
    stats
        Counters of the vertex.
    """

    def __init__(self, channel: str, max_bytes: int, stats: Stats) -> None:
        self._channel = channel
        self._max_bytes = max_bytes
        self._stats = stats
        self._updates: deque[Update | MissedRange] = deque()
        self._max_updates = _INITIAL_UPDATES
        self._positions: deque[LatePosition] = deque()
        # A range must not be popped while it is being extended.
        self._range_lock = threading.Lock()
        self._overflowing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._updates)

    @property
    def backlog(self) -> int:
        """Number of waiting updates and positions."""
        return len(self._updates) + len(self._positions)

    # Called on the thread of the channel monitor.

    def put(self, update: Update) -> None:
        """Append an update, or record it as missed if the ring is full."""
        if len(self._updates) >= self._max_updates:
            self._record_missed(update)
            return
        self._updates.append(update)
        self._wake()

    def put_position(self, position: LatePosition) -> None:
        """Append a late position; positions are small and never dropped."""
        self._positions.append(position)
        self._wake()

    def _record_missed(self, update: Update) -> None:
        self._stats.count("overflow")
        try:
            frame_id = update.identify()
        except BadFrameError:
            return
        with self._range_lock:
            last = self._updates[-1] if self._updates else None
            if not (isinstance(last, MissedRange) and last.extend(frame_id)):
                self._updates.append(MissedRange(frame_id, frame_id))
        if not self._overflowing:
            self._overflowing = True
            _log.warning("channel %s: ring full; frames are missed until the buffer accepts more", self._channel)

    def _wake(self) -> None:
        if self._loop is not None and not self._arrived.is_set():
            self._loop.call_soon_threadsafe(self._arrived.set)

    # Called on the event loop.

    def attach(self) -> None:
        """Make every further arrival wake the running event loop."""
        self._loop = asyncio.get_running_loop()

    def resize(self, frame_bytes: int) -> None:
        """Set the capacity to the number of frames of this size that fit into the memory."""
        self._max_updates = max(_MIN_UPDATES, self._max_bytes // max(1, frame_bytes))

    def pop_batch(self) -> list[Update | MissedRange]:
        """Remove and return the next updates, at most a few."""
        with self._range_lock:
            batch = [self._updates.popleft() for _ in range(min(_MAX_BATCH, len(self._updates)))]
        if not self._updates:
            self._overflowing = False
        return batch

    def pop_positions(self) -> list[LatePosition]:
        """Remove and return all waiting positions."""
        return [self._positions.popleft() for _ in range(len(self._positions))]

    async def wait(self) -> None:
        """Wait for an update or position, but only briefly: a stop does not wake the ring."""
        self._arrived.clear()
        if self.backlog:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_TIMEOUT_S):
                await self._arrived.wait()
