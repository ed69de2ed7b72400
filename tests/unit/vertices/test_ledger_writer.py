"""Pages are written periodically; the last one contains everything, and invalid ones are ignored."""

from __future__ import annotations

import asyncio

from charon.ledger.entries import LedgerEntry
from charon.ledger.id_set import IdSet
from charon.ledger.pages import SourcePage
from charon.ledger.process import ProcessStats
from charon.vertices.ledger_writer import load_previous_page, write_ledger_periodically
from charon.vertices.ports import Ledger
from charon.vertices.stats import Stats


class SlowLedger(Ledger):
    """A ledger that needs some time to save a page."""

    def __init__(self):
        self.saving = asyncio.Event()
        self.pages = []

    async def load(self):
        """Return no page."""
        return None  # noqa: RET501 - None is a missing page

    async def save(self, page):
        """Save a page, slowly."""
        self.saving.set()
        await asyncio.sleep(0.02)
        self.pages.append(page)


class DamagedLedger(SlowLedger):
    """A ledger whose page is invalid."""

    async def load(self):
        """Raise an error."""
        raise ValueError("invalid page: field 'kind' is missing")


def test_last_page_contains_changes_during_a_save():
    async def run():
        ledger, stop, waiting = SlowLedger(), asyncio.Event(), 1

        def page():
            return SourcePage(process=ProcessStats(), waiting=waiting)

        writing = asyncio.create_task(write_ledger_periodically(page, ledger, stop, 0.001))
        await ledger.saving.wait()
        waiting = 2
        stop.set()
        await writing
        return ledger.pages

    assert asyncio.run(run())[-1].waiting == 2


def test_page_with_many_ranges_is_written_less_often():
    entry = LedgerEntry(channel="ad:image", epoch_ns=1, sets={"seen": IdSet(range(0, 100_000, 2))})
    page = SourcePage(process=ProcessStats(), entries=(entry,))

    async def run():
        ledger, stop = SlowLedger(), asyncio.Event()
        writing = asyncio.create_task(write_ledger_periodically(lambda: page, ledger, stop, 0.001))
        await asyncio.sleep(1.2)
        stop.set()
        await writing
        return len(ledger.pages)

    assert 2 <= asyncio.run(run()) <= 4


def test_invalid_previous_page_is_ignored():
    stats = Stats()
    assert asyncio.run(load_previous_page(DamagedLedger(), stats)) is None
    assert stats.snapshot().warnings == (
        "ignored the page of the previous process: invalid page: field 'kind' is missing",
    )
