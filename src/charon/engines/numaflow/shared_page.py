"""A replica's page in the ledger's bucket, which two pods of the same replica may write at the same time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from charon.adapters.nats import OvertakenError
from charon.errors import UnavailableError
from charon.ledger.pages import page_from_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from charon.adapters.nats.ledger_bucket import LedgerBucket
    from charon.ledger.pages import Page

_MAX_ATTEMPTS = 5


class SharedPage:
    """The page of one replica.

    Kubernetes may start a pod while the pod that it replaces is still ending, and both are the same replica. Neither
    overwrites a page of the other that it has not read: such a page is saved under a separate key.

    Parameters
    ----------
    replica
        Key of the replica's page, ``vertex.replica``.
    warn
        Reports a warning to the user.
    """

    def __init__(self, replica: str, warn: Callable[[str], None]) -> None:
        self._replica = replica
        self._warn = warn
        self._key = replica
        self._revision: int | None = None
        self._restored: Page | None = None
        self._unsaved: Page | None = None
        self._lock = asyncio.Lock()

    async def load(self, ledger: LedgerBucket) -> Page | None:
        """Return the page in the ledger, or None if it is missing or invalid.

        Raises
        ------
        UnavailableError
            If the ledger does not respond.
        """
        page, self._revision = await self._read(ledger)
        return page

    def restore(self, local: Page | None, remote: Page | None) -> Page | None:
        """Return the newer of the pod's page and the ledger's page, from which this process resumes."""
        pages = [page for page in (local, remote) if page is not None]
        self._restored = max(pages, key=lambda page: page.process.updated_ns, default=None)
        if local is not None and not self._includes(local):
            self._unsaved = local
        if remote is not None and not self._includes(remote):
            self.invalidate()
        return self._restored

    def invalidate(self) -> None:
        """Discard the page's revision, so that the next save reads it again."""
        self._revision = None

    async def save(self, ledger: LedgerBucket, page: Page) -> None:
        """Write the page unless another process has written it since it was read; then move that page first.

        Raises
        ------
        UnavailableError
            If the ledger does not respond.
        """
        async with self._lock:
            for _ in range(_MAX_ATTEMPTS):
                if self._revision is None:
                    self._revision = await self._prepare(ledger, page)
                try:
                    self._revision = await ledger.replace(self._key, page.to_json(), self._revision)
                except OvertakenError:
                    self.invalidate()
                else:
                    return
        raise UnavailableError(f"ledger: cannot write page {self._key}: other processes write it at the same time")

    async def _prepare(self, ledger: LedgerBucket, own: Page) -> int:
        """Save pages of other processes under separate keys; return the revision to replace."""
        if self._unsaved is not None:
            await ledger.save(self._process_key(self._unsaved), self._unsaved.to_json())
            self._unsaved = None
        page, revision = await self._read(ledger)
        if page is None or page.process.started_ns == own.process.started_ns or self._includes(page):
            return revision
        if page.process.started_ns > own.process.started_ns:
            # The page belongs to the pod that has replaced this one.
            self._key = self._process_key(own)
            return (await ledger.read(self._key))[1]
        await ledger.save(self._process_key(page), page.to_json())
        return revision

    async def _read(self, ledger: LedgerBucket) -> tuple[Page | None, int]:
        document, revision = await ledger.read(self._key)
        try:
            page = None if document is None else page_from_json(document)
        except ValueError as error:
            self._warn(f"ledger: ignored page {self._key}: {error}")
            page = None
        return page, revision

    def _includes(self, page: Page) -> bool:
        """Return whether this process has resumed from a page, or from a later one of the same process."""
        if self._restored is None:
            return False
        restored, other = self._restored.process, page.process
        return restored.started_ns == other.started_ns and restored.updated_ns >= other.updated_ns

    def _process_key(self, page: Page) -> str:
        return f"{self._replica}-{page.process.started_ns}"
