"""A replica's page of the account: in JetStream for all to read, and in the pod for its successor."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from charon.adapters.nats import NatsConnection, OvertakenError
from charon.errors import UnavailableError
from charon.ledger.pages import page_from_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from charon.ledger.pages import Page
    from charon.settings.vertex import NumaflowSettings

_log = logging.getLogger(__name__)
_RETRY_S = 3.0
# A page that takes longer is written next time: a vertex must not wait for its account.
_PATIENCE_S = 2.0
_LAST_S = 3.0
_TRIES = 5


class PodLedger:
    """Writes each page into the pod's shared folder and, where one is configured, into the ledger's bucket.

    A ledger that is away keeps no vertex from its work: that is said once, and the page follows when it is back.
    Kubernetes starts a pod in place of one that still ends, and both are the same replica: neither writes over what
    the other has written and it has not read.

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
        self._key = settings.page
        self._bus: NatsConnection | None = None
        self._away = False
        self._retry_at = 0.0
        self._connecting: asyncio.Task[None] | None = None
        self._restored: Page | None = None
        self._left: Page | None = None
        self._revision: int | None = None
        self._unsent: Page | None = None
        self._writing = asyncio.Lock()

    async def load(self) -> Page | None:
        """Return the page that this replica's predecessor wrote last: in this pod, or in another one."""
        if self._settings.ledger is None:
            self._say("no ledger is configured (CHARON_LEDGER): the account of frames stays in this pod")
        else:
            await self._connect()
        kept, remote = self._kept(), await self._remote_page()
        newest = max((page for page in (kept, remote) if page), key=_updated_ns, default=None)
        self._restored = newest
        if kept is not None and kept is not newest and not self._contains(kept):
            self._left = kept
        if remote is not None and not self._contains(remote):
            self._revision = None
        return newest

    async def save(self, page: Page) -> None:
        """Write the page; it is in the pod when this returns, and in the ledger where that answers."""
        self._keep(page)
        if self._settings.ledger is None:
            return
        self._unsent = page
        if self._bus is None or self._away:
            self._try_again()
            return
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._write(self._bus, page)
        except (UnavailableError, TimeoutError) as error:
            self._note_away(str(error) or "no answer")

    async def close(self) -> None:
        """Let go of the connection; a page that the ledger has not got yet has one more try."""
        if self._connecting is not None:
            self._connecting.cancel()
            with suppress(asyncio.CancelledError):
                await self._connecting
        if self._unsent is not None:
            with suppress(UnavailableError, TimeoutError):
                async with asyncio.timeout(_LAST_S):
                    await self._connect()
                    if self._bus is not None and not self._away:
                        await self._write(self._bus, self._unsent)
        if self._bus is not None:
            await self._bus.close()

    # In the pod.

    def _kept(self) -> Page | None:
        try:
            return page_from_json(json.loads(self._file.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("%s: %s", self._file, error)
            return None

    def _keep(self, page: Page) -> None:
        fresh = self._file.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(page.to_json()))
            fresh.replace(self._file)
        except OSError as error:
            self._say(f"{self._file}: {error.strerror}: this page is not kept for the container's successor")

    # In JetStream.

    async def _connect(self) -> None:
        address = self._settings.ledger
        assert address is not None  # noqa: S101 - asked for only where there is one
        try:
            if self._bus is None:
                self._bus = await NatsConnection.connect(address, self._settings.page, bucket=self._settings.bucket)
            await self._bus.ledger.create("file")
            self._revision = None
        except UnavailableError as error:
            self._note_away(str(error))
            return
        if self._away:
            self._away = False
            _log.warning("the ledger at %s answers again", address.url)

    def _try_again(self) -> None:
        if time.monotonic() < self._retry_at or (self._connecting is not None and not self._connecting.done()):
            return
        self._connecting = asyncio.create_task(self._connect())

    async def _remote_page(self) -> Page | None:
        if self._bus is None or self._away:
            return None
        try:
            page, self._revision = await self._read(self._bus)
        except UnavailableError as error:
            self._note_away(str(error))
            return None
        return page

    async def _write(self, bus: NatsConnection, page: Page) -> None:
        """Write the page where nobody else has written since: a pod that ends and the next one write at a time."""
        async with self._writing:
            for _ in range(_TRIES):
                if self._revision is None:
                    self._revision = await self._place(bus, page)
                try:
                    self._revision = await bus.ledger.replace(self._key, page.to_json(), self._revision)
                except OvertakenError:
                    self._revision = None
                else:
                    if self._unsent is page:
                        self._unsent = None
                    return
        raise UnavailableError("other processes write the same page")

    async def _read(self, bus: NatsConnection) -> tuple[Page | None, int]:
        """Return the page in the ledger, None if it is missing or invalid, and its revision."""
        document, revision = await bus.ledger.read(self._key)
        try:
            page = None if document is None else page_from_json(document)
        except ValueError as error:
            self._say(f"ignored page {self._key} of the ledger: {error}")
            page = None
        return page, revision

    async def _place(self, bus: NatsConnection, own: Page) -> int:
        """Return the revision to replace; what another process has written there is kept under a further key."""
        if self._left is not None:
            await bus.ledger.save(self._aside(self._left), self._left.to_json())
            self._left = None
        page, revision = await self._read(bus)
        if page is None or page.process.started_ns == own.process.started_ns or self._contains(page):
            return revision
        if page.process.started_ns > own.process.started_ns:
            # This replica's successor is at work already: the place is its.
            self._key = self._aside(own)
            return (await bus.ledger.read(self._key))[1]
        await bus.ledger.save(self._aside(page), page.to_json())
        return revision

    def _contains(self, page: Page) -> bool:
        """Return whether this process went on from a page, or from a later one of the same process."""
        if self._restored is None:
            return False
        restored, other = self._restored.process, page.process
        return restored.started_ns == other.started_ns and restored.updated_ns >= other.updated_ns

    def _aside(self, page: Page) -> str:
        return f"{self._settings.page}-{page.process.started_ns}"

    def _note_away(self, why: str) -> None:
        self._retry_at = time.monotonic() + _RETRY_S
        if not self._away:
            self._away = True
            address = self._settings.ledger
            where = "" if address is None else f" at {address.url}"
            self._say(f"the ledger{where} is away ({why}); the vertex goes on, its account waits")


def _updated_ns(page: Page) -> int:
    return page.process.updated_ns
