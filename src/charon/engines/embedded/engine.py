"""The embedded engine: a pipeline as processes around a nats-server of its own, on one machine."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil

from charon.adapters.nats import Bus, NatsServer
from charon.adapters.prometheus.exporter import serve_text
from charon.engines.embedded.processes import Process, die_with_parent
from charon.engines.embedded.runfile import RunFile, RunInfo
from charon.engines.embedded.settings import BEGIN, VertexSettings
from charon.engines.embedded.snapshot import Snapshot, take_snapshot
from charon.engines.embedded.telemetry import metrics_text
from charon.frames import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from charon.engines.manifest import Container, Pipeline, Vertex

_log = logging.getLogger(__name__)
PROGRAM = "charon-vertex"
# Key of the ledger's page that shows whether the server can write; it has no dot, so no replica's page is called so.
_TRIAL = "disk"
_USABLE = 0.7
_LOOK_S = 0.5
_SILENT_S = 60.0
_DISK_S = 2.0
_DISK_ROOM_BYTES = 16 << 20
_READY_STATES = frozenset({"running", "waiting for the channel"})


@dataclass(frozen=True, slots=True)
class Options:
    """How the embedded engine runs a pipeline.

    Parameters
    ----------
    output
        Folder for results, logs and the buffers' files.
    storage
        Where buffers live: ``memory``, or ``file`` to survive the death of the nats-server.
    buffer_bytes
        Bound of each edge's buffer.
    ack_wait_s
        After this long a message that nobody acknowledged is handed out again.
    environment
        Added to every vertex's environment.
    metrics_port
        Where to serve the run's metrics on loopback, 0 for a free port; None serves none.
    """

    output: Path
    storage: Literal["memory", "file"] = "memory"
    buffer_bytes: int = 2 * 2**30
    ack_wait_s: float = 3.0
    nats_port: int = 0
    environment: dict[str, str] = field(default_factory=dict[str, str])
    metrics_port: int | None = None


class EngineError(RuntimeError):
    """The pipeline cannot go on; the text says which vertex and why."""


class EmbeddedEngine:
    """One run of one pipeline.

    Parameters
    ----------
    pipeline
        The manifest.
    manifest
        Where it was read from, for provenance.
    options
        How to run it.
    """

    def __init__(self, pipeline: Pipeline, manifest: Path, options: Options) -> None:
        self.pipeline = pipeline
        self.options = options
        self.folder = options.output / "run"
        self.run = _run_name(self.folder, pipeline.name)
        self._manifest = manifest
        self._manifest_text = manifest.read_text()
        self._edges = {edge: pipeline.edge_name(edge) for edge in pipeline.spec.edges}
        self._server = NatsServer(self.folder / "nats", port=options.nats_port, preexec=die_with_parent())
        self._serving = asyncio.Lock()
        self._signal = secrets.token_hex(8)
        self._begun = False
        self._room: int | None = None
        self._run_file: RunFile | None = None
        self._bus: Bus | None = None
        self._exporter = AsyncExitStack()
        self._tending: asyncio.Task[None] | None = None
        self._minding: asyncio.Task[None] | None = None
        self.processes: dict[str, list[Process]] = {}
        self.messages: list[str] = []
        self.failure: str | None = None
        self.server_restarts = 0
        self.metrics_port: int | None = None

    async def start(self, timeout_s: float = 60.0) -> None:
        """Start everything, sinks first, and return when every vertex is ready.

        Raises
        ------
        UsageError
            If the pipeline runs already, or a vertex is not one that this engine can run.
        EngineError
            If a vertex does not become ready.
        """
        self._processes_for_all()
        self._run_file = RunFile(self.pipeline.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "name").write_text(self.run + "\n")
        self._server.start()
        self._bus = await Bus.connect(self._server.address, "supervisor")
        await self._make_buffers()
        await self._serve_metrics()
        self._run_file.write(self._info())
        self._tending = asyncio.create_task(self._tend())
        if self.options.storage == "file":
            self._minding = asyncio.create_task(self._mind_disk())
        for processes in self.processes.values():
            for process in processes:
                process.start()
        # Frames must find their readers warm: the first ones would wait for them.
        await self._until_ready([v.name for v in self.pipeline.spec.vertices if v.source is None], timeout_s)
        self._begun = True
        await self._bus.save(BEGIN, {"signal": self._signal})
        await self._until_ready([v.name for v in self.pipeline.spec.vertices], timeout_s)

    async def snapshot(self, *, ended: bool = False) -> Snapshot:
        """Return the state of the run.

        Raises
        ------
        UnavailableError
            If the nats-server does not answer (it is being started again).
        """
        if self._bus is None:
            raise UnavailableError("the run has not started")
        return await take_snapshot(self._bus, list(self._edges.values()), ended=ended)

    def server_cpu_s(self) -> float:
        """Return the processor time in s that the nats-server has used."""
        with suppress(psutil.Error):
            times = psutil.Process(self._server.pid).cpu_times() if self._server.pid else None
            return times.user + times.system if times else 0.0
        return 0.0

    async def drain(self, timeout_s: float | None = None) -> bool:
        """Let the sources end, then each vertex once what came before it is finished.

        Returns
        -------
        Whether everything that was accepted is finished.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        complete = True
        for vertex in self.pipeline.spec.in_order():
            for edge, name in self._edges.items():
                if edge.to == vertex.name:
                    complete &= await self._until_empty(name, deadline)
            for process in self.processes[vertex.name]:
                process.terminate()
            for process in self.processes[vertex.name]:
                complete &= await self._until_finished(process, deadline)
        return complete

    async def stop(self) -> None:
        """End every process that was started and leave nothing behind."""
        await self._exporter.aclose()
        for task in filter(None, (self._tending, self._minding)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for processes in self.processes.values():
            for process in processes:
                process.kill()
        if self._bus is not None:
            await self._bus.close()
        self._server.stop()
        if self._run_file is not None:
            self._run_file.close()
            self._run_file = None

    # Starting

    async def _serve_metrics(self) -> None:
        if self.options.metrics_port is None:
            return

        async def text() -> str:
            restarts = {process.name: process.restarts for group in self.processes.values() for process in group}
            return metrics_text(self.pipeline.name, await self.snapshot(), restarts, self.server_restarts)

        self.metrics_port = await self._exporter.enter_async_context(serve_text(text, port=self.options.metrics_port))

    def _processes_for_all(self) -> None:
        for vertex in self.pipeline.spec.vertices:
            command = vertex_command(vertex)
            self.processes[vertex.name] = [self._process(vertex, k, command) for k in range(vertex.replicas)]

    def _process(self, vertex: Vertex, replica: int, command: list[str]) -> Process:
        limits = self.pipeline.limits_of(vertex)
        settings = VertexSettings(
            run=self.run,
            vertex=vertex.name,
            replica=replica,
            address=self._server.address,
            inlets=tuple(name for edge, name in self._edges.items() if edge.to == vertex.name),
            outlets=tuple(name for edge, name in self._edges.items() if edge.from_ == vertex.name),
            read_batch_size=limits.read_batch_size or 8,
            signal=self._signal if vertex.source is not None else "",
        )
        given = vertex.container.environment() if vertex.container else {}
        environment = {
            **os.environ,
            "CHARON_OUTPUT": str(self.options.output),
            "CHARON_MANIFEST": self._manifest_text,
            **given,
            **self.options.environment,
            **settings.to_environment(),
        }
        log = self.folder / f"{vertex.name}-{replica}.log"
        return Process(settings.page, command, environment, log)

    async def _make_buffers(self) -> None:
        if self._bus is None:
            return
        await self._bus.make_ledger(self.options.storage)
        if self._begun:
            # The ledger may have lain in the memory of the server that ended.
            await self._bus.save(BEGIN, {"signal": self._signal})
        size = self._buffer_bytes()
        for edge, name in self._edges.items():
            limits = self.pipeline.limits_of(self._vertex(edge.to))
            usable = (limits.buffer_max_length or 30_000) * (limits.buffer_usage_limit or 80) // 100
            await self._bus.make_edge(
                name,
                storage=self.options.storage,
                max_bytes=size,
                max_messages=usable,
                ack_wait_s=self.options.ack_wait_s,
                max_handed_out=1000,
            )

    def _buffer_bytes(self) -> int:
        """Return the bound of each buffer: as asked for, or what there is room for.

        The server sets the whole bound aside, within three quarters of the memory or of the disk.
        """
        if self._room is None:
            if self.options.storage == "memory":
                room = psutil.virtual_memory().total
            else:
                room = psutil.disk_usage(str(self.folder)).free
            self._room = int(_USABLE * room) // max(1, len(self._edges))
            if self._room < self.options.buffer_bytes:
                what = "of memory" if self.options.storage == "memory" else "on the disk"
                self._tell(f"each buffer holds {self._room / 2**20:.0f} MiB: there is no room {what} for more")
        return min(self.options.buffer_bytes, self._room)

    async def _until_ready(self, vertices: list[str], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        waiting = [process for name in vertices for process in self.processes[name]]
        while waiting:
            self._raise_failure()
            if time.monotonic() > deadline:
                raise EngineError(f"{waiting[0].name} was not ready after {timeout_s:.0f} s: {waiting[0].last_words()}")
            pages = (await self.snapshot()).pages
            waiting = [p for p in waiting if p.pid is None or pages.get(p.name, {}).get("state") not in _READY_STATES]
            await asyncio.sleep(0.05)

    def _info(self) -> RunInfo:
        address = self._server.address
        return RunInfo(
            pipeline=self.pipeline.name,
            run=self.run,
            pid=os.getpid(),
            port=address.port,
            token=address.token,
            output=str(self.options.output.resolve()),
            manifest=str(self._manifest),
            started_ns=time.time_ns(),
            replicas=[process.name for processes in self.processes.values() for process in processes],
        )

    # Watching

    async def _tend(self) -> None:
        """Start again what dies, until it dies too often."""
        while True:
            for processes in self.processes.values():
                for process in processes:
                    self._tell(process.tend())
                    if process.failure and self.failure is None:
                        self.failure = process.failure
            await self._tend_server()
            await asyncio.sleep(0.05)

    async def _tend_server(self) -> None:
        if self._serving.locked():
            return
        status = self._server.poll()
        if status is None and self._server.pid is not None:
            return
        self.server_restarts += 1
        if self.server_restarts > 5:
            self.failure = f"nats-server keeps ending (status {status}); its log is {self._server.log}"
            return
        kept = "its streams are on disk" if self.options.storage == "file" else "what its memory held is lost"
        self._tell(f"nats-server ended with status {status}; starting it again; {kept}")
        await self._start_server_again()

    async def _mind_disk(self) -> None:
        """Start the nats-server again once a full disk has room: by itself it writes no more, ever.

        What it had confirmed is on the disk, and nobody was told otherwise of the rest.
        """
        told = False
        while self._bus is not None:
            await asyncio.sleep(_DISK_S)
            try:
                await self._bus.save(_TRIAL, {"ns": time.time_ns()})
            except UnavailableError:
                # The client does not pass on what the server says of it; its log does.
                if not self._server.complains("no space left on device"):
                    continue
                if not told:
                    self._tell(f"the disk of {self.folder} is full: the buffers take nothing until there is room")
                    told = True
                if psutil.disk_usage(str(self.folder)).free > _DISK_ROOM_BYTES:
                    self._tell(f"the disk of {self.folder} has room again; starting nats-server again")
                    await self._start_server_again()
                    told = False

    async def _start_server_again(self) -> None:
        async with self._serving:
            await asyncio.to_thread(self._server.stop)
            try:
                await asyncio.to_thread(self._server.start)
                await self._make_buffers_again()
            except UnavailableError as error:
                self._tell(str(error))

    async def _make_buffers_again(self) -> None:
        """Make the buffers anew where they lived in memory; the client comes back by itself."""
        for _ in range(100):
            try:
                await self._make_buffers()
            except Exception as error:  # noqa: BLE001 - whatever the client says while it reconnects
                _log.debug("buffers: %r", error)
                await asyncio.sleep(0.1)
            else:
                return

    def _tell(self, message: str | None) -> None:
        if message:
            self.messages.append(message)
            _log.warning("%s", message)

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise EngineError(self.failure)

    async def _until_empty(self, edge: str, deadline: float | None) -> bool:
        while self.failure is None:
            try:
                state = await self._bus.edge_state(edge) if self._bus else None
            except UnavailableError:
                state = None
            if state is not None and state.waiting == 0:
                return True
            if deadline is not None and time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.03)
        return False

    async def _until_finished(self, process: Process, deadline: float | None) -> bool:
        """Wait for a process that was told to end, as long as its page in the ledger shows that it lives."""
        last, since = 0, time.monotonic()
        while not await process.ends_within(_LOOK_S):
            page: Mapping[str, Any] | None = None
            with suppress(UnavailableError):
                page = await self._bus.load(process.name) if self._bus else None
            updated = last + 1 if page is None else int(page.get("updated_ns", 0))
            if updated != last:
                last, since = updated, time.monotonic()
            if time.monotonic() - since > _SILENT_S or (deadline is not None and time.monotonic() > deadline):
                process.kill()
                return False
        return True

    def _vertex(self, name: str) -> Vertex:
        return next(vertex for vertex in self.pipeline.spec.vertices if vertex.name == name)


def _run_name(folder: Path, pipeline: str) -> str:
    """Name a run by its time; a run that is resumed keeps its name, under which its log lies."""
    earlier = folder / "name"
    if earlier.exists():
        return earlier.read_text().strip()
    return time.strftime(f"{pipeline}-%Y%m%dT%H%M%SZ", time.gmtime())


def vertex_command(vertex: Vertex) -> list[str]:
    """Return the command line that a vertex's process gets here.

    Raises
    ------
    UsageError
        If the vertex runs something else than this program.
    """
    program = [sys.executable, "-m", "charon.cli.vertex"]
    container = vertex.container
    if container is not None:
        return [*program, *_arguments(vertex.name, container)]
    if vertex.sink is not None and vertex.sink.log is not None:
        return [*program, "log-sink"]
    if vertex.sink is not None and vertex.sink.blackhole is not None:
        return [*program, "log-sink", "--quiet"]
    raise UsageError(f"vertex {vertex.name!r}: the embedded engine has no builtin function; give it a container")


def _arguments(vertex: str, container: Container) -> list[str]:
    command = [*container.command, *container.args]
    if container.command:
        if Path(container.command[0]).name != PROGRAM:
            raise UsageError(
                f"vertex {vertex!r} runs {container.command[0]!r}; the embedded engine runs {PROGRAM} only"
            )
        command = command[1:]
    return command
