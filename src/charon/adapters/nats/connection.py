"""The connection to a run's nats-server: streams, their state and the ledger's bucket."""

from __future__ import annotations

import asyncio
import json
import logging
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from nats.aio.client import Client as NatsClient
from nats.errors import Error as NatsError
from nats.js import api
from nats.js.errors import (
    BucketNotFoundError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
    NoKeysError,
    NotFoundError,
    ServerError,
)

from charon.adapters.nats.publisher import Publisher
from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nats.js import JetStreamContext
    from nats.js.kv import KeyValue

_log = logging.getLogger(__name__)
LEDGER_BUCKET = "ledger"
# nats-server takes 1 MiB unless it is told otherwise, and a page with many gaps is larger.
_COMPRESS_BYTES = 64 * 2**10
_ZLIB = b"\x78"
_CONNECT_S = 5.0
# JetStream's own numbers for too little memory, storage or either.
_NO_ROOM = frozenset({10023, 10028, 10047})


@dataclass(frozen=True, slots=True)
class Address:
    """Where a nats-server is and what opens it: a token, or a user and a password."""

    port: int
    token: str = field(default="", repr=False)
    host: str = "127.0.0.1"
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def from_url(cls, url: str, user: str = "", password: str = "") -> Address:
        """Return the address that a URL like ``nats://host:4222`` names.

        Raises
        ------
        UsageError
            If the URL is of another form, or holds a user or a password, which belong elsewhere.
        """
        parts = urlsplit(url if "//" in url else f"nats://{url}")
        try:
            port = parts.port or 4222
        except ValueError:
            port = 0
        if parts.scheme != "nats" or not parts.hostname or not port or parts.path.strip("/"):
            raise UsageError(
                f"{parts._replace(netloc='...').geturl()} is no address of a nats-server: nats://host:port"
            )
        if parts.username or parts.password:
            raise UsageError(f"nats://{parts.hostname}:{port}: user and password do not belong in the address")
        return cls(port, host=parts.hostname, user=user, password=password)

    @property
    def url(self) -> str:
        """URL without the secret, for messages."""
        return f"nats://{self.host}:{self.port}"


class OvertakenError(ValueError):
    """A document of the ledger is not the one that was to be replaced: somebody else has written it."""


@dataclass(frozen=True, slots=True)
class EdgeState:
    """What waits in one edge's buffer.

    Parameters
    ----------
    waiting
        Messages in the buffer, handed out or not.
    ack_pending
        Those of them that a reader has and has not acknowledged.
    size_bytes, limit_bytes
        How full the buffer is and may be.
    """

    waiting: int
    ack_pending: int
    size_bytes: int
    limit_bytes: int


