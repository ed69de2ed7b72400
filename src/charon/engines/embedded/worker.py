"""The process of one vertex's replica on the embedded engine."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from charon.adapters.nats import EdgeReader, EdgeWriter, LedgerPage, NatsConnection
from charon.engines.embedded.settings import BEGIN
from charon.errors import UnavailableError
from charon.vertices.roles import VertexContext

if TYPE_CHECKING:
    from charon.engines.embedded.settings import VertexSettings
    from charon.vertices.roles import Role

_log = logging.getLogger(__name__)


async def work(role: Role, settings: VertexSettings) -> None:
    """Run a vertex until it is told to end (SIGTERM) and has finished what it took.

    Raises
    ------
    UnavailableError
        If the run's nats-server does not answer at the start.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    # Ctrl-C reaches every process of the terminal; the supervisor decides who ends when.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    bus = await NatsConnection.connect(settings.address, settings.page)
    try:
        ahead = max(2 * settings.read_batch_size, 16)
        inlets = [EdgeReader(bus, edge, ahead) for edge in settings.inlets]
        outlets = [EdgeWriter(bus, edge) for edge in settings.outlets]

        async def may_begin() -> None:
            while settings.signal and not stop.is_set():
                with suppress(UnavailableError):
                    page = await bus.ledger.load(BEGIN)
                    if page is not None and page.get("signal") == settings.signal:
                        return
                await asyncio.sleep(0.02)

        await role.run(VertexContext(inlets, outlets, LedgerPage(bus.ledger, settings.page), stop, may_begin))
    finally:
        await bus.close()
