"""The start page of the ledger: sources start when all other vertices are ready."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from charon.errors import UnavailableError

if TYPE_CHECKING:
    from charon.adapters.nats.ledger_bucket import LedgerBucket

# Unlike the keys of replicas' pages, this one contains no dot.
_KEY = "begin"
_POLL_INTERVAL_S = 0.02


async def publish_start(ledger: LedgerBucket, signal: str) -> None:
    """Write the value that the sources of this run wait for.

    Raises
    ------
    UnavailableError
        If the ledger does not respond.
    """
    await ledger.save(_KEY, {"signal": signal})


async def wait_for_start(ledger: LedgerBucket, signal: str, stop: asyncio.Event) -> None:
    """Wait until the start page contains a value, or `stop` is set; return immediately for an empty value."""
    while signal and not stop.is_set():
        with suppress(UnavailableError):
            page = await ledger.load(_KEY)
            if page is not None and page.get("signal") == signal:
                return
        await asyncio.sleep(_POLL_INTERVAL_S)
