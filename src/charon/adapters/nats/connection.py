"""Connection to a nats-server that reconnects automatically."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from nats.aio.client import Client as NatsClient
from nats.errors import Error as NatsError

from charon.adapters.nats.errors import describe
from charon.adapters.nats.ledger_bucket import DEFAULT_BUCKET, LedgerBucket
from charon.adapters.nats.publisher import Publisher
from charon.adapters.nats.streams import EdgeStreams
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from charon.adapters.nats.client import Client
    from charon.settings.nats import NatsAddress

_log = logging.getLogger(__name__)
_CONNECT_TIMEOUT_S = 5.0
_FLUSH_TIMEOUT_S = 2
_RECONNECT_DELAY_S = 0.1
_PENDING_LIMIT_BYTES = 64 * 2**20


class NatsConnection:
    """Connection to one nats-server.

    Parameters
    ----------
    client
        A connected client.
    bucket
        Name of the ledger's key-value bucket.
    """

    def __init__(self, client: Client, bucket: str = DEFAULT_BUCKET) -> None:
        self.client = client
        self.publisher = Publisher(client)
        self.streams = EdgeStreams(client.jetstream())
        self.ledger = LedgerBucket(client.jetstream(), bucket)
        self.closing = False

    @classmethod
    async def connect(
        cls, address: NatsAddress, name: str, *, reconnect: bool = True, bucket: str = DEFAULT_BUCKET
    ) -> NatsConnection:
        """Connect to a server.

        Parameters
        ----------
        address
            Address and credentials of the server.
        name
            Name of the connection in the server's log.
        reconnect
            Whether to reconnect, without a limit of attempts, when the connection is lost.
        bucket
            Name of the ledger's key-value bucket.

        Raises
        ------
        UnavailableError
            If the server does not respond.
        """
        connection: NatsConnection | None = None

        async def on_disconnect() -> None:
            if connection is not None and not connection.closing:
                _log.warning("lost the connection to nats-server %s; reconnecting", address.url)

        async def on_error(error: Exception) -> None:
            _log.debug("nats-server %s: %r", address.url, error)

        client = NatsClient()
        try:
            # The first connect attempt has no timeout of its own, even with allow_reconnect=False.
            await asyncio.wait_for(
                client.connect(
                    address.url,
                    token=address.token or None,
                    user=address.user or None,
                    password=address.password or None,
                    name=name,
                    connect_timeout=3,
                    allow_reconnect=reconnect,
                    max_reconnect_attempts=-1 if reconnect else 0,
                    reconnect_time_wait=_RECONNECT_DELAY_S,  # pyright: ignore[reportArgumentType] - annotated as int, used as float
                    pending_size=_PENDING_LIMIT_BYTES,
                    disconnected_cb=on_disconnect if reconnect else None,
                    error_cb=on_error,
                ),
                _CONNECT_TIMEOUT_S,
            )
        except (NatsError, OSError, TimeoutError) as error:
            # nats-py leaves the socket of a failed attempt open.
            with suppress(NatsError, OSError):
                await client.close()
            raise UnavailableError(f"cannot connect to nats-server {address.url}: {describe(error)}") from error
        except asyncio.CancelledError:
            with suppress(NatsError, OSError):
                await client.close()
            raise
        connection = cls(cast("Client", client), bucket)
        return connection

    async def close(self) -> None:
        """Flush pending messages, then close the connection."""
        self.closing = True
        with suppress(NatsError, TimeoutError, OSError):
            await self.client.flush(timeout=_FLUSH_TIMEOUT_S)
        await self.client.close()
