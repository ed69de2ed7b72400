"""The embedded engine: a pipeline as processes around a nats-server of its own, on one machine."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from charon.adapters.nats import LedgerPage
from charon.adapters.prometheus.scrape import serve_text
from charon.engines.embedded.buffers import Buffers
from charon.engines.embedded.commands import vertex_command
from charon.engines.embedded.processes import Process
from charon.engines.embedded.run_file import RunFile, RunInfo
from charon.engines.embedded.snapshot import Snapshot, take_snapshot
from charon.engines.embedded.telemetry import metrics_text
from charon.errors import UnavailableError
from charon.settings import environment
from charon.settings.vertex import EmbeddedSettings
from charon.tasks import task_group

if TYPE_CHECKING:
    from pathlib import Path

    from charon.engines.embedded.options import Options
    from charon.engines.manifest import Pipeline, Vertex
    from charon.ledger.pages import Page

_log = logging.getLogger(__name__)
_LOOK_S = 0.5
_SUPERVISION_INTERVAL_S = 0.05
_SILENT_S = 60.0


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
        self._buffers = Buffers(pipeline, self.folder, options, self._tell)
        self._signal = secrets.token_hex(8)
        self._run_file: RunFile | None = None
        self._exporter = AsyncExitStack()
        self._supervision: asyncio.Task[None] | None = None
        self.processes: dict[str, list[Process]] = {}
        self.messages: list[str] = []
        self.failure: str | None = None
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
        await self._buffers.start()
        await self._serve_metrics()
        self._run_file.write(self._info())
        self._supervision = asyncio.create_task(self._supervise())
        for processes in self.processes.values():
            for process in processes:
                process.start()
        # Frames must find their readers warm: the first ones would wait for them.
        await self._until_ready([v.name for v in self.pipeline.spec.vertices if v.source is None], timeout_s)
        await self._buffers.start_sources(self._signal)
        await self._until_ready([v.name for v in self.pipeline.spec.vertices], timeout_s)

    async def snapshot(self, *, ended: bool = False) -> Snapshot:
        """Return the state of the run.

        Raises
        ------
        UnavailableError
            If the nats-server does not answer (it is being started again).
        """
        return await take_snapshot(self._buffers.connection, list(self._buffers.edges.values()), ended=ended)

    def server_cpu_s(self) -> float:
        """Return the processor time in s that the nats-server has used."""
        return self._buffers.cpu_s()

    @property
    def server_restarts(self) -> int:
        """How often the nats-server was started again."""
        return self._buffers.restarts

    async def drain(self, timeout_s: float | None = None) -> bool:
        """Let the sources end, then each vertex once what came before it is finished.

        Returns
        -------
        Whether everything that was accepted is finished.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        complete = True
        for vertex in self.pipeline.spec.in_order():
            for edge, name in self._buffers.edges.items():
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
        if self._supervision is not None:
            self._supervision.cancel()
            await asyncio.gather(self._supervision, return_exceptions=True)
        for processes in self.processes.values():
            for process in processes:
                process.kill()
        await self._buffers.stop()
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
        settings = EmbeddedSettings(
            run=self.run,
            vertex=vertex.name,
            replica=replica,
            nats=self._buffers.address,
            inlets=tuple(name for edge, name in self._buffers.edges.items() if edge.to == vertex.name),
            outlets=tuple(name for edge, name in self._buffers.edges.items() if edge.from_ == vertex.name),
            read_batch_size=limits.read_batch_size or 8,
            start_signal=self._signal if vertex.source is not None else "",
        )
        given = vertex.container.environment() if vertex.container else {}
        variables = {
            **environment.copy(),
            "CHARON_OUTPUT": str(self.options.output),
            "CHARON_MANIFEST": self._manifest_text,
            **given,
            **self.options.environment,
            **settings.to_environment(),
        }
        log = self.folder / f"{vertex.name}-{replica}.log"
        return Process(settings.page, command, variables, log)

    async def _until_ready(self, vertices: list[str], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        waiting = [process for name in vertices for process in self.processes[name]]
        while waiting:
            self._raise_failure()
            if time.monotonic() > deadline:
                raise EngineError(
                    f"{waiting[0].name} was not ready after {timeout_s:.0f} s: {waiting[0].last_log_line()}"
                )
            pages = (await self.snapshot()).pages
            ready = {key for key, page in pages.items() if page.process.state.is_ready}
            waiting = [process for process in waiting if process.pid is None or process.name not in ready]
            await asyncio.sleep(0.05)

    def _info(self) -> RunInfo:
        address = self._buffers.address
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

    async def _supervise(self) -> None:
        """Supervise processes, server and disk; a defect in the supervision fails the run."""
        try:
            async with task_group() as tasks:
                tasks.create_task(self._supervise_processes())
                if self.options.storage == "file":
                    tasks.create_task(self._buffers.monitor_disk())
        except Exception as error:  # noqa: BLE001 - reported as the failure of the run
            _log.exception("the supervision of the run failed")
            self.failure = self.failure or f"the supervision of the run failed: {error!r}"

    async def _supervise_processes(self) -> None:
        """Restart what exits, until it exits too often."""
        while True:
            for processes in self.processes.values():
                for process in processes:
                    self._tell(process.supervise())
                    if process.failure and self.failure is None:
                        self.failure = process.failure
            await self._buffers.supervise()
            self.failure = self.failure or self._buffers.failure
            await asyncio.sleep(_SUPERVISION_INTERVAL_S)

    def _tell(self, message: str | None) -> None:
        if message:
            self.messages.append(message)
            _log.warning("%s", message)

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise EngineError(self.failure)

    async def _until_empty(self, edge: str, deadline: float | None) -> bool:
        while self.failure is None:
            if await self._buffers.backlog(edge) == 0:
                return True
            if deadline is not None and time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.03)
        return False

    async def _until_finished(self, process: Process, deadline: float | None) -> bool:
        """Wait for a process that was told to end, as long as its page in the ledger shows that it lives."""
        last, since = 0, time.monotonic()
        while not await process.exits_within(_LOOK_S):
            page: Page | None = None
            with suppress(UnavailableError, ValueError):
                page = await LedgerPage(self._buffers.connection.ledger, process.name).load()
            updated = last + 1 if page is None else page.process.updated_ns
            if updated != last:
                last, since = updated, time.monotonic()
            if time.monotonic() - since > _SILENT_S or (deadline is not None and time.monotonic() > deadline):
                process.kill()
                return False
        return True


def _run_name(folder: Path, pipeline: str) -> str:
    """Name a run by its time; a run that is resumed keeps its name, under which its log lies."""
    earlier = folder / "name"
    if earlier.exists():
        return earlier.read_text().strip()
    return time.strftime(f"{pipeline}-%Y%m%dT%H%M%SZ", time.gmtime())
