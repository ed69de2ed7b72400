"""Read a replica's page of the ledger, and write it periodically."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from charon.errors import UnavailableError
from charon.ledger.pages import range_count

if TYPE_CHECKING:
    from collections.abc import Callable

    from charon.ledger.pages import Page
    from charon.vertices.ports import Ledger
    from charon.vertices.stats import Stats

_log = logging.getLogger(__name__)
# Serialising a range costs about 0.6 us of CPU time, so pages use at most about 6 % of a core.
_MAX_RANGES_PER_S = 100_000


async def load_previous_page(ledger: Ledger, stats: Stats) -> Page | None:
    """Return the latest page of the replica's previous process; warn and return None if it is invalid."""
    try:
        return await ledger.load()
    except ValueError as error:
        stats.warn(f"ignored the page of the previous process: {error}")
        return None


async def write_ledger_periodically(
    page: Callable[[], Page], ledger: Ledger, stop: asyncio.Event, period_s: float = 0.25
) -> None:
    """Write the page periodically, and once more after `stop` is set.

    A page with many ranges is written less often, because serialising it blocks the event loop.

    Parameters
    ----------
    page
        Returns the current page.
    ledger
        Ledger that stores the page.
    stop
        Set when the vertex has finished.
    period_s
        Minimum interval between two writes in s.
    """
    last, interval_s = False, period_s
    while not last:
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), interval_s)
        # Read before the page is built: the last page must contain all work done before the stop.
        last = stop.is_set()
        current = page()
        interval_s = max(period_s, range_count(current) / _MAX_RANGES_PER_S)
        try:
            await ledger.save(current)
        except UnavailableError as error:
            _log.debug("page not written: %s", error)
