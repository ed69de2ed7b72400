"""The embedded engine: a pipeline as processes and a nats-server on one machine."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from charon.adapters.prometheus.scrape import serve_text
from charon.engines.embedded.buffers import Buffers
from charon.engines.embedded.drain import drain
from charon.engines.embedded.replicas import create_processes
from charon.engines.embedded.run_file import RunFile, RunInfo
from charon.engines.embedded.snapshot import Snapshot, read_snapshot
from charon.engines.embedded.supervision import EngineError, Supervision
from charon.engines.embedded.telemetry import metrics_text

if TYPE_CHECKING:
    from pathlib import Path

    from charon.engines.embedded.options import Options
    from charon.engines.embedded.processes import Process
    from charon.engines.manifest import Pipeline

_READY_POLL_INTERVAL_S = 0.05


class EmbeddedEngine:
    """One run of one pipeline.

    Parameters
    ----------
    pipeline
        The pipeline.
    manifest
        File of its manifest, for provenance.
    options
        Options of the engine.
    """

    def __init__(self, pipeline: Pipeline, manifest: Path, options: Options) -> None:
        self.pipeline = pipeline
        self.options = options
        self.folder = options.output / "run"
        self.run = _run_name(self.folder, pipeline.name)
        self._manifest = manifest
        self._manifest_text = manifest.read_text()
        self._supervision = Supervision()
        self._buffers = Buffers(pipeline, self.folder, options, self._supervision.warn)
        self._start_signal = secrets.token_hex(8)
        self._run_file: RunFile | None = None
        self._exporter = AsyncExitStack()
        self.processes: dict[str, list[Process]] = {}
        self.metrics_port: int | None = None

    @property
    def failure(self) -> str | None:
        """Reason why the run cannot continue, or None."""
        return self._supervision.failure

    @property
    def messages(self) -> list[str]:
        """Warnings of the supervision so far."""
        return self._supervision.messages

    @property
    def server_restarts(self) -> int:
        """Number of restarts of the nats-server."""
        return self._buffers.restarts

    def server_cpu_s(self) -> float:
        """Return the CPU time of the nats-server in s."""
        return self._buffers.cpu_s()

    async def start(self, timeout_s: float = 60.0) -> None:
        """Start the server and all vertices, and wait until every vertex is ready; sources start last.

        Raises
        ------
        UsageError
            If the pipeline is already running, or the embedded engine does not support a vertex.
        EngineError
            If a vertex does not become ready.
        """
        self._create_processes()
        self._run_file = RunFile(self.pipeline.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "name").write_text(self.run + "\n")
        await self._buffers.start()
        await self._serve_metrics()
        self._run_file.write(self._info())
        processes = self._all_processes()
        self._supervision.start(processes, self._buffers, monitor_disk=self.options.storage == "file")
        for process in processes:
            process.start()
        vertices = self.pipeline.spec.vertices
        # The first frames must not wait until a network is loaded.
        await self._until_ready([vertex.name for vertex in vertices if vertex.source is None], timeout_s)
        await self._buffers.start_sources(self._start_signal)
        await self._until_ready([vertex.name for vertex in vertices], timeout_s)

    async def snapshot(self, *, ended: bool = False) -> Snapshot:
        """Return the state of the run.

        Raises
        ------
        UnavailableError
            If the nats-server does not respond, for example during a restart.
        """
        return await read_snapshot(self._buffers.connection, list(self._buffers.edges.values()), ended=ended)

    async def drain(self, timeout_s: float | None = None) -> bool:
        """Stop the sources, then each vertex when its inlets are empty.

        Returns
        -------
        Whether all accepted frames were processed.
        """
        return await drain(self.pipeline, self.processes, self._buffers, self._supervision, timeout_s)

    async def stop(self) -> None:
        """Stop the run without draining it: kill the processes that are still running and delete the run file."""
        await self._exporter.aclose()
        await self._supervision.stop()
        for process in self._all_processes():
            process.kill()
        await self._buffers.stop()
        if self._run_file is not None:
            self._run_file.close()
            self._run_file = None

    def _create_processes(self) -> None:
        self.processes = create_processes(
            self.pipeline,
            self._buffers,
            self.options,
            run=self.run,
            manifest=self._manifest_text,
            folder=self.folder,
            start_signal=self._start_signal,
        )

    def _all_processes(self) -> list[Process]:
        return [process for processes in self.processes.values() for process in processes]

    async def _serve_metrics(self) -> None:
        if self.options.metrics_port is None:
            return

        async def text() -> str:
            restarts = {process.name: process.restarts for process in self._all_processes()}
            return metrics_text(self.pipeline.name, await self.snapshot(), restarts, self.server_restarts)

        self.metrics_port = await self._exporter.enter_async_context(serve_text(text, port=self.options.metrics_port))

    async def _until_ready(self, vertices: list[str], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        waiting = [process for name in vertices for process in self.processes[name]]
        while waiting:
            self._supervision.raise_failure()
            if time.monotonic() > deadline:
                process = waiting[0]
                raise EngineError(f"{process.name} was not ready after {timeout_s:.0f} s: {process.last_log_line()}")
            pages = (await self.snapshot()).pages
            ready = {key for key, page in pages.items() if page.process.state.is_ready}
            waiting = [process for process in waiting if process.pid is None or process.name not in ready]
            await asyncio.sleep(_READY_POLL_INTERVAL_S)

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
            replicas=[process.name for process in self._all_processes()],
        )


def _run_name(folder: Path, pipeline: str) -> str:
    """Return a name with the current time; a resumed run keeps its name, which its patch log contains."""
    earlier = folder / "name"
    if earlier.exists():
        return earlier.read_text().strip()
    return time.strftime(f"{pipeline}-%Y%m%dT%H%M%SZ", time.gmtime())
