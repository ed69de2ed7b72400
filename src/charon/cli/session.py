"""Run a pipeline in the foreground: start it, show its state, drain it."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import click
from rich.console import Console
from rich.live import Live

from charon.cli.view import Rates, clock, live_view, plain_lines
from charon.engines.embedded import EngineError
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import RenderableType

    from charon.engines.embedded import Snapshot
    from charon.engines.embedded.processes import Process
    from charon.engines.manifest import Pipeline

_POLL_INTERVAL_S = 0.25
_PRINT_INTERVAL_S = 2.0
_REFRESHES_PER_S = 8


class Engine(Protocol):
    """One run of a pipeline; `charon.engines.embedded.EmbeddedEngine` implements it."""

    pipeline: Pipeline
    run: str
    metrics_port: int | None

    @property
    def processes(self) -> Mapping[str, Sequence[Process]]:
        """Processes of each vertex."""
        ...

    @property
    def failure(self) -> str | None:
        """Reason why the run cannot continue, or None."""
        ...

    @property
    def messages(self) -> Sequence[str]:
        """Warnings of the supervision so far."""
        ...

    async def start(self) -> None:
        """Start the pipeline and wait until every vertex is ready."""
        ...

    async def snapshot(self, *, ended: bool = False) -> Snapshot:
        """Return the state of the run."""
        ...

    async def drain(self) -> bool:
        """Shut down all vertices in order; return whether all accepted frames were processed."""
        ...

    async def stop(self) -> None:
        """Stop the run without draining it: kill the processes that are still running."""
        ...

    def server_cpu_s(self) -> float:
        """Return the CPU time of the nats-server in s."""
        ...


class Session:
    """One run in the foreground.

    Parameters
    ----------
    engine
        The run, not started yet.
    finished
        Called with each snapshot; the run is drained when it returns True.
    expected
        Expected number of frames, if known.
    quiet
        Whether to print nothing until the end.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        finished: Callable[[Snapshot], bool] | None = None,
        expected: int | None = None,
        quiet: bool = False,
    ) -> None:
        self.engine = engine
        self._finished = finished
        self._expected = expected
        self._quiet = quiet
        self._rates = Rates()
        self._latest: Snapshot | None = None
        self._stopping = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None
        self._drain: asyncio.Task[bool] | None = None
        self._next_print = 0.0
        self.server_cpu_s = 0.0
        self.complete = False
        self.final: Snapshot | None = None
        self.order = [vertex.name for vertex in engine.pipeline.spec.in_order()]

    async def run(self, on_ready: Callable[[], None] | None = None) -> Snapshot:
        """Run until finished, stopped by a signal, or failed; return the last state.

        Raises
        ------
        EngineError, UnavailableError, UsageError
            If the pipeline does not start or fails.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        # Only a second Ctrl-C aborts the drain; SIGTERM never does.
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        try:
            await self._start()
            if on_ready is not None:
                on_ready()
            try:
                await self._show_until_drained()
            except EngineError:
                # The account of frames matters most after a failure.
                with suppress(UnavailableError):
                    self.final = await self._final_snapshot()
                raise
            self.final = await self._final_snapshot()
            self.server_cpu_s = self.engine.server_cpu_s()
        finally:
            await self._cancel_tasks()
            await self.engine.stop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        return self.final

    async def _start(self) -> None:
        self._starting = asyncio.create_task(self.engine.start())
        await asyncio.wait({self._starting})
        if self._starting.cancelled():
            raise EngineError("interrupted during startup")
        self._starting.result()

    async def _cancel_tasks(self) -> None:
        tasks: list[asyncio.Task[None] | asyncio.Task[bool]] = [
            task for task in (self._starting, self._drain) if task is not None
        ]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _stop(self) -> None:
        if not self._stopping.is_set():
            click.echo("draining; press Ctrl-C to stop immediately", err=True)
        self._stopping.set()

    def _interrupt(self) -> None:
        again = self._stopping.is_set()
        self._stop()
        if again:
            for task in (self._starting, self._drain):
                if task is not None:
                    task.cancel()

    async def _show_until_drained(self) -> None:
        if self._quiet or not sys.stderr.isatty():
            await self._poll(self._print_lines)
            return
        with Live(console=Console(stderr=True), refresh_per_second=_REFRESHES_PER_S, transient=False) as live:
            await self._poll(lambda snapshot, rates: live.update(self._table(snapshot, rates)))

    def _table(self, snapshot: Snapshot, rates: dict[str, float]) -> RenderableType:
        title = f"{self.engine.run}  {clock()}" + ("  draining" if self._drain else "")
        return live_view(title, self.engine.pipeline.name, snapshot, rates, self.order, self._expected)

    def _print_lines(self, snapshot: Snapshot, rates: dict[str, float]) -> None:
        if self._quiet or time.monotonic() < self._next_print:
            return
        self._next_print = time.monotonic() + _PRINT_INTERVAL_S
        title, pipeline = f"{self.engine.run} {clock()}", self.engine.pipeline.name
        for line in plain_lines(title, pipeline, snapshot, rates, self.order):
            click.echo(line, err=True)

    async def _poll(self, show: Callable[[Snapshot, dict[str, float]], None]) -> None:
        """Show snapshots until the run has drained; raise EngineError if it fails."""
        while True:
            snapshot = await self._snapshot()
            if snapshot is not None:
                self._latest = snapshot
                show(snapshot, self._rates.update(snapshot))
                if self._finished is not None and self._drain is None and self._finished(snapshot):
                    self._stopping.set()
            if self.engine.failure is not None:
                raise EngineError(self.engine.failure)
            if self._stopping.is_set() and self._drain is None:
                self._drain = asyncio.create_task(self.engine.drain())
            if self._drain is not None and self._drain.done():
                with suppress(asyncio.CancelledError):
                    self.complete = self._drain.result()
                return
            await asyncio.sleep(_POLL_INTERVAL_S)

    async def _snapshot(self) -> Snapshot | None:
        try:
            return await self.engine.snapshot()
        except UnavailableError:
            return None

    async def _final_snapshot(self) -> Snapshot:
        try:
            return await self.engine.snapshot(ended=True)
        except UnavailableError:
            if self._latest is None:
                raise
            return self._latest
