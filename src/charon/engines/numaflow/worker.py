"""The process of one vertex's replica on Numaflow."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from charon.adapters.prometheus.scrape.server import serve_metrics
from charon.engines.numaflow.delivery_attempts import DeliveryAttempts
from charon.engines.numaflow.outbox import Outbox
from charon.engines.numaflow.pod_ledger import PodLedger
from charon.engines.numaflow.request_queue import RequestQueue
from charon.errors import UnavailableError, UsageError
from charon.vertices.roles import InferenceRole, SinkRole, SourceRole, VertexContext

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from charon.engines.numaflow.servicers import Server
    from charon.settings.vertex import NumaflowSettings
    from charon.vertices.roles import Role

_log = logging.getLogger(__name__)
_LOOK_S = 0.05
# So long without a word from Numaflow's container, and it has ended too.
_SILENT_S = 2.0
_CLOSE_S = 1.0


async def work(role: Role, settings: NumaflowSettings) -> None:
    """Run a vertex until it is told to end (SIGTERM) and has finished what it took.

    Raises
    ------
    UsageError
        If pynumaflow is not installed, or the role is none that Numaflow knows.
    """
    if not isinstance(role, SourceRole | InferenceRole | SinkRole):
        raise UsageError(f"{type(role).__name__} has no place on Numaflow")
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    ledger = PodLedger(settings, role.vertex.stats.warn)
    async with _metrics(role, settings):
        try:
            if isinstance(role, SourceRole):
                await _run_source(role, settings, ledger, told)
            else:
                await _run_asked(role, settings, ledger, told)
        finally:
            await ledger.close()


@asynccontextmanager
async def _metrics(role: SourceRole | InferenceRole | SinkRole, settings: NumaflowSettings) -> AsyncGenerator[None]:
    """Serve the vertex's page for Prometheus while it runs, where a port is named for it."""
    async with AsyncExitStack() as stack:
        if settings.metrics.port is not None:
            labels = {"pipeline": settings.pipeline, "vertex": settings.vertex, "replica": str(settings.replica)}
            try:
                await stack.enter_async_context(
                    serve_metrics(
                        role.vertex.page, host=settings.metrics.host, port=settings.metrics.port, labels=labels
                    )
                )
            except UnavailableError as error:
                # Frames go through without anybody who counts them for a graph.
                role.vertex.stats.warn(str(error))
        yield


async def _run_source(role: SourceRole, settings: NumaflowSettings, ledger: PodLedger, told: asyncio.Event) -> None:
    """Serve before the first frame comes; end when all that came is acknowledged."""
    outbox = Outbox()
    server = _server(settings, role, outbox)
    working = asyncio.create_task(role.run(VertexContext([], [outbox], ledger, told, server.start)))
    try:
        await _until(told, working)
        if not working.done():
            await _drain_source(outbox, role, settings, working)
        await _result(working)
    finally:
        await _end(working)
        await server.stop(_CLOSE_S)


async def _drain_source(
    outbox: Outbox, role: SourceRole, settings: NumaflowSettings, working: asyncio.Task[None]
) -> None:
    """Wait until the ring is read out, for as long as there is somebody who reads."""
    began = last_read = time.monotonic()
    while not working.done() and time.monotonic() - began < settings.drain_timeout_s:
        await asyncio.wait({working}, timeout=_LOOK_S)
        if outbox.readers:
            last_read = time.monotonic()
        elif time.monotonic() - last_read > _SILENT_S:
            break
    if not working.done():
        role.vertex.stats.warn(f"ended with {role.vertex.pending} frames that Numaflow has not acknowledged")
        working.cancel()


async def _run_asked(
    role: InferenceRole | SinkRole, settings: NumaflowSettings, ledger: PodLedger, told: asyncio.Event
) -> None:
    """Serve when the vertex is ready; end between two batches."""
    attempts = DeliveryAttempts(settings.sockets / "charon-in-hand.json") if isinstance(role, InferenceRole) else None
    requests = RequestQueue(attempts)
    server = _server(settings, role, requests)
    stop = asyncio.Event()
    working = asyncio.create_task(role.run(VertexContext([requests], [], ledger, stop)))
    try:
        await _until(requests.ready, working)
        if not working.done():
            await server.start()
        await _until(told, working)
        await _drain_asked(requests, settings, working)
        stop.set()
        await _result(working)
    finally:
        stop.set()
        await _end(working)
        await server.stop(_CLOSE_S)


async def _drain_asked(requests: RequestQueue, settings: NumaflowSettings, working: asyncio.Task[None]) -> None:
    """Answer until Numaflow's container is gone, or asks nothing for a while."""
    began = time.monotonic()
    while not working.done() and time.monotonic() - began < settings.drain_timeout_s:
        if not requests.busy and (requests.streams == 0 or requests.idle_s() > _SILENT_S):
            return
        await asyncio.wait({working}, timeout=_LOOK_S)


def _server(settings: NumaflowSettings, role: Role, end: Outbox | RequestQueue) -> Server:
    try:
        from charon.engines.numaflow import servicers as servers  # noqa: PLC0415 - an optional part of Charon
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in {"pynumaflow", "grpc", "google"}:
            raise
        raise UsageError("pynumaflow is not installed: pip install pynumaflow") from error
    if isinstance(role, SourceRole) and isinstance(end, Outbox):
        vertex = role.vertex
        service = servers.serve_source(end, lambda: vertex.pending)
    elif isinstance(role, InferenceRole) and isinstance(end, RequestQueue):
        service = servers.serve_map(end)
    elif isinstance(end, RequestQueue):
        service = servers.serve_sink(end)
    else:
        raise TypeError(f"{type(role).__name__} between Numaflow and {type(end).__name__}")
    return servers.Server(service, settings.sockets)


async def _until(event: asyncio.Event, working: asyncio.Task[None]) -> None:
    """Wait for an event, or for the vertex to end before it."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({waiting, working}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


async def _result(working: asyncio.Task[None]) -> None:
    """Return when the vertex has ended; raise what it ended with, unless it was told to."""
    with suppress(asyncio.CancelledError):
        await working


async def _end(working: asyncio.Task[None]) -> None:
    if not working.done():
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
