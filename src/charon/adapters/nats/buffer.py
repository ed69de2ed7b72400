"""Both ends of an edge: a writer that waits while the buffer is full and a reader that pulls ahead."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError

from charon.adapters.nats.publisher import RefusedError
from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from charon.adapters.nats.connection import NatsConnection

_log = logging.getLogger(__name__)

# JetStream's own numbers for "maximum messages/bytes exceeded" and "resource limits exceeded".
_FULL = frozenset({10077, 10047, 10023, 10028})
_TOO_LARGE = 10054
_NO_STREAM = 503
_FULL_PAUSE_S = 0.01
_AWAY_PAUSE_S = 0.1
# Well below the time after which a message that nobody acknowledges is handed out again.
_KEEP_S = 0.5


class EdgeWriter:
    """Puts messages into an edge, each under its name, and knows when they are safe.

    Parameters
    ----------
    bus
        Connection to the run's server.
    edge
        Name of the edge.
    confirm_timeout_s
        After this long without an answer the message is sent again; its name keeps it from counting twice.
    """

    def __init__(self, bus: NatsConnection, edge: str, confirm_timeout_s: float = 5.0) -> None:
        self._bus = bus
        self._edge = edge
        self._timeout_s = confirm_timeout_s
        self.full_since: float | None = None

    async def send(self, payload: bytes, name: str) -> bool:
        """Return when the buffer has the message: whether it was new under its name.

        Waits while the buffer is full or away.

        Raises
        ------
        UsageError
            If the message is larger than the buffer takes at all.
        """
        while True:
            if not self._bus.client.is_connected:
                # The client would keep what it cannot send, and each try would add to it.
                await asyncio.sleep(_AWAY_PAUSE_S)
                continue
            try:
                new = await self._bus.publisher.send(self._edge, payload, name, self._timeout_s)
            except MaxPayloadError as error:
                raise self._too_large(payload) from error
            except RefusedError as refusal:
                await self._refused(refusal, payload)
            except (TimeoutError, NatsError):
                # Away: the client reconnects by itself, and the message's name makes sending it again harmless.
                await asyncio.sleep(_AWAY_PAUSE_S)
            else:
                self.full_since = None
                return new

    async def _refused(self, refusal: RefusedError, payload: bytes) -> None:
        """Wait before the next try; a message that no try would bring in is an error."""
        if refusal.number == _TOO_LARGE:
            raise self._too_large(payload) from refusal
        if refusal.number in _FULL:
            self.full_since = self.full_since or time.monotonic()
            await asyncio.sleep(_FULL_PAUSE_S)
            return
        if refusal.number != _NO_STREAM:
            _log.warning("edge %s refused a message: %s", self._edge, refusal.text)
        await asyncio.sleep(_AWAY_PAUSE_S)

    def _too_large(self, payload: bytes) -> UsageError:
        return UsageError(f"edge {self._edge}: a message of {len(payload)} bytes is larger than it takes")


class BufferedDelivery:
    """A message from an edge, to be acknowledged."""

    __slots__ = ("_msg", "_payload")

    def __init__(self, msg: Msg) -> None:
        self._msg = msg
        self._payload = msg.data

    @property
    def payload(self) -> bytes:
        """The message in its wire format."""
        return self._payload

    @property
    def attempt(self) -> int:
        """How often it has been handed out: the fifth field of JetStream's reply subject from the end."""
        # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>, from the
        # end because a domain and an account may precede the stream.
        return int(self._msg.reply.split(".")[-5]) if self._msg.reply else 1

    @property
    def number(self) -> int:
        """Its number in the stream, the same each time it is handed out."""
        return int(self._msg.reply.split(".")[-4]) if self._msg.reply else 0

    async def ack(self, _result: bytes | None = None, /) -> None:
        """Acknowledge the message; its result was published to the outlets."""
        await self._answer(b"+ACK")

    async def in_progress(self) -> None:
        """Ask for more time."""
        await self._answer(b"+WPI")

    async def release(self) -> None:
        """Give the message back."""
        await self._answer(b"-NAK")

    async def _answer(self, word: bytes) -> None:
        # An answer that is lost with the connection costs a redelivery, which sinks recognise.
        with suppress(NatsError):
            await self._msg._client.publish(self._msg.reply, word)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - Msg.ack() allows one answer only


