"""Connections between Numaflow's container and a vertex, one class for each direction of requests."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from charon.engines.numaflow.delivery_attempts import DeliveryAttempts
from charon.engines.numaflow.outbox import Outbox
from charon.engines.numaflow.request_queue import RequestQueue
from charon.engines.numaflow.servicers import map_service, sink_service, source_service

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from charon.engines.numaflow.grpc_server import Service
    from charon.vertices.ports import Inlet, Outlet

_POLL_INTERVAL_S = 0.05
# Numaflow's container counts as stopped after this time without a stream or a request.
_SILENCE_TIMEOUT_S = 2.0


class Endpoint(Protocol):
    """A vertex's connection to Numaflow."""

    inlets: Sequence[Inlet]
    outlets: Sequence[Outlet]
    service: Service

    async def drain(self, running: asyncio.Task[None], stop: asyncio.Event, limit_s: float) -> None:
        """Stop the running vertex once its messages are delivered; cancelled when the vertex has ended."""
        ...


class PodEndpoints:
    """Creates the endpoint for each kind of vertex.

    Parameters
    ----------
    folder
        Folder that outlives the container but not the pod.
    warn
        Reports a warning to the user.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self._folder = folder
        self._warn = warn

    def source(self, pending: Callable[[], int]) -> Endpoint:
        """Return the endpoint of a source, whose messages Numaflow reads."""
        return _SourceEndpoint(pending, self._warn)

    def inference(self) -> Endpoint:
        """Return the endpoint of inference: a batch map that counts delivery attempts."""
        queue = RequestQueue(DeliveryAttempts(self._folder / "charon-delivery-attempts.json"))
        return _RequestEndpoint(queue, map_service(queue))

    def sink(self) -> Endpoint:
        """Return the endpoint of a sink."""
        queue = RequestQueue()
        return _RequestEndpoint(queue, sink_service(queue))


class _SourceEndpoint:
    def __init__(self, pending: Callable[[], int], warn: Callable[[str], None]) -> None:
        self._outbox = Outbox()
        self._pending = pending
        self._warn = warn
        self.inlets: Sequence[Inlet] = ()
        self.outlets: Sequence[Outlet] = (self._outbox,)
        self.service = source_service(self._outbox, pending)

    async def drain(self, running: asyncio.Task[None], stop: asyncio.Event, limit_s: float) -> None:
        """Stop the source, then wait for Numaflow to acknowledge its messages while Numaflow is still reading."""
        stop.set()
        started = last_read = time.monotonic()
        while time.monotonic() - started < limit_s and time.monotonic() - last_read <= _SILENCE_TIMEOUT_S:
            await asyncio.sleep(_POLL_INTERVAL_S)
            if self._outbox.readers:
                last_read = time.monotonic()
        if not running.done():
            self._warn(f"ended with {self._pending()} frames that Numaflow has not acknowledged")
            running.cancel()


class _RequestEndpoint:
    def __init__(self, queue: RequestQueue, service: Service) -> None:
        self._queue = queue
        self.inlets: Sequence[Inlet] = (queue,)
        self.outlets: Sequence[Outlet] = ()
        self.service = service

    async def drain(self, running: asyncio.Task[None], stop: asyncio.Event, limit_s: float) -> None:
        """Process requests until Numaflow's container disconnects or is idle, then stop the vertex."""
        started = time.monotonic()
        while not running.done() and time.monotonic() - started < limit_s:
            if not self._queue.busy and (self._queue.streams == 0 or self._queue.idle_s() > _SILENCE_TIMEOUT_S):
                break
            await asyncio.sleep(_POLL_INTERVAL_S)
        stop.set()
