"""The nats-server of a run with its edges, and its recovery after a crash or a full disk."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from charon.adapters.nats import NatsConnection, NatsServer
from charon.engines.embedded.processes import die_with_parent
from charon.engines.embedded.start_signal import publish_start
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from charon.engines.embedded.options import Options
    from charon.engines.manifest import Pipeline
    from charon.settings.nats import NatsAddress

_log = logging.getLogger(__name__)
# Key of the ledger page that tests the disk; unlike the keys of replicas' pages, it contains no dot.
_DISK_PROBE_KEY = "disk"
_DISK_POLL_INTERVAL_S = 2.0
_MIN_FREE_BYTES = 16 << 20
# nats-server allocates the limits of all buffers within three quarters of the memory or of the disk.
_MAX_ALLOCATION = 0.7
_MAX_RESTARTS = 5
_MAX_ACK_PENDING = 1000
_DEFAULT_MAX_MESSAGES = 30_000
_DEFAULT_USAGE_PERCENT = 80
_RECREATE_ATTEMPTS = 100
_RECREATE_DELAY_S = 0.1


class Buffers:
    """The edges and the ledger of a pipeline in a nats-server process.

    Parameters
    ----------
    pipeline
        The manifest.
    folder
        Folder for the server's files.
    options
        Options of the engine.
    warn
        Called with messages for the user.
    """

    def __init__(self, pipeline: Pipeline, folder: Path, options: Options, warn: Callable[[str], None]) -> None:
        self.edges = {edge: pipeline.edge_name(edge) for edge in pipeline.spec.edges}
        self.restarts = 0
        self.failure: str | None = None
        self._pipeline = pipeline
        self._folder = folder
        self._options = options
        self._warn = warn
        self._server = NatsServer(folder / "nats", port=options.nats_port, preexec=die_with_parent())
        self._restarting = asyncio.Lock()
        self._start_signal: str | None = None
        self._limit_bytes: int | None = None
        self._connection: NatsConnection | None = None

    @property
    def address(self) -> NatsAddress:
        """Address of the server."""
        return self._server.address

    @property
    def connection(self) -> NatsConnection:
        """The supervisor's connection to the server.

        Raises
        ------
        UnavailableError
            If the run has not started.
        """
        if self._connection is None:
            raise UnavailableError("the run has not started")
        return self._connection

    def cpu_s(self) -> float:
        """Return the CPU time of the nats-server in s."""
        with suppress(psutil.Error):
            times = psutil.Process(self._server.pid).cpu_times() if self._server.pid else None
            return times.user + times.system if times else 0.0
        return 0.0

    async def start(self) -> None:
        """Start the server and create the edges and the ledger."""
        self._server.start()
        self._connection = await NatsConnection.connect(self._server.address, "supervisor")
        await self._create()

    async def start_sources(self, signal: str) -> None:
        """Publish the value that the sources wait for."""
        self._start_signal = signal
        await publish_start(self.connection.ledger, signal)

    async def stop(self) -> None:
        """Stop the server."""
        if self._connection is not None:
            await self._connection.close()
        self._server.stop()

    async def backlog(self, edge: str) -> int | None:
        """Return the number of messages in an edge, or None if the server does not respond."""
        try:
            return (await self.connection.streams.state(edge)).waiting
        except UnavailableError:
            return None

    async def supervise(self) -> None:
        """Restart the server if it has exited; after too many restarts, set `failure`."""
        if self._restarting.locked():
            return
        status = self._server.poll()
        if status is None and self._server.pid is not None:
            return
        self.restarts += 1
        if self.restarts > _MAX_RESTARTS:
            self.failure = f"nats-server exits repeatedly (status {status}); see its log {self._server.log}"
            return
        loss = "its streams are on disk" if self._options.storage == "file" else "buffered messages are lost"
        self._warn(f"nats-server exited with status {status}; restarting ({loss})")
        await self._restart()

    async def monitor_disk(self) -> None:
        """Restart the server when a full disk has space again; without a restart, it never writes again.

        No message is lost: those that the server confirmed are on the disk, and the others are published again.
        """
        warned = False
        while True:
            await asyncio.sleep(_DISK_POLL_INTERVAL_S)
            try:
                await self.connection.ledger.save(_DISK_PROBE_KEY, {"ns": time.time_ns()})
            except UnavailableError:
                # The error does not contain the reason; the server's log does.
                if not self._server.log_ends_with("no space left on device"):
                    continue
                if not warned:
                    self._warn(f"{self._folder}: the disk is full; the buffers refuse messages until it has space")
                    warned = True
                if psutil.disk_usage(str(self._folder)).free > _MIN_FREE_BYTES:
                    self._warn(f"{self._folder}: the disk has space again; restarting nats-server")
                    await self._restart()
                    warned = False

    async def _create(self) -> None:
        await self.connection.ledger.create(self._options.storage)
        if self._start_signal is not None:
            # With storage in memory, a restart of the server has deleted the start page.
            await self.start_sources(self._start_signal)
        max_bytes = self._buffer_limit_bytes()
        vertices = {vertex.name: vertex for vertex in self._pipeline.spec.vertices}
        for edge, name in self.edges.items():
            limits = self._pipeline.limits_of(vertices[edge.to])
            length = limits.buffer_max_length or _DEFAULT_MAX_MESSAGES
            await self.connection.streams.create(
                name,
                storage=self._options.storage,
                max_bytes=max_bytes,
                max_messages=length * (limits.buffer_usage_limit or _DEFAULT_USAGE_PERCENT) // 100,
                ack_wait_s=self._options.ack_wait_s,
                max_ack_pending=_MAX_ACK_PENDING,
            )

    def _buffer_limit_bytes(self) -> int:
        """Return the size limit of each buffer: the configured one, or less if memory or disk are too small."""
        if self._limit_bytes is None:
            if self._options.storage == "memory":
                resource, available = "memory", psutil.virtual_memory().total
            else:
                resource, available = "disk", psutil.disk_usage(str(self._folder)).free
            limit = int(_MAX_ALLOCATION * available) // max(1, len(self.edges))
            if limit < self._options.buffer_bytes:
                self._warn(f"each buffer is limited to {limit / 2**20:.0f} MiB by the available {resource}")
            self._limit_bytes = min(self._options.buffer_bytes, limit)
        return self._limit_bytes

    async def _restart(self) -> None:
        async with self._restarting:
            await asyncio.to_thread(self._server.stop)
            try:
                await asyncio.to_thread(self._server.start)
                await self._recreate()
            except UnavailableError as error:
                self._warn(str(error))

    async def _recreate(self) -> None:
        """Create missing edges and the ledger once the client has reconnected."""
        for _ in range(_RECREATE_ATTEMPTS):
            try:
                await self._create()
            except Exception as error:  # noqa: BLE001 - nats-py raises errors of many types while it reconnects
                _log.debug("cannot create the buffers yet: %r", error)
                await asyncio.sleep(_RECREATE_DELAY_S)
            else:
                return
