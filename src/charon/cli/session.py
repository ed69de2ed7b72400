"""Running a pipeline in the foreground: start, show, drain, sum up."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live

from charon import __version__
from charon.cli.view import Rates, account_line, clock, latency_line, live_view, plain_lines
from charon.engines.embedded import EmbeddedEngine, EngineError
from charon.errors import UnavailableError
from charon.ledger.latency import LatencySummary
from charon.ledger.pages import waiting_in_rings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from charon.engines.embedded import Options, Snapshot
    from charon.engines.manifest import Pipeline


class Stillness:
    """Tells when no frame is on its way any more.

    That is when every one has its end; or, after a buffer in memory was lost with its server, when nothing waits
    anywhere and nothing has moved for a while.
    """

    def __init__(self, seconds: float = 15.0) -> None:
        self._still_ns = seconds * 1e9
        self._last = (-1, -1)
        self._since_ns = 0

    def __call__(self, snapshot: Snapshot) -> bool:
        """Take the next snapshot in; return whether nothing more will come of what was seen up to it."""
        account = snapshot.account
        if account.in_flight == 0:
            return True
        waiting = any(edge.waiting for edge in snapshot.edges.values())
        waiting |= waiting_in_rings(snapshot.pages.values()) > 0
        now = (account.published, account.in_flight)
        if waiting or now != self._last:
            self._last, self._since_ns = now, snapshot.taken_ns
            return False
        return snapshot.taken_ns - self._since_ns > self._still_ns


class Session:
    """One run in the foreground.

    Parameters
    ----------
    pipeline, manifest, options
        What to run and how.
    finished
        Asked every so often with the latest snapshot: whether the run has done what it was for.
    expected
        How many frames will come, where that is known.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        manifest: Path,
        options: Options,
        *,
        finished: Callable[[Snapshot], bool] | None = None,
        expected: int | None = None,
        quiet: bool = False,
    ) -> None:
        self.engine = EmbeddedEngine(pipeline, manifest, options)
        self._finished = finished
        self._expected = expected
        self._quiet = quiet
        self._rates = Rates()
        self._latest: Snapshot | None = None
        self._ending = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None
        self._drain: asyncio.Task[bool] | None = None
        self._next_print = 0.0
        self._server_cpu_s = 0.0
        self.complete = False
        self.final: Snapshot | None = None
        self.order = [vertex.name for vertex in pipeline.spec.in_order()]

    async def run(self, on_ready: Callable[[], None] | None = None) -> Snapshot:
        """Run until finished, told to stop or failed; return the last state.

        Raises
        ------
        EngineError, UnavailableError, UsageError
            If the pipeline does not start, or cannot go on.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        # However often one is told to stop, what was accepted is finished.
        loop.add_signal_handler(signal.SIGTERM, self._end)
        try:
            await self._start()
            if on_ready is not None:
                on_ready()
            try:
                await self._show_until_ended()
            except EngineError:
                # Where the frames are is asked then above all.
                with suppress(UnavailableError):
                    self.final = await self._last_snapshot()
                raise
            self.final = await self._last_snapshot()
            self._server_cpu_s = self.engine.server_cpu_s()
        finally:
            await self.engine.stop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        return self.final

    async def _start(self) -> None:
        self._starting = asyncio.create_task(self.engine.start())
        await asyncio.wait({self._starting})
        if self._starting.cancelled():
            raise EngineError("told to end at once before it had started")
        self._starting.result()

    def _end(self) -> None:
        if not self._ending.is_set():
            self._note("finishing what was accepted (Ctrl-C again to end at once)")
        self._ending.set()

    def _interrupt(self) -> None:
        again = self._ending.is_set()
        self._end()
        if again:
            for task in (self._starting, self._drain):
                if task is not None:
                    task.cancel()

    async def _show_until_ended(self) -> None:
        if self._quiet or not sys.stderr.isatty():
            await self._follow(self._print_plainly)
            return

        with Live(console=Console(stderr=True), refresh_per_second=8, transient=False) as live:
            await self._follow(lambda snapshot, rates: live.update(self._table(snapshot, rates)))

    def _table(self, snapshot: Snapshot, rates: dict[str, float]) -> Any:  # noqa: ANN401 - whatever rich can draw
        title = f"{self.engine.run}  {clock()}" + ("  draining" if self._drain else "")
        return live_view(title, snapshot, rates, self.order, self._expected)

    def _print_plainly(self, snapshot: Snapshot, rates: dict[str, float]) -> None:
        if self._quiet or time.monotonic() < self._next_print:
            return
        self._next_print = time.monotonic() + 2.0
        for line in plain_lines(f"{self.engine.run} {clock()}", snapshot, rates, self.order):
            click.echo(line, err=True)

    async def _follow(self, show: Callable[[Snapshot, dict[str, float]], None]) -> None:
        while True:
            snapshot = await self._snapshot()
            if snapshot is not None:
                self._latest = snapshot
                show(snapshot, self._rates.update(snapshot))
                if self._finished is not None and self._drain is None and self._finished(snapshot):
                    self._ending.set()
            if self.engine.failure is not None:
                raise EngineError(self.engine.failure)
            if self._ending.is_set() and self._drain is None:
                self._drain = asyncio.create_task(self.engine.drain())
            if self._drain is not None and self._drain.done():
                with suppress(asyncio.CancelledError):
                    self.complete = self._drain.result()
                return
            await asyncio.sleep(0.25)

    async def _snapshot(self) -> Snapshot | None:
        try:
            return await self.engine.snapshot()
        except UnavailableError:
            return None

    async def _last_snapshot(self) -> Snapshot:
        try:
            return await self.engine.snapshot(ended=True)
        except UnavailableError:
            if self._latest is None:
                raise
            return self._latest

    def _note(self, text: str) -> None:
        click.echo(text, err=True)

    def summary(self) -> dict[str, Any]:
        """Return the run's summary as JSON values."""
        if self.final is None:
            return {}
        account = self.final.account.to_json()
        latency = self.final.latency() or LatencySummary()
        return {
            "run": self.engine.run,
            "pipeline": self.engine.pipeline.name,
            "charon": __version__,
            **account,
            "adds_up": self.final.account.adds_up,
            "complete": self.complete,
            "latency_ms": {
                "p50": latency.p50,
                "p99": latency.p99,
                "max": latency.max,
                "frames": latency.count,
                "clock_disagrees": latency.clock_disagrees,
            },
            "restarts": {p.name: p.restarts for ps in self.engine.processes.values() for p in ps if p.restarts},
            "messages": list(self.engine.messages),
            "server_cpu_s": round(self._server_cpu_s, 3),
            "replicas": self.final.to_json()["replicas"],
        }

    def say_summary(self) -> None:
        """Write the summary for people."""
        if self.final is None:
            return
        click.echo(account_line(self.final.account))
        click.echo(latency_line(self.final.latency()))
        if not self.final.account.adds_up:
            click.echo("the account does not add up: please report this with the run's folder", err=True)


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document, indent=2) + "\n")
    part.replace(path)
