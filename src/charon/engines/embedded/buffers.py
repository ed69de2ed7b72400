"""The buffers of a run: its nats-server, the edges in it, and what is done when server or disk fail."""

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

    from charon.adapters.nats import NatsAddress
    from charon.engines.embedded.options import Options
    from charon.engines.manifest import Pipeline

_log = logging.getLogger(__name__)
# Key of the ledger's page that shows whether the server can write; it has no dot, so no replica's page is called so.
_TRIAL = "disk"
_USABLE = 0.7
_DISK_S = 2.0
_DISK_ROOM_BYTES = 16 << 20
_MOST_RESTARTS = 5


class Buffers:
    """The edges of a pipeline and the ledger beside them, in a nats-server of their own.

    Parameters
    ----------
    pipeline
        The manifest.
    folder
        Where the server keeps its files.
    options
        How to run.
    tell
        Takes what the user should know.
    """

    def __init__(self, pipeline: Pipeline, folder: Path, options: Options, tell: Callable[[str], None]) -> None:
        self.edges = {edge: pipeline.edge_name(edge) for edge in pipeline.spec.edges}
        self.restarts = 0
        self.failure: str | None = None
        self._pipeline = pipeline
        self._folder = folder
        self._options = options
        self._tell = tell
        self._server = NatsServer(folder / "nats", port=options.nats_port, preexec=die_with_parent())
        self._serving = asyncio.Lock()
        self._signal: str | None = None
        self._room: int | None = None
        self._bus: NatsConnection | None = None
        self._minding: asyncio.Task[None] | None = None

    @property
    def address(self) -> NatsAddress:
        """Where the server is."""
        return self._server.address

    @property
    def bus(self) -> NatsConnection:
        """The supervisor's connection.

        Raises
        ------
        UnavailableError
            If the run has not started.
        """
        if self._bus is None:
            raise UnavailableError("the run has not started")
        return self._bus

    def cpu_s(self) -> float:
        """Return the processor time in s that the nats-server has used."""
        with suppress(psutil.Error):
            times = psutil.Process(self._server.pid).cpu_times() if self._server.pid else None
            return times.user + times.system if times else 0.0
        return 0.0

    async def start(self) -> None:
        """Start the server and make the edges in it."""
        self._server.start()
        self._bus = await NatsConnection.connect(self._server.address, "supervisor")
        await self._make()
        if self._options.storage == "file":
            self._minding = asyncio.create_task(self._mind_disk())

    async def let_begin(self, signal: str) -> None:
        """Let sources begin that wait for this word."""
        self._signal = signal
        await publish_start(self.bus.ledger, signal)

    async def stop(self) -> None:
        """End the server."""
        if self._minding is not None:
            self._minding.cancel()
            await asyncio.gather(self._minding, return_exceptions=True)
        if self._bus is not None:
            await self._bus.close()
        self._server.stop()

    async def supervise(self) -> None:
        """Start the server again where it has ended, until it ends too often."""
        if self._serving.locked():
            return
        status = self._server.poll()
        if status is None and self._server.pid is not None:
            return
        self.restarts += 1
        if self.restarts > _MOST_RESTARTS:
            self.failure = f"nats-server keeps ending (status {status}); its log is {self._server.log}"
            return
        kept = "its streams are on disk" if self._options.storage == "file" else "what its memory held is lost"
        self._tell(f"nats-server ended with status {status}; starting it again; {kept}")
        await self._start_again()

    async def waiting(self, edge: str) -> int | None:
        """Return how many messages an edge holds; None where the server does not answer."""
        try:
            return (await self.bus.streams.state(edge)).waiting
        except UnavailableError:
            return None

    # Making

    async def _make(self) -> None:
        await self.bus.ledger.create(self._options.storage)
        if self._signal is not None:
            # The ledger may have lain in the memory of the server that ended.
            await self.let_begin(self._signal)
        size = self._bytes()
        consumers = {vertex.name: vertex for vertex in self._pipeline.spec.vertices}
        for edge, name in self.edges.items():
            limits = self._pipeline.limits_of(consumers[edge.to])
            usable = (limits.buffer_max_length or 30_000) * (limits.buffer_usage_limit or 80) // 100
            await self.bus.streams.create(
                name,
                storage=self._options.storage,
                max_bytes=size,
                max_messages=usable,
                ack_wait_s=self._options.ack_wait_s,
                max_ack_pending=1000,
            )

    def _bytes(self) -> int:
        """Return the bound of each buffer: as asked for, or what there is room for.

        The server sets the whole bound aside, within three quarters of the memory or of the disk.
        """
        if self._room is None:
            if self._options.storage == "memory":
                room = psutil.virtual_memory().total
            else:
                room = psutil.disk_usage(str(self._folder)).free
            self._room = int(_USABLE * room) // max(1, len(self.edges))
            if self._room < self._options.buffer_bytes:
                what = "of memory" if self._options.storage == "memory" else "on the disk"
                self._tell(f"each buffer holds {self._room / 2**20:.0f} MiB: there is no room {what} for more")
        return min(self._options.buffer_bytes, self._room)

    # Making again

    async def _mind_disk(self) -> None:
        """Start the nats-server again once a full disk has room: by itself it writes no more, ever.

        What it had confirmed is on the disk, and nobody was told otherwise of the rest.
        """
        told = False
        while True:
            await asyncio.sleep(_DISK_S)
            try:
                await self.bus.ledger.save(_TRIAL, {"ns": time.time_ns()})
            except UnavailableError:
                # The client does not pass on what the server says of it; its log does.
                if not self._server.log_ends_with("no space left on device"):
                    continue
                if not told:
                    self._tell(f"the disk of {self._folder} is full: the buffers take nothing until there is room")
                    told = True
                if psutil.disk_usage(str(self._folder)).free > _DISK_ROOM_BYTES:
                    self._tell(f"the disk of {self._folder} has room again; starting nats-server again")
                    await self._start_again()
                    told = False

    async def _start_again(self) -> None:
        async with self._serving:
            await asyncio.to_thread(self._server.stop)
            try:
                await asyncio.to_thread(self._server.start)
                await self._make_again()
            except UnavailableError as error:
                self._tell(str(error))

    async def _make_again(self) -> None:
        """Make the buffers anew where they lived in memory; the client comes back by itself."""
        for _ in range(100):
            try:
                await self._make()
            except Exception as error:  # noqa: BLE001 - whatever the client says while it reconnects
                _log.debug("buffers: %r", error)
                await asyncio.sleep(0.1)
            else:
                return