class NatsConnection:
    """A connection to one nats-server that comes back by itself when the server does.

    Parameters
    ----------
    client
        A connected client.
    bucket
        Name of the ledger's bucket.
    """

    def __init__(self, client: NatsClient, bucket: str = LEDGER_BUCKET) -> None:
        self.client = client
        self.js: JetStreamContext = client.jetstream()
        self.publisher = Publisher(client)
        self._bucket_name = bucket
        self._bucket: KeyValue | None = None
        self.closing = False

    @classmethod
    async def connect(
        cls, address: Address, name: str, *, patient: bool = True, bucket: str = LEDGER_BUCKET
    ) -> NatsConnection:
        """Connect; a `patient` connection tries for ever once it was made.

        Raises
        ------
        UnavailableError
            If nothing answers at the address.
        """
        made: list[NatsConnection] = []

        async def on_disconnect() -> None:
            if made and not made[0].closing:
                _log.warning("lost the inter-step buffer at %s; trying again", address.url)

        async def on_error(error: Exception) -> None:
            _log.debug("inter-step buffer at %s: %r", address.url, error)

        client = NatsClient()
        try:
            # Even an impatient client tries for ever to connect the first time.
            await asyncio.wait_for(
                client.connect(
                    address.url,
                    token=address.token or None,
                    user=address.user or None,
                    password=address.password or None,
                    name=name,
                    connect_timeout=3,
                    allow_reconnect=patient,
                    max_reconnect_attempts=-1 if patient else 0,
                    reconnect_time_wait=0.1,  # pyright: ignore[reportArgumentType] - seconds, whatever its type says
                    pending_size=64 * 2**20,
                    disconnected_cb=on_disconnect if patient else None,
                    error_cb=on_error,
                ),
                _CONNECT_S,
            )
        except (NatsError, OSError, TimeoutError) as error:
            # It leaves the connection that failed open.
            with suppress(NatsError, OSError):
                await client.close()
            raise UnavailableError(f"no inter-step buffer answers at {address.url}: {error}") from error
        made.append(cls(client, bucket))
        return made[0]

    async def close(self) -> None:
        """Send what is waiting to be sent and close."""
        self.closing = True
        with suppress(NatsError, TimeoutError, OSError):
            await self.client.flush(timeout=2)
        await self.client.close()

    async def make_edge(
        self,
        edge: str,
        *,
        storage: Literal["memory", "file"],
        max_bytes: int,
        max_messages: int,
        ack_wait_s: float,
        max_ack_pending: int,
    ) -> None:
        """Make the work queue of an edge and its one shared consumer, or keep the one that is there.

        A full queue refuses what is new, so that a writer waits and nothing in it is lost.

        Raises
        ------
        UnavailableError
            If the server has no room for it.
        """
        try:
            await self.js.add_stream(
                api.StreamConfig(
                    name=edge,
                    subjects=[edge],
                    retention=api.RetentionPolicy.WORK_QUEUE,
                    discard=api.DiscardPolicy.NEW,
                    storage=api.StorageType.MEMORY if storage == "memory" else api.StorageType.FILE,
                    max_bytes=max_bytes,
                    max_msgs=max_messages,
                    duplicate_window=120,
                )
            )
        except ServerError as error:
            if error.err_code not in _NO_ROOM:
                raise
            text = f"edge {edge}: the nats-server has no room for a buffer of {max_bytes / 2**20:.0f} MiB"
            raise UnavailableError(f"{text} ({error.description}); ask for smaller ones") from error
        await self.js.add_consumer(
            edge,
            api.ConsumerConfig(
                durable_name="reader",
                ack_policy=api.AckPolicy.EXPLICIT,
                ack_wait=ack_wait_s,
                max_deliver=-1,
                max_ack_pending=max_ack_pending,
                max_waiting=512,
            ),
        )

    async def edges(self) -> list[str]:
        """Return the names of the edges, without the ledger's bucket.

        Raises
        ------
        UnavailableError
            If the server does not answer.
        """
        try:
            streams = await self.js.streams_info()
        except (NatsError, TimeoutError) as error:
            raise UnavailableError(f"the buffers do not answer: {error!r}") from error
        return [str(s.config.name) for s in streams if not str(s.config.name).startswith("KV_")]

    async def edge_state(self, edge: str, reader: str = "reader") -> EdgeState:
        """Return what waits in an edge.

        Parameters
        ----------
        edge
            Name of its stream.
        reader
            Name of the consumer that all its readers share.

        Raises
        ------
        UnavailableError
            If the server or the edge's buffer does not answer.
        """
        try:
            stream = await self.js.stream_info(edge)
            consumer = await self.js.consumer_info(edge, reader)
        except (NatsError, TimeoutError) as error:
            raise UnavailableError(f"the buffer of edge {edge} does not answer: {_said(error)}") from error
        return EdgeState(
            waiting=stream.state.messages,
            ack_pending=consumer.num_ack_pending or 0,
            size_bytes=stream.state.bytes,
            limit_bytes=stream.config.max_bytes or 0,
        )

    async def make_ledger(self, storage: Literal["memory", "file"]) -> None:
        """Make the bucket that vertices write their part of the account into, or keep the one that is there.

        Raises
        ------
        UnavailableError
            If the server does not answer or has no room for it.
        """
        kind = api.StorageType.MEMORY if storage == "memory" else api.StorageType.FILE
        config = api.KeyValueConfig(self._bucket_name, history=1, storage=kind)
        try:
            try:
                self._bucket = await self.js.key_value(self._bucket_name)
            except BucketNotFoundError:
                self._bucket = await self.js.create_key_value(config)
        except (NatsError, TimeoutError) as error:
            raise UnavailableError(f"the ledger cannot be made: {_said(error)}") from error

    async def _ledger_bucket(self) -> KeyValue:
        if self._bucket is None:
            self._bucket = await self.js.key_value(self._bucket_name)
        return self._bucket

    async def load(self, key: str) -> Mapping[str, Any] | None:
        """Return one document of the ledger, or None where nobody has written it.

        Raises
        ------
        UnavailableError
            If the ledger does not answer.
        """
        return (await self.read(key))[0]

    async def read(self, key: str) -> tuple[Mapping[str, Any] | None, int]:
        """Return one document of the ledger, or None where there is none that can be read, and its revision.

        Raises
        ------
        UnavailableError
            If the ledger does not answer.
        """
        try:
            entry = await (await self._ledger_bucket()).get(key)
        except KeyNotFoundError as error:
            return None, (error.entry.revision or 0) if error.entry is not None else 0
        except BucketNotFoundError:
            return None, 0
        except (NatsError, TimeoutError) as error:
            raise UnavailableError(f"the ledger does not answer: {_said(error)}") from error
        return _document(key, entry.value), entry.revision or 0

    async def save(self, key: str, document: Mapping[str, Any]) -> None:
        """Write one document of the ledger.

        Raises
        ------
        UnavailableError
            If the ledger does not answer.
        """
        try:
            await (await self._ledger_bucket()).put(key, _value(document))
        except (NatsError, TimeoutError) as error:
            raise UnavailableError(f"the ledger does not answer: {_said(error)}") from error

    async def replace(self, key: str, document: Mapping[str, Any], revision: int) -> int:
        """Write one document of the ledger in place of a revision that was read, and return its own revision.

        Raises
        ------
        OvertakenError
            If somebody else has written it since.
        UnavailableError
            If the ledger does not answer.
        """
        try:
            return await (await self._ledger_bucket()).update(key, _value(document), revision)
        except KeyWrongLastSequenceError as error:
            raise OvertakenError(f"{key} has been written by somebody else") from error
        except (NatsError, TimeoutError) as error:
            raise UnavailableError(f"the ledger does not answer: {_said(error)}") from error

    async def documents(self) -> dict[str, dict[str, Any]]:
        """Return every replica's document of the ledger by key: those whose key has a dot.

        Raises
        ------
        UnavailableError
            If the ledger does not answer.
        """
        try:
            bucket = await self._ledger_bucket()
            keys = await bucket.keys()
            found = {key: _document(key, (await bucket.get(key)).value) for key in keys if "." in key}
            return {key: document for key, document in found.items() if document is not None}
        except (NoKeysError, NotFoundError):
            return {}
        except (NatsError, TimeoutError) as error:
            raise UnavailableError(f"the ledger does not answer: {_said(error)}") from error


