"""Reading end of an edge: it prefetches messages from the shared work queue."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError

from charon.adapters.nats.streams import READER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from charon.adapters.nats.client import Client
    from charon.adapters.nats.connection import NatsConnection

_EMPTY_BATCH_TIMEOUT_S = 0.5
# Far below the time after which JetStream redelivers a message that is not acknowledged.
_EXTEND_INTERVAL_S = 0.5
# Three missed heartbeats: the server has lost the pull request, for example in a restart.
_SILENCE_TIMEOUT_S = 3.0
_PULL_EXPIRY_NS = 30 * 10**9
_HEARTBEAT_NS = 10**9
_HEARTBEAT_STATUS = "100"


class BufferedDelivery:
    """A message from an edge, redelivered until it is acknowledged.

    Parameters
    ----------
    client
        Client that received the message.
    msg
        The message.
    """

    __slots__ = ("_client", "_payload", "_reply")

    def __init__(self, client: Client, msg: Msg) -> None:
        self._client = client
        self._payload = msg.data
        self._reply = msg.reply

    @property
    def payload(self) -> bytes:
        """The message in its wire format."""
        return self._payload

    @property
    def attempt(self) -> int:
        """Number of deliveries of the message so far, 1 for the first."""
        # The subject is $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>.
        # Counted from the end, because a domain and an account may precede the stream.
        return int(self._reply.split(".")[-5]) if self._reply else 1

    @property
    def sequence(self) -> int:
        """Sequence number in the stream, the same in each delivery."""
        return int(self._reply.split(".")[-4]) if self._reply else 0

    async def ack(self, _result: bytes | None = None, /) -> None:
        """Acknowledge the message; its result was published to the outlets."""
        await self._respond(b"+ACK")

    async def in_progress(self) -> None:
        """Extend the time before the message is redelivered."""
        await self._respond(b"+WPI")

    async def release(self) -> None:
        """Return the message for immediate redelivery."""
        await self._respond(b"-NAK")

    async def _respond(self, response: bytes) -> None:
        # nats-py's Msg.ack() allows one response only. A response that is lost with the connection costs a
        # redelivery, which the sinks recognise.
        with suppress(NatsError):
            await self._client.publish(self._reply, response)


class EdgeReader:
    """Reads messages from an edge's shared work queue and requests more before it runs empty.

    nats-py's ``fetch`` sends a request for each batch, which costs a round trip and leaves expired requests at the
    server; here one request is topped up while messages arrive. The redelivery time of prefetched messages is
    extended: without that, a slow vertex would receive each of them several times.

    Parameters
    ----------
    connection
        Connection to the run's server.
    edge
        Name of the edge.
    prefetch
        Maximum number of messages that are requested, or received and not yet in a batch.
    """

    def __init__(self, connection: NatsConnection, edge: str, prefetch: int = 16) -> None:
        self._client = connection.client
        self._edge = edge
        self._prefetch = prefetch
        self._waiting: deque[BufferedDelivery] = deque()
        self._arrived = asyncio.Event()
        self._requested = 0
        self._last_received = time.monotonic()
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._extending: asyncio.Task[None] | None = None

    async def batch(self, max_messages: int, linger_s: float) -> Sequence[BufferedDelivery]:
        """Return up to `max_messages` messages: wait for the first, then at most `linger_s` for more.

        Returns an empty list if no message arrives within half a second.
        """
        if self._subscription is None:
            self._inbox = self._client.new_inbox()
            self._subscription = await self._client.subscribe(self._inbox, cb=self._on_message)
            self._extending = asyncio.create_task(self._extend_waiting())
        elif self._extending is not None and self._extending.done():
            self._extending.result()  # raises the exception that ended the task
        await self._request_more()
        if not await self._wait(_EMPTY_BATCH_TIMEOUT_S, 1):
            return []
        if linger_s > 0 and len(self._waiting) < max_messages:
            await self._wait(linger_s, max_messages)
        batch = [self._waiting.popleft() for _ in range(min(max_messages, len(self._waiting)))]
        await self._request_more()
        return batch

    async def close(self) -> None:
        """Stop reading and release the messages that no batch contained."""
        if self._extending is not None:
            self._extending.cancel()
            await asyncio.gather(self._extending, return_exceptions=True)
        if self._subscription is not None:
            with suppress(NatsError):
                await self._subscription.unsubscribe()
        for delivery in self._waiting:
            await delivery.release()
        self._waiting.clear()

    async def _extend_waiting(self) -> None:
        while True:
            await asyncio.sleep(_EXTEND_INTERVAL_S)
            for delivery in list(self._waiting):
                await delivery.in_progress()

    async def _wait(self, seconds: float, count: int) -> bool:
        """Wait until `count` messages have arrived; return False after a timeout."""
        deadline = time.monotonic() + seconds
        while len(self._waiting) < count:
            self._arrived.clear()
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            try:
                # Not asyncio.wait_for, which creates a task for each call.
                async with asyncio.timeout(remaining):
                    await self._arrived.wait()
            except TimeoutError:
                return len(self._waiting) >= count
        return True

    async def _on_message(self, msg: Msg) -> None:
        self._last_received = time.monotonic()
        if msg.headers and "Status" in msg.headers and not msg.data:
            self._on_status(msg.headers)
            return
        self._requested = max(0, self._requested - 1)
        delivery = BufferedDelivery(self._client, msg)
        if delivery.attempt > 1 and any(waiting.sequence == delivery.sequence for waiting in self._waiting):
            return
        self._waiting.append(delivery)
        self._arrived.set()

    def _on_status(self, headers: Mapping[str, str]) -> None:
        """Account for a request that ended with undelivered messages; ignore heartbeats."""
        if headers["Status"] == _HEARTBEAT_STATUS:
            return
        undelivered = int(headers.get("Nats-Pending-Messages", self._requested))
        self._requested = max(0, self._requested - undelivered)

    async def _request_more(self) -> None:
        if time.monotonic() - self._last_received > _SILENCE_TIMEOUT_S:
            self._requested = 0
            self._last_received = time.monotonic()
        outstanding = self._requested + len(self._waiting)
        if outstanding > self._prefetch // 2:
            return
        request = {
            "batch": self._prefetch - outstanding,
            "expires": _PULL_EXPIRY_NS,
            "idle_heartbeat": _HEARTBEAT_NS,
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._edge}.{READER}"
        with suppress(NatsError):
            await self._client.publish(subject, json.dumps(request).encode(), reply=self._inbox)
            self._requested += request["batch"]
