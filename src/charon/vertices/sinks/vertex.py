"""The sink vertex: stores messages and acknowledges them once they are stored."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from charon.errors import UnavailableError
from charon.ledger.pages import SinkPage
from charon.ledger.sink_report import SinkReport
from charon.vertices.ledger_writer import load_previous_page
from charon.vertices.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from charon.vertices.ports import Delivery, Inlet, Ledger
    from charon.vertices.sinks.sink import Sink

_RETRY_DELAY_S = 1.0


@dataclass(slots=True)
class SinkVertex:
    """Passes batches to a sink and acknowledges them once the sink has stored them.

    A sink is not thread-safe, so one thread calls it for all inlets.

    Parameters
    ----------
    open_sink
        Opens the sink, which may read what an earlier process stored.
    max_batch
        Maximum number of messages in a batch.
    linger_s
        Time to wait for a batch to grow; a larger batch spreads the cost of a call over more messages.
    stats
        Counters of the process.
    """

    open_sink: Callable[[], Sink]
    max_batch: int = 64
    linger_s: float = 0.0
    stats: Stats = field(default_factory=Stats)
    _sink: Sink | None = None
    _ledger: Ledger | None = None
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "sink"))

    @property
    def sink(self) -> Sink:
        """The sink, after `open`."""
        if self._sink is None:
            raise RuntimeError("the sink is not open")
        return self._sink

    def open(self) -> None:
        """Open the sink."""
        self._sink = self.open_sink()

    async def restore(self, ledger: Ledger) -> None:
        """Resume the account of the previous process from the ledger, unless the sink is durable."""
        page = await load_previous_page(ledger, self.stats)
        if self.sink.is_durable:
            return
        self._ledger = ledger
        if isinstance(page, SinkPage):
            self.sink.restore(page.entries)

    async def work(self, inlet: Inlet, stop: asyncio.Event) -> None:
        """Receive, store and acknowledge batches until stopped."""
        run = partial(asyncio.get_running_loop().run_in_executor, self._thread)
        while not stop.is_set():
            deliveries = await inlet.batch(self.max_batch, self.linger_s)
            if deliveries and await self._store(deliveries, stop):
                await self._save_account(stop)
                for delivery in deliveries:
                    await delivery.ack()
            await run(self.sink.tick)
        await inlet.close()

    def close(self) -> None:
        """Finish and close the files of the sink."""
        self._thread.shutdown()
        self.sink.close()

    def page(self) -> SinkPage:
        """Return this replica's page of the ledger."""
        report = SinkReport() if self._sink is None else self._sink.report()
        return SinkPage(process=self.stats.snapshot(), report=report)

    async def _store(self, deliveries: Sequence[Delivery], stop: asyncio.Event) -> bool:
        """Store a batch, retrying until it succeeds or the vertex is stopped; return whether it is stored.

        While a batch cannot be stored, for example on a full disk, nothing is acknowledged: the buffer fills up and
        the source waits, so no frame is lost.
        """
        payloads = [delivery.payload for delivery in deliveries]
        run = partial(asyncio.get_running_loop().run_in_executor, self._thread)
        while True:
            started = time.perf_counter()
            try:
                await run(self.sink.accept, payloads)
            except UnavailableError as error:
                self.stats.warn(str(error))
            else:
                self.stats.busy_s += time.perf_counter() - started
                self.stats.count("done", len(payloads))
                self.stats.batches[len(payloads)] += 1
                return True
            for delivery in deliveries:
                await delivery.in_progress()
            if stop.is_set():
                for delivery in deliveries:
                    await delivery.release()
                return False
            await asyncio.sleep(_RETRY_DELAY_S)

    async def _save_account(self, stop: asyncio.Event) -> None:
        """Save the account of a sink that is not durable in the ledger; retry until the vertex is stopped."""
        while self._ledger is not None:
            try:
                await self._ledger.save(self.page())
            except UnavailableError:
                if stop.is_set():
                    return
                await asyncio.sleep(_RETRY_DELAY_S)
            else:
                return
