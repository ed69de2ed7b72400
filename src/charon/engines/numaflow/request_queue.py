"""The queue between Numaflow's batches of requests and a map or sink vertex."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charon.engines.numaflow.delivery_attempts import DeliveryAttempts

_EMPTY_BATCH_TIMEOUT_S = 0.5


class PendingRequest:
    """A message from Numaflow: the vertex receives it as a delivery, the servicer awaits its completion.

    Parameters
    ----------
    queue
        The queue that holds the request.
    payload
        The message in its wire format.
    attempt
        Number of this delivery as counted in this pod; Numaflow does not report it.

    Attributes
    ----------
    result
        Message to return to Numaflow; None if the vertex produced none.
    acknowledged
        Resolves to whether the vertex acknowledged the message.
    """

    __slots__ = ("_queue", "acknowledged", "attempt", "payload", "result")

    def __init__(self, queue: RequestQueue, payload: bytes, attempt: int) -> None:
        self._queue = queue
        self.payload = payload
        self.attempt = attempt
        self.result: bytes | None = None
        self.acknowledged: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def ack(self, result: bytes | None = None, /) -> None:
        """Acknowledge the message and return its result to Numaflow."""
        self.result = result
        self._queue.complete(self, acknowledged=True)

    async def in_progress(self) -> None:
        """Do nothing: Numaflow waits while the stream is open."""

    async def release(self) -> None:
        """Return the message to Numaflow unprocessed."""
        self._queue.complete(self, acknowledged=False)


class RequestQueue:
    """Inlet of a map or sink vertex.

    Numaflow sends batches of its read batch size; the vertex reads batches of its own size from this queue.

    Parameters
    ----------
    attempts
        Counts deliveries across restarts of this process; None counts every delivery as the first.
    """

    def __init__(self, attempts: DeliveryAttempts | None = None) -> None:
        self._attempts = attempts
        self._waiting: deque[PendingRequest] = deque()
        self._arrived = asyncio.Event()
        self._closed = False
        self._receiving = 0
        self._incomplete: set[PendingRequest] = set()
        self._last_busy = time.monotonic()
        self.streams = 0
        """Number of open streams from Numaflow."""

    # Called by the servicer.

    def begin_batch(self) -> None:
        """Record that Numaflow has begun to send a batch."""
        self._receiving += 1

    def end_batch(self) -> None:
        """Record that a batch has arrived completely, so that the vertex does not linger for more of it."""
        self._receiving -= 1
        self._arrived.set()

    def put(self, payload: bytes) -> PendingRequest:
        """Queue a message for the vertex."""
        attempt = 1 if self._attempts is None else self._attempts.next_attempt(payload)
        request = PendingRequest(self, payload, attempt)
        if self._closed:
            request.acknowledged.set_result(False)
            return request
        self._incomplete.add(request)
        self._waiting.append(request)
        self._arrived.set()
        return request

    def withdraw(self, requests: Sequence[PendingRequest]) -> None:
        """Remove requests whose stream has closed; Numaflow sends their messages again."""
        withdrawn = set(requests)
        self._waiting = deque(request for request in self._waiting if request not in withdrawn)
        for request in requests:
            self.complete(request, acknowledged=False)

    @property
    def busy(self) -> bool:
        """Whether a request is incomplete or a batch is still arriving."""
        return bool(self._incomplete) or self._receiving > 0

    def idle_s(self) -> float:
        """Return the time in s since the queue was last busy."""
        if self.busy:
            self._last_busy = time.monotonic()
        return time.monotonic() - self._last_busy

    # Called by the vertex.

    async def batch(self, max_messages: int, linger_s: float) -> Sequence[PendingRequest]:
        """Return waiting requests; wait for the first one, then at most `linger_s` for more of its batch."""
        if not await self._wait(_EMPTY_BATCH_TIMEOUT_S, 1):
            return []
        if linger_s > 0 and len(self._waiting) < max_messages and self._receiving:
            await self._wait(linger_s, max_messages)
        requests = [self._waiting.popleft() for _ in range(min(max_messages, len(self._waiting)))]
        if self._attempts is not None:
            self._attempts.record((request.payload, request.attempt) for request in requests)
        return requests

    async def close(self) -> None:
        """Stop delivering and return incomplete requests to Numaflow."""
        self._closed = True
        self.withdraw(list(self._incomplete))

    def complete(self, request: PendingRequest, *, acknowledged: bool) -> None:
        """Complete a request; completing it again has no effect."""
        self._incomplete.discard(request)
        if self._attempts is not None and acknowledged:
            self._attempts.forget(request.payload)
        if request.acknowledged.done():
            return
        request.acknowledged.set_result(acknowledged)
        self._last_busy = time.monotonic()

    async def _wait(self, timeout_s: float, count: int) -> bool:
        deadline = time.monotonic() + timeout_s
        while len(self._waiting) < count:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0 or (self._waiting and not self._receiving):
                break
            self._arrived.clear()
            try:
                async with asyncio.timeout(remaining_s):
                    await self._arrived.wait()
            except TimeoutError:
                break
        return bool(self._waiting)
