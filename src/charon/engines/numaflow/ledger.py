"""A replica's page of the account: in JetStream for all to read, and in the pod for its successor."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from charon.adapters.nats import Bus
from charon.frames import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from charon.engines.numaflow.settings import NumaflowSettings

_log = logging.getLogger(__name__)
_RETRY_S = 3.0
# A page that takes longer is written next time: a vertex must not wait for its account.
_PATIENCE_S = 2.0


class PodLedger:
    """Writes each page into the pod's shared folder and, where one is configured, into the ledger's bucket.

    A ledger that is away keeps no vertex from its work: that is said once, and the page follows when it is back.

    Parameters
    ----------
    settings
        Where the ledger is, and which page this is.
    say
        Tells the user something, in the log and on the page.
    """

    def __init__(self, settings: NumaflowSettings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._file: Path = settings.sockets / f"charon-page-{settings.page}.json"
        self._bus: Bus | None = None
        self._away = False
        self._retry_at = 0.0
        self._connecting: asyncio.Task[None] | None = None
        self._recalled: Any = None

    async def load(self) -> Mapping[str, Any] | None:
        """Return the page that this replica's predecessor wrote last: in this pod, or in another one."""
        if self._settings.ledger is None:
            self._say("no ledger is configured (CHARON_LEDGER): the account of frames stays in this pod")
        else:
            await self._connect()
        pages = [page for page in (self._kept(), await self._remote_page()) if page]
        newest = max(pages, key=lambda page: int(page.get("updated_ns", 0)), default=None)
        self._recalled = None if newest is None else newest.get("started_ns")
        return newest

    async def save(self, document: Mapping[str, Any]) -> None:
        """Write the page; it is in the pod when this returns, and in the ledger where that answers."""
        self._keep(document)
        if self._settings.ledger is None:
            return
        if self._bus is None or self._away:
            self._try_again()
            return
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._bus.save(self._settings.page, document)
        except (UnavailableError, TimeoutError) as error:
            self._note_away(str(error) or "no answer")

    async def close(self) -> None:
        """Let go of the connection."""
        if self._connecting is not None:
            self._connecting.cancel()
            with suppress(asyncio.CancelledError):
                await self._connecting
        if self._bus is not None:
            await self._bus.close()

    # In the pod.

    def _kept(self) -> Mapping[str, Any] | None:
        try:
            page = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("%s: %s", self._file, error)
            return None
        return page if isinstance(page, dict) else None

    def _keep(self, document: Mapping[str, Any]) -> None:
        fresh = self._file.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(document))
            fresh.replace(self._file)
        except OSError as error:
            self._say(f"{self._file}: {error.strerror}: this page is not kept for the container's successor")

    # In JetStream.

    async def _connect(self) -> None:
        address = self._settings.ledger
        assert address is not None  # noqa: S101 - asked for only where there is one
        try:
            if self._bus is None:
                self._bus = await Bus.connect(address, self._settings.page, bucket=self._settings.bucket)
            await self._bus.make_ledger("file")
        except UnavailableError as error:
            self._note_away(str(error))
            return
        if self._away:
            self._away = False
            _log.warning("the ledger at %s answers again", address.url)

    def _try_again(self) -> None:
        if time.monotonic() < self._retry_at or (self._connecting is not None and not self._connecting.done()):
            return
        self._connecting = asyncio.create_task(self._come_back())

    async def _come_back(self) -> None:
        await self._connect()
        if not self._away:
            await self._set_aside()

    async def _set_aside(self) -> None:
        """Keep a predecessor's page that was not there to be recalled: this one would write over it."""
        page = await self._remote_page()
        if page is None or self._bus is None or page.get("started_ns") == self._recalled:
            return
        with suppress(UnavailableError):
            await self._bus.save(f"{self._settings.page}-{page.get('started_ns', 0)}", page)
            self._recalled = page.get("started_ns")

    async def _remote_page(self) -> Mapping[str, Any] | None:
        if self._bus is None or self._away:
            return None
        try:
            return await self._bus.load(self._settings.page)
        except UnavailableError as error:
            self._note_away(str(error))
            return None

    def _note_away(self, why: str) -> None:
        self._retry_at = time.monotonic() + _RETRY_S
        if not self._away:
            self._away = True
            address = self._settings.ledger
            where = "" if address is None else f" at {address.url}"
            self._say(f"the ledger{where} is away ({why}); the vertex goes on, its account waits")
