"""The last page that a vertex leaves holds all that it has done."""

from __future__ import annotations

import asyncio
import time

from charon.vertices.ledger_writer import write_ledger_periodically


class SlowLedger:
    """Takes its time."""

    def __init__(self):
        self.saving = asyncio.Event()
        self.pages = []

    async def load(self):
        """Return nothing."""

    async def save(self, document):
        """Keep a page, slowly."""
        self.saving.set()
        await asyncio.sleep(0.02)
        self.pages.append(document)


def test_what_is_done_while_a_page_is_being_written_is_on_the_last_one():
    async def run():
        ledger, stop, done = SlowLedger(), asyncio.Event(), 1
        keeping = asyncio.create_task(write_ledger_periodically(lambda: {"done": done}, ledger, stop, 0.001))
        await ledger.saving.wait()
        done = 2
        stop.set()
        await keeping
        return ledger.pages

    assert asyncio.run(run())[-1] == {"done": 2}


def test_a_document_that_takes_long_is_written_less_often():
    made = 0

    def slow():
        nonlocal made
        made += 1
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass
        return {}

    async def run():
        stop = asyncio.Event()
        keeping = asyncio.create_task(write_ledger_periodically(slow, SlowLedger(), stop, 0.001))
        await asyncio.sleep(1.0)
        stop.set()
        await keeping

    asyncio.run(run())
    assert made <= 5
