"""The sink vertex: stores what comes, acknowledges what is stored."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from charon.errors import UnavailableError
from charon.ledger.pages import SinkPage
from charon.ledger.sink_report import SinkReport
from charon.vertices.ledger_writer import load_previous_page
from charon.vertices.sinks.log_sink import LogSink
from charon.vertices.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from charon.vertices.ports import Delivery, Inlet, Ledger, Outlet
    from charon.vertices.sinks.sink import Sink

_log = logging.getLogger(__name__)
_RETRY_S = 1.0


@dataclass(slots=True)
class SinkVertex:
    """Hands batches to a sink on a thread of its own, and acknowledges them once the sink has them for good.

    Parameters
    ----------
    open_sink
        Makes the sink; it may read what an earlier process stored.
    forgets
        Whether the sink keeps nothing itself. Then its account is written down before anything is
        acknowledged, and its successor goes on with it.
    max_batch
        Most messages at once.
    linger_s
        How long to wait for more of them: what one call costs is then shared.
    """

    open_sink: Callable[[], Sink]
    forgets: bool = False
    max_batch: int = 64
    linger_s: float = 0.0
    stats: Stats = field(default_factory=Stats)
    _sink: Sink | None = None
    _ledger: Ledger | None = None

    @property
    def sink(self) -> Sink:
        """The sink, once it is open."""
        if self._sink is None:
            raise RuntimeError("the sink is not open")
        return self._sink

    def open(self) -> None:
        """Make the sink."""
        self._sink = self.open_sink()

    async def restore(self, ledger: Ledger) -> None:
        """Go on with the account of the replica's predecessor, where the sink itself keeps nothing."""
        self._ledger = ledger if self.forgets else None
        page = await load_previous_page(ledger, self.stats)
        if self.forgets and isinstance(page, SinkPage) and isinstance(self.sink, LogSink):
            self.sink.restore(page.entries)

    async def work(self, inlet: Inlet, outlets: Sequence[Outlet], stop: asyncio.Event) -> None:  # noqa: ARG002 - a sink has none
        """Take, store and acknowledge until told to stop."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "sink") as thread:
            while not stop.is_set():
                deliveries = await inlet.batch(self.max_batch, self.linger_s)
                if deliveries:
                    await self._store(loop, thread, deliveries, stop)
                await loop.run_in_executor(thread, self.sink.tick)
        await inlet.close()

    async def _store(
        self,
        loop: asyncio.AbstractEventLoop,
        thread: ThreadPoolExecutor,
        deliveries: Sequence[Delivery],
        stop: asyncio.Event,
    ) -> None:
        payloads = [delivery.payload for delivery in deliveries]
        while True:
            started = time.perf_counter()
            try:
                await loop.run_in_executor(thread, self.sink.accept, payloads)
            except UnavailableError as error:
                # A full disk, say. Nothing is acknowledged, so the buffer fills and the source waits: no loss.
                self.stats.warn(str(error))
                for delivery in deliveries:
                    await delivery.in_progress()
                if stop.is_set():
                    for delivery in deliveries:
                        await delivery.release()
                    return
                await asyncio.sleep(_RETRY_S)
                continue
            break
        self.stats.busy_s += time.perf_counter() - started
        self.stats.count("done", len(payloads))
        self.stats.batches[len(payloads)] += 1
        if self._ledger is not None:
            await self._write_down(self._ledger, stop)
        for delivery in deliveries:
            await delivery.ack()

    async def _write_down(self, ledger: Ledger, stop: asyncio.Event) -> None:
        while True:
            try:
                await ledger.save(self.page())
            except UnavailableError:
                if stop.is_set():
                    return
                await asyncio.sleep(_RETRY_S)
            else:
                return

    def close(self) -> None:
        """Write what is left to write."""
        self.sink.close()

    def page(self) -> SinkPage:
        """Return this replica's page of the ledger."""
        report = SinkReport() if self._sink is None else self._sink.report()
        return SinkPage(process=self.stats.snapshot(), report=report)
