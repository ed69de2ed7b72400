"""One run of the baseline in the foreground: start it, show its state, drain it, write its summary."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.live import Live

from charon import __version__
from charon.cli.baseline_view import baseline_lines, baseline_table, stitching_line
from charon.cli.run_local import prepare_output
from charon.cli.summary import write_json
from charon.engines.embedded import EngineError
from charon.engines.pvapy.engine import BaselineEngine

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from charon.engines.pvapy.commands import BaselineOptions
    from charon.engines.pvapy.engine import BaselineSnapshot

_POLL_INTERVAL_S = 0.25
_PRINT_INTERVAL_S = 2.0


def run_baseline(options: BaselineOptions, folder: Path, *, frames: int | None, quiet: bool) -> int:
    """Run the baseline and return the exit status."""
    prepare_output(folder, resume=False, can_resume=False)
    run = _Run(BaselineEngine(options), frames=frames, quiet=quiet)
    status = 0
    try:
        asyncio.run(run.run())
    except EngineError as error:
        click.echo(f"error: {error}", err=True)
        status = 1
    if run.final is None:
        return status
    write_json(folder / "summary.json", {**_summary(run.engine, run.final), "drained": run.drained})
    for line in baseline_lines("", run.final)[1:]:
        click.echo(line)
    if run.final.stitching is not None:
        click.echo(stitching_line(run.final.stitching))
    for message in run.unprinted_messages():
        click.echo(f"! {message}", err=True)
    click.echo(f"summary: {folder / 'summary.json'}")
    return status if run.drained else 1


class _Run:
    def __init__(self, engine: BaselineEngine, *, frames: int | None, quiet: bool) -> None:
        self.engine = engine
        self.final: BaselineSnapshot | None = None
        self._frames = frames
        self._quiet = quiet
        self._next_print_s = 0.0
        self.drained = False
        self._aborted = False
        self._printed_messages = 0
        self._stopping = asyncio.Event()
        self._interruptible: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Run until the number of frames is reached, a signal arrives, or the engine fails.

        Raises
        ------
        EngineError, UsageError
            If the engine does not start or fails.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        try:
            if not await self._finishes(self.engine.start()):
                raise EngineError("interrupted during startup")
            self._print_start()
            try:
                await self._show()
                # A second Ctrl-C may arrive before the drain has started.
                self.drained = not self._aborted and await self._finishes(self.engine.drain())
            finally:
                self.final = self.engine.snapshot(ended=True)
        finally:
            await self.engine.stop()

    async def _finishes(self, work: Coroutine[None, None, None]) -> bool:
        """Wait for work that a signal can cancel; return whether it finished."""
        self._interruptible = asyncio.create_task(work)
        await asyncio.wait({self._interruptible})
        task, self._interruptible = self._interruptible, None
        if task.cancelled():
            return False
        task.result()
        return True

    def unprinted_messages(self) -> list[str]:
        """Return the warnings that have not been printed as lines yet."""
        messages = self.engine.messages[self._printed_messages :]
        self._printed_messages += len(messages)
        return messages

    def _stop(self) -> None:
        """Start to drain, or cancel the start."""
        if self._interruptible is not None and not self._stopping.is_set():
            self._interruptible.cancel()
        self._stopping.set()

    def _interrupt(self) -> None:
        """Start to drain; cancel the start or, at the second call, the drain."""
        if self._interruptible is not None:
            self._interruptible.cancel()
        elif self._stopping.is_set():
            self._aborted = True
        else:
            click.echo("draining; press Ctrl-C again to stop immediately", err=True)
        self._stopping.set()

    def _print_start(self) -> None:
        options = self.engine.options
        outputs = ", ".join(options.output_of(k + 1) for k in range(options.consumers))
        click.echo(f"baseline is running: {options.channel} to {outputs}", err=True)
        click.echo(f"metrics: http://127.0.0.1:{self.engine.metrics_port}/metrics", err=True)

    async def _show(self) -> None:
        """Show the state until a signal arrives or the number of frames is reached."""
        with ExitStack() as stack:
            live = None
            if not self._quiet and sys.stderr.isatty():
                live = stack.enter_context(Live(console=Console(stderr=True), refresh_per_second=4))
            while not self._stopping.is_set():
                snapshot = self.engine.snapshot()
                if live is not None:
                    live.update(baseline_table(self._title(), snapshot, self.engine.messages))
                else:
                    self._print_lines(snapshot)
                if self.engine.failure is not None:
                    raise EngineError(self.engine.failure)
                if self._frames is not None and snapshot.account.published >= self._frames:
                    return
                await asyncio.sleep(_POLL_INTERVAL_S)

    def _print_lines(self, snapshot: BaselineSnapshot) -> None:
        if self._quiet or time.monotonic() < self._next_print_s:
            return
        self._next_print_s = time.monotonic() + _PRINT_INTERVAL_S
        lines = baseline_lines(self._title(), snapshot)
        for line in (*lines, *(f"! {message}" for message in self.unprinted_messages())):
            click.echo(line, err=True)

    def _title(self) -> str:
        return f"baseline of {self.engine.options.channel}  {time.strftime('%H:%M:%S')}"


def _summary(engine: BaselineEngine, snapshot: BaselineSnapshot) -> dict[str, object]:
    options = engine.options
    return {
        "charon": __version__,
        "channel": options.channel,
        "model": options.model,
        "backend": options.backend,
        "threads": options.threads,
        "batch": options.max_batch,
        "consumers": options.consumers,
        "queue_size": options.queue_size,
        **snapshot.account.to_json(),
        "processed_by_consumer": list(snapshot.processed),
        **({} if snapshot.stitching is None else snapshot.stitching.to_json()),
        "latency_ms": snapshot.figures.latency.summary.to_json(),
        "restarts": engine.restarts(),
        "messages": list(engine.messages),
    }
