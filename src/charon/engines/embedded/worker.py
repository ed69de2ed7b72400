"""The process of one replica on the embedded engine."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from charon.adapters.nats import EdgeReader, EdgeWriter, LedgerPage, NatsConnection
from charon.engines.embedded.start_signal import wait_for_start
from charon.vertices.context import VertexContext

if TYPE_CHECKING:
    from charon.settings.vertex import EmbeddedSettings
    from charon.vertices.roles import Role

_MIN_PREFETCH = 16


async def work(role: Role, settings: EmbeddedSettings) -> None:
    """Run a vertex until SIGTERM, after which it drains.

    Raises
    ------
    UnavailableError
        If the run's nats-server does not respond at the start.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    # Ctrl-C reaches every process of the terminal; the supervisor shuts them down in order.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    connection = await NatsConnection.connect(settings.nats, settings.page)

    async def ready() -> None:
        await wait_for_start(connection.ledger, settings.start_signal, stop)

    try:
        prefetch = max(2 * settings.read_batch_size, _MIN_PREFETCH)
        inlets = [EdgeReader(connection, edge, prefetch) for edge in settings.inlets]
        outlets = [EdgeWriter(connection, edge) for edge in settings.outlets]
        page = LedgerPage(connection.ledger, settings.page)
        await role.run(VertexContext(inlets, outlets, page, stop, ready))
    finally:
        await connection.close()
