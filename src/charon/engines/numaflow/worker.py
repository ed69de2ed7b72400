"""The process of one replica of a vertex on Numaflow."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from charon.adapters.prometheus.scrape import serve_metrics
from charon.engines.numaflow.pod_ledger import PodLedger
from charon.errors import UnavailableError, UsageError
from charon.tasks import task_group
from charon.vertices.context import VertexContext

if TYPE_CHECKING:
    from charon.engines.numaflow.endpoints import Endpoint
    from charon.settings.vertex import NumaflowSettings
    from charon.vertices.roles import Role


async def work(role: Role, settings: NumaflowSettings) -> None:
    """Run a vertex until SIGTERM or SIGINT, then drain it.

    Raises
    ------
    UsageError
        If pynumaflow is not installed.
    """
    terminated = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, terminated.set)
    endpoint = _connect(role, settings)
    ledger = PodLedger(settings, role.vertex.stats.warn)
    async with AsyncExitStack() as stack:
        await _serve_metrics(stack, role, settings)
        stack.push_async_callback(ledger.close)
        await _run(role, settings, endpoint, ledger, terminated)


def _connect(role: Role, settings: NumaflowSettings) -> Endpoint:
    try:
        from charon.engines.numaflow.endpoints import PodEndpoints  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in {"pynumaflow", "grpc", "google"}:
            raise
        raise UsageError("pynumaflow is not installed: pip install pynumaflow") from error
    return role.connect(PodEndpoints(settings.sockets, role.vertex.stats.warn))


async def _serve_metrics(stack: AsyncExitStack, role: Role, settings: NumaflowSettings) -> None:
    """Serve the vertex's metrics for Prometheus if a port is configured."""
    if settings.metrics.port is None:
        return
    labels = {"pipeline": settings.pipeline, "vertex": settings.vertex, "replica": str(settings.replica)}
    server = serve_metrics(role.vertex.page, host=settings.metrics.host, port=settings.metrics.port, labels=labels)
    try:
        await stack.enter_async_context(server)
    except UnavailableError as error:
        # The pipeline works without metrics.
        role.vertex.stats.warn(str(error))


async def _run(
    role: Role, settings: NumaflowSettings, endpoint: Endpoint, ledger: PodLedger, terminated: asyncio.Event
) -> None:
    from charon.engines.numaflow.grpc_server import GrpcServer  # noqa: PLC0415 - an optional dependency

    stop = asyncio.Event()
    async with GrpcServer(endpoint.service, settings.sockets) as server:
        context = VertexContext(endpoint.inlets, endpoint.outlets, ledger, stop, server.start)

        async def drain_when_terminated() -> None:
            await terminated.wait()
            await endpoint.drain(running, stop, settings.drain_timeout_s)

        async with task_group() as tasks:
            running = tasks.create_task(role.run(context))
            draining = tasks.create_task(drain_when_terminated())
            running.add_done_callback(lambda _: draining.cancel())
