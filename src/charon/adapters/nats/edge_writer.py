"""Writing end of an edge: it waits while the buffer is full."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError

from charon.adapters.nats.error_codes import BUFFER_FULL, MESSAGE_TOO_LARGE, NO_STREAM
from charon.adapters.nats.errors import RejectedError
from charon.errors import UsageError

if TYPE_CHECKING:
    from charon.adapters.nats.connection import NatsConnection

_log = logging.getLogger(__name__)
_FULL_RETRY_DELAY_S = 0.01
_DISCONNECTED_RETRY_DELAY_S = 0.1


class EdgeWriter:
    """Publishes messages to an edge, each under an id, and waits until they are stored.

    Parameters
    ----------
    connection
        Connection to the run's server.
    edge
        Name of the edge.
    confirm_timeout_s
        Time after which an unconfirmed message is published again; JetStream drops the duplicate by its id.
    """

    def __init__(self, connection: NatsConnection, edge: str, confirm_timeout_s: float = 5.0) -> None:
        self._connection = connection
        self._edge = edge
        self._timeout_s = confirm_timeout_s
        self.full_since: float | None = None

    async def send(self, payload: bytes, name: str) -> bool:
        """Publish a message, wait until it is stored, and return whether its id was new.

        Retries while the buffer is full or the server is unavailable.

        Raises
        ------
        UsageError
            If the message exceeds the maximum size.
        """
        while True:
            if not self._connection.client.is_connected:
                # A disconnected client queues what it cannot send, and each retry would add a copy.
                await asyncio.sleep(_DISCONNECTED_RETRY_DELAY_S)
                continue
            try:
                new = await self._connection.publisher.send(self._edge, payload, name, self._timeout_s)
            except MaxPayloadError as error:
                raise self._too_large(payload) from error
            except RejectedError as error:
                await self._on_rejected(error, payload)
            except (TimeoutError, NatsError):
                # The client reconnects automatically, and the message id makes the retry harmless.
                await asyncio.sleep(_DISCONNECTED_RETRY_DELAY_S)
            else:
                self.full_since = None
                return new

    async def _on_rejected(self, error: RejectedError, payload: bytes) -> None:
        """Wait before the next retry; raise if no retry can succeed."""
        if error.code == MESSAGE_TOO_LARGE:
            raise self._too_large(payload) from error
        if error.code in BUFFER_FULL:
            self.full_since = self.full_since or time.monotonic()
            await asyncio.sleep(_FULL_RETRY_DELAY_S)
            return
        if error.code != NO_STREAM:
            _log.warning("edge %s rejected a message: %s; retrying", self._edge, error.description)
        await asyncio.sleep(_DISCONNECTED_RETRY_DELAY_S)

    def _too_large(self, payload: bytes) -> UsageError:
        return UsageError(
            f"edge {self._edge}: a message of {len(payload)} bytes exceeds the limit; publish binned frames (--model)"
        )
