"""The part of nats-py that Charon uses, with complete types.

nats-py annotates many parameters incompletely (``**params``, ``Future``); these protocols state the signatures that
Charon calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.js.api import ConsumerConfig, ConsumerInfo, KeyValueConfig, StreamConfig, StreamInfo
    from nats.js.kv import KeyValue as NatsKeyValue


class KeyValue(Protocol):
    """A JetStream key-value bucket."""

    async def get(self, key: str) -> NatsKeyValue.Entry:
        """Return the last entry of a key."""
        ...

    async def put(self, key: str, value: bytes) -> int:
        """Write a key and return its revision."""
        ...

    async def update(self, key: str, value: bytes, last: int | None = None) -> int:
        """Write a key if `last` is its revision, and return the new one."""
        ...

    async def keys(self) -> list[str]:
        """Return all keys."""
        ...


class JetStream(Protocol):
    """JetStream's management API."""

    async def add_stream(self, config: StreamConfig) -> StreamInfo:
        """Create a stream, or return the existing one with the same configuration."""
        ...

    async def update_stream(self, config: StreamConfig) -> StreamInfo:
        """Change the configuration of a stream."""
        ...

    async def add_consumer(self, stream: str, config: ConsumerConfig) -> ConsumerInfo:
        """Create a consumer, or return the existing one with the same configuration."""
        ...

    async def streams_info(self) -> list[StreamInfo]:
        """Return the state of all streams."""
        ...

    async def stream_info(self, name: str) -> StreamInfo:
        """Return the state of a stream."""
        ...

    async def consumer_info(self, stream: str, consumer: str) -> ConsumerInfo:
        """Return the state of a consumer."""
        ...

    async def key_value(self, bucket: str) -> KeyValue:
        """Return an existing bucket."""
        ...

    async def create_key_value(self, config: KeyValueConfig) -> KeyValue:
        """Create a bucket."""
        ...


class Client(Protocol):
    """A connected NATS client."""

    @property
    def is_connected(self) -> bool:
        """Whether the connection is up."""
        ...

    def new_inbox(self) -> str:
        """Return an unused subject for responses."""
        ...

    def jetstream(self) -> JetStream:
        """Return the management API of JetStream."""
        ...

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Publish a message."""
        ...

    async def subscribe(self, subject: str, *, cb: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """Call `cb` for each message of a subject."""
        ...

    async def flush(self, timeout: int = 10) -> None:  # noqa: ASYNC109 - the signature of nats-py
        """Wait until the server has received everything that was published."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...
