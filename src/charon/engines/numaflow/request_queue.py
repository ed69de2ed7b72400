"""What Numaflow asks of a map or a sink: a batch of messages, each of which wants its answer."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charon.engines.numaflow.delivery_attempts import DeliveryAttempts

_NOTHING_S = 0.5


class PendingRequest:
    """A message that Numaflow handed over: a delivery to the vertex, an answer to wait for to Numaflow.

    Parameters
    ----------
    requests
        Where it belongs to.
    payload
        The message in its wire format.
    attempt
        How often it was handed out, as far as this pod knows: Numaflow does not tell.
    """

    __slots__ = ("_requests", "answer", "attempt", "done", "payload")

    def __init__(self, requests: RequestQueue, payload: bytes, attempt: int) -> None:
        self._requests = requests
        self.payload = payload
        self.attempt = attempt
        self.answer: bytes | None = None
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def ack(self) -> None:
        """Say that the message is dealt with: its answer may go back."""
        self._requests.end(self, dealt_with=True)

    async def in_progress(self) -> None:
        """Do nothing: Numaflow waits for as long as the stream is up."""

    async def release(self) -> None:
        """Give the message back, undone."""
        self._requests.end(self, dealt_with=False)


class RequestQueue:
    """Both ends between Numaflow's batches and a vertex: inlet and, for a map, outlet.

    Numaflow's batches are as large as its read batch size; the vertex takes of them what it takes at once.

    Parameters
    ----------
    attempts
        Remembers over the end of this process what the vertex had in hand.
    """

    def __init__(self, attempts: DeliveryAttempts | None = None) -> None:
        self._attempts = attempts
        self._waiting: deque[PendingRequest] = deque()
        self._arrived = asyncio.Event()
        self._closed = False
        self._receiving = 0
        self._open: set[PendingRequest] = set()
        self._last_busy = time.monotonic()
        self.asked = asyncio.Event()
        """Set when the vertex asks for its first batch: it is ready."""
        self.streams = 0
        """How many streams Numaflow has open."""

    # Numaflow's side.

    def begin(self) -> None:
        """Take note that a batch begins to come in."""
        self._receiving += 1

    def complete(self) -> None:
        """Take note that a batch is in: nothing is gained by waiting for more of it."""
        self._receiving -= 1
        self._arrived.set()

    def put(self, payload: bytes) -> PendingRequest:
        """Hand a message to the vertex."""
        attempt = 1 if self._attempts is None else self._attempts.attempt(payload)
        request = PendingRequest(self, payload, attempt)
        if self._closed:
            request.done.set_result(False)
            return request
        self._open.add(request)
        self._waiting.append(request)
        self._arrived.set()
        return request

    def withdraw(self, pending: Sequence[PendingRequest]) -> None:
        """Take back what the vertex has not begun: whoever asked is gone, and will ask again."""
        gone = set(pending)
        self._waiting = deque(request for request in self._waiting if request not in gone)
        for request in pending:
            self.end(request, dealt_with=False)

    @property
    def busy(self) -> bool:
        """Whether a message waits for its answer."""
        return bool(self._open) or self._receiving > 0

    def idle_s(self) -> float:
        """Return for how long nothing has waited for an answer, in s."""
        if self.busy:
            self._last_busy = time.monotonic()
        return time.monotonic() - self._last_busy

    # The vertex's side.

    async def batch(self, maximum: int, linger_s: float) -> Sequence[PendingRequest]:
        """Return what waits, up to `maximum`; wait for the first, then `linger_s` at most for more of its batch."""
        self.asked.set()
        if not await self._wait(_NOTHING_S, 1):
            return []
        if linger_s > 0 and len(self._waiting) < maximum and self._receiving:
            await self._wait(linger_s, maximum)
        taken = [self._waiting.popleft() for _ in range(min(maximum, len(self._waiting)))]
        if self._attempts is not None:
            self._attempts.take((request.payload, request.attempt) for request in taken)
        return taken

    async def send(self, payload: bytes, name: str, answers: object = None) -> bool:  # noqa: ARG002 - a request knows its answer
        """Note the answer to a request; it goes back when the request is acknowledged."""
        if not isinstance(answers, PendingRequest):
            raise TypeError("on Numaflow a map hands on nothing but answers")
        answers.answer = payload
        return True

    async def close(self) -> None:
        """Hand out nothing more; what is not dealt with is given back."""
        self._closed = True
        self.withdraw(list(self._open))

    def end(self, request: PendingRequest, *, dealt_with: bool) -> None:
        """Resolve a request once; one that nobody waits for any more has an end too."""
        self._open.discard(request)
        if self._attempts is not None and dealt_with:
            self._attempts.drop(request.payload)
        if request.done.done():
            return
        request.done.set_result(dealt_with)
        self._last_busy = time.monotonic()

    async def _wait(self, seconds: float, count: int) -> bool:
        deadline = time.monotonic() + seconds
        while len(self._waiting) < count:
            left = deadline - time.monotonic()
            if left <= 0 or (self._waiting and not self._receiving):
                break
            self._arrived.clear()
            try:
                async with asyncio.timeout(left):
                    await self._arrived.wait()
            except TimeoutError:
                break
        return bool(self._waiting)
