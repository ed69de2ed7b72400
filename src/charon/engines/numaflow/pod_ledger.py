"""A replica's page of the ledger: in JetStream for every reader, and in the pod for the next container."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from charon.adapters.nats import NatsConnection
from charon.engines.numaflow.page_file import PageFile
from charon.engines.numaflow.shared_page import SharedPage
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from charon.ledger.pages import Page
    from charon.settings.nats import NatsAddress
    from charon.settings.vertex import NumaflowSettings

_log = logging.getLogger(__name__)
_RETRY_DELAY_S = 3.0
# A vertex must not wait for the ledger: after a timeout, the next page replaces this one.
_SAVE_TIMEOUT_S = 2.0
_FINAL_SAVE_TIMEOUT_S = 3.0


class PodLedger:
    """Writes each page to the pod's shared folder and, if one is configured, to the ledger's bucket.

    An unavailable ledger does not stop the vertex: the user is warned once, and the page is written when the ledger
    responds again.

    Parameters
    ----------
    settings
        Settings of the vertex.
    warn
        Reports a warning to the user, in the log and on the page.
    """

    def __init__(self, settings: NumaflowSettings, warn: Callable[[str], None]) -> None:
        self._settings = settings
        self._warn = warn
        self._file = PageFile(settings.sockets / f"charon-page-{settings.page}.json", warn)
        self._shared = SharedPage(settings.page, warn)
        self._connection: NatsConnection | None = None
        self._available = True
        self._retry_at = 0.0
        self._connecting: asyncio.Task[None] | None = None
        self._unsaved: Page | None = None

    async def load(self) -> Page | None:
        """Return the latest page of this replica, from this pod or an earlier one."""
        address = self._settings.ledger
        if address is None:
            self._warn("no ledger configured (CHARON_LEDGER); the account of frames stays in this pod")
            return self._shared.restore(self._file.load(), None)
        await self._connect(address)
        return self._shared.restore(self._file.load(), await self._load_shared(address))

    async def save(self, page: Page) -> None:
        """Write the page to the pod and, if the ledger responds, to the ledger."""
        self._file.save(page)
        address = self._settings.ledger
        if address is None:
            return
        self._unsaved = page
        if self._connection is None or not self._available:
            self._reconnect(address)
            return
        try:
            async with asyncio.timeout(_SAVE_TIMEOUT_S):
                await self._save_shared(self._connection, page)
        except (UnavailableError, TimeoutError) as error:
            self._report_unavailable(address, error)

    async def close(self) -> None:
        """Try once more to write a page that the ledger does not have, and close the connection."""
        if self._connecting is not None:
            self._connecting.cancel()
            with suppress(asyncio.CancelledError):
                await self._connecting
        address = self._settings.ledger
        if address is not None and self._unsaved is not None:
            with suppress(UnavailableError, TimeoutError):
                async with asyncio.timeout(_FINAL_SAVE_TIMEOUT_S):
                    await self._connect(address)
                    if self._connection is not None and self._available:
                        await self._save_shared(self._connection, self._unsaved)
        if self._connection is not None:
            await self._connection.close()

    async def _connect(self, address: NatsAddress) -> None:
        try:
            if self._connection is None:
                self._connection = await NatsConnection.connect(
                    address, self._settings.page, bucket=self._settings.bucket
                )
            await self._connection.ledger.create("file")
            self._shared.invalidate()
        except UnavailableError as error:
            self._report_unavailable(address, error)
            return
        if not self._available:
            self._available = True
            _log.warning("ledger %s responds again", address.url)

    def _reconnect(self, address: NatsAddress) -> None:
        """Start connecting in the background, unless an attempt is running or was made recently."""
        if self._connecting is not None and self._connecting.done():
            # Raises an unexpected error of the attempt.
            self._connecting.result()
            self._connecting = None
        if self._connecting is None and time.monotonic() >= self._retry_at:
            self._connecting = asyncio.create_task(self._connect(address))

    async def _load_shared(self, address: NatsAddress) -> Page | None:
        if self._connection is None or not self._available:
            return None
        try:
            return await self._shared.load(self._connection.ledger)
        except UnavailableError as error:
            self._report_unavailable(address, error)
            return None

    async def _save_shared(self, connection: NatsConnection, page: Page) -> None:
        await self._shared.save(connection.ledger, page)
        if self._unsaved is page:
            self._unsaved = None

    def _report_unavailable(self, address: NatsAddress, error: Exception) -> None:
        """Warn once, and delay the next attempt."""
        self._retry_at = time.monotonic() + _RETRY_DELAY_S
        if self._available:
            self._available = False
            reason = str(error) or "timed out"
            self._warn(
                f"ledger {address.url} unavailable ({reason}); the vertex continues and writes its account later"
            )