class EdgeReader:
    """Takes messages from an edge's shared work queue, asking for more before it runs dry.

    The client library's own ``fetch`` asks, waits and asks again, which costs a round trip a batch and
    leaves requests behind; here one standing request is topped up while messages come in. What waits here
    is asked more time for: a slow vertex would else be handed again and again what it already has.

    Parameters
    ----------
    bus
        Connection to the run's server.
    edge
        Name of the edge.
    ahead
        How many messages to have asked for at any time; those that arrive wait here.
    """

    def __init__(self, bus: NatsConnection, edge: str, ahead: int = 16) -> None:
        self._bus = bus
        self._edge = edge
        self._ahead = ahead
        self._waiting: deque[BufferedDelivery] = deque()
        self._arrived = asyncio.Event()
        self._asked = 0
        self._last_sign = time.monotonic()
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def batch(self, maximum: int, linger_s: float) -> Sequence[BufferedDelivery]:
        """Return what waits, up to `maximum`; wait for the first, then `linger_s` at most for more.

        Returns an empty list when nothing came for half a second.
        """
        if self._subscription is None:
            self._inbox = self._bus.client.new_inbox()
            self._subscription = await self._bus.client.subscribe(self._inbox, cb=self._take)
            self._keeping = asyncio.create_task(self._keep())
        await self._top_up()
        if not await self._wait(0.5, 1):
            return []
        if linger_s > 0 and len(self._waiting) < maximum:
            await self._wait(linger_s, maximum)
        taken = [self._waiting.popleft() for _ in range(min(maximum, len(self._waiting)))]
        await self._top_up()
        return taken

    async def close(self) -> None:
        """Stop reading and give back what was not worked on."""
        if self._keeping is not None:
            self._keeping.cancel()
        if self._subscription is not None:
            with suppress(NatsError):
                await self._subscription.unsubscribe()
        for delivery in self._waiting:
            await delivery.release()
        self._waiting.clear()

    async def _keep(self) -> None:
        """Ask for more time for what waits."""
        while True:
            await asyncio.sleep(_KEEP_S)
            for delivery in list(self._waiting):
                await delivery.in_progress()

    async def _wait(self, seconds: float, count: int) -> bool:
        deadline = time.monotonic() + seconds
        while len(self._waiting) < count:
            self._arrived.clear()
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            try:
                # Not wait_for, which makes a task each time.
                async with asyncio.timeout(left):
                    await self._arrived.wait()
            except TimeoutError:
                return len(self._waiting) >= count
        return True

    async def _take(self, msg: Msg) -> None:
        self._last_sign = time.monotonic()
        if msg.headers and "Status" in msg.headers and not msg.data:
            self._note(msg.headers)
            return
        self._asked = max(0, self._asked - 1)
        delivery = BufferedDelivery(msg)
        if delivery.attempt > 1 and any(one.number == delivery.number for one in self._waiting):
            return
        self._waiting.append(delivery)
        self._arrived.set()

    def _note(self, headers: dict[str, str]) -> None:
        """Take note of a status message: a heartbeat, or a request that ended with messages owed."""
        if headers["Status"] == "100":
            return
        owed = int(headers.get("Nats-Pending-Messages", self._asked))
        self._asked = max(0, self._asked - owed)

    async def _top_up(self) -> None:
        silent = time.monotonic() - self._last_sign > 3.0
        if silent:
            # Neither a message nor a heartbeat: the server has forgotten the request (it was restarted).
            self._asked = 0
            self._last_sign = time.monotonic()
        outstanding = self._asked + len(self._waiting)
        if outstanding > self._ahead // 2:
            return
        request = {"batch": self._ahead - outstanding, "expires": 30_000_000_000, "idle_heartbeat": 1_000_000_000}
        with suppress(NatsError):
            await self._bus.client.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{self._edge}.reader", json.dumps(request).encode(), reply=self._inbox
            )
            self._asked += request["batch"]