def _value(document: Mapping[str, Any]) -> bytes:
    """Return a document of the ledger as it is stored: compressed where it is large."""
    text = json.dumps(document).encode()
    return text if len(text) < _COMPRESS_BYTES else zlib.compress(text, 1)


def _document(key: str, value: bytes | None) -> dict[str, Any] | None:
    """Return what a document of the ledger says; None where it says nothing that could be read."""
    try:
        document = json.loads(zlib.decompress(value) if value and value.startswith(_ZLIB) else value or b"null")
    except (ValueError, zlib.error) as error:
        document = error
    if document is None or isinstance(document, dict):
        return document
    _log.warning("the ledger's document %s cannot be read: %s", key, document)
    return None


def _said(error: BaseException) -> str:
    """Return what the server said where it said anything: its errors' own form leaves that out."""
    return str(getattr(error, "description", None) or error or repr(error))


class LedgerPage:
    """One replica's document in the ledger."""

    def __init__(self, bus: NatsConnection, key: str) -> None:
        self._bus = bus
        self._key = key

    async def load(self) -> Mapping[str, Any] | None:
        """Return what this replica's predecessor wrote last."""
        return await self._bus.load(self._key)

    async def save(self, document: Mapping[str, Any]) -> None:
        """Write the document in place of the last one."""
        await self._bus.save(self._key, document)
