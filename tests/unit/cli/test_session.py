"""Signals to a session, and its state at the end."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from run_snapshots import snapshot

from charon.cli.session import Engine, Session
from charon.engines.embedded import EngineError
from charon.engines.manifest import read_pipeline

LIVE = Path(__file__).parents[3] / "workflows" / "aps" / "numaflow-aps-live.yaml"


class FakeEngine(Engine):
    """An engine that drains until `drained` is set and records its calls."""

    def __init__(self, *, starts=True, failure=None):
        self.drained = asyncio.Event()
        self.pipeline = read_pipeline(LIVE)
        self.run = "p-1"
        self.metrics_port = None
        self._failure = failure
        self.calls = []
        self.starts = starts

    @property
    def processes(self):
        """Return no processes."""
        return {}

    @property
    def messages(self):
        """Return no messages."""
        return []

    @property
    def failure(self):
        """Return the failure, if any."""
        return self._failure

    async def start(self):
        """Start, or wait forever."""
        self.calls.append("start")
        if not self.starts:
            await asyncio.Event().wait()

    async def snapshot(self, *, ended=False):
        """Return a snapshot."""
        return snapshot(1, accepted=9, reconstructed=6, waiting=0 if ended else 3)

    async def drain(self):
        """Wait until `drained` is set."""
        self.calls.append("drain")
        await self.drained.wait()
        self.calls.append("drained")
        return True

    def server_cpu_s(self):
        """Return a constant."""
        return 0.0

    async def stop(self):
        """Record the call."""
        self.calls.append("stop")


def run_with_signals(session, *numbers):
    """Run a session, send signals to it one after the other, then let its engine finish the drain."""
    engine = session.engine

    async def call(name):
        while name not in engine.calls:  # noqa: ASYNC110 - the calls are a list
            await asyncio.sleep(0.01)

    async def main():
        running = asyncio.create_task(session.run())
        for number in numbers:
            await call("start")
            os.kill(os.getpid(), number)
            if engine.starts:
                await call("drain")
        # Python calls a signal handler in a later iteration of the event loop.
        await asyncio.sleep(0.2)
        engine.drained.set()
        await running

    asyncio.run(asyncio.wait_for(main(), 30))


def test_second_sigterm_does_not_abort_drain():
    engine = FakeEngine()
    run = Session(engine, quiet=True)
    run_with_signals(run, signal.SIGINT, signal.SIGTERM, signal.SIGTERM)
    assert engine.calls == ["start", "drain", "drained", "stop"]
    assert run.complete


def test_second_interrupt_aborts_drain():
    engine = FakeEngine()
    run = Session(engine, quiet=True)
    run_with_signals(run, signal.SIGTERM, signal.SIGINT)
    assert engine.calls == ["start", "drain", "stop"]
    assert not run.complete
    assert run.final is not None
    assert run.final.account.in_flight


def test_second_interrupt_aborts_startup():
    engine = FakeEngine(starts=False)
    with pytest.raises(EngineError, match="interrupted during startup"):
        run_with_signals(Session(engine, quiet=True), signal.SIGINT, signal.SIGINT)
    assert engine.calls == ["start", "stop"]


def test_failed_run_keeps_final_snapshot():
    engine = FakeEngine(failure="cat.0 exits repeatedly")
    run = Session(engine, quiet=True)
    with pytest.raises(EngineError, match="exits repeatedly"):
        run_with_signals(run)
    assert run.final is not None
    assert run.final.account.published == 9
    assert engine.calls == ["start", "stop"]
