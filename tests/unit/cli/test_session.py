"""Signals to a session, and its state at the end."""

from __future__ import annotations

import asyncio
import os
import signal
from types import SimpleNamespace

import pytest
from run_snapshots import snapshot

from charon.cli.session import Session
from charon.engines.embedded import EngineError, Options


class Engine:
    """An engine that drains slowly and records its calls."""

    failure = None
    run = "p-1"

    def __init__(self, *, starts=True):
        self.calls = []
        self._starts = starts

    async def start(self):
        """Start, or wait forever."""
        self.calls.append("start")
        if not self._starts:
            await asyncio.Event().wait()

    async def snapshot(self, *, ended=False):
        """Return a snapshot."""
        return snapshot(1, accepted=9, reconstructed=6, waiting=0 if ended else 3)

    async def drain(self):
        """Drain in one second."""
        self.calls.append("drain")
        await asyncio.sleep(1.0)
        self.calls.append("drained")
        return True

    def server_cpu_s(self):
        """Return a constant."""
        return 0.0

    async def stop(self):
        """Record the call."""
        self.calls.append("stop")


@pytest.fixture
def session(tmp_path, monkeypatch):
    """Return a function that creates a session with a fake engine."""

    def make(engine):
        monkeypatch.setattr("charon.cli.session.EmbeddedEngine", lambda *_: engine)
        pipeline = SimpleNamespace(spec=SimpleNamespace(in_order=list, vertices=[]))
        return Session(pipeline, tmp_path / "p.yaml", Options(output=tmp_path), quiet=True)

    return make


def run_with_signals(session, *numbers):
    """Run a session and send signals to it at intervals."""

    async def main():
        running = asyncio.create_task(session.run())
        for number in numbers:
            await asyncio.sleep(0.2)
            os.kill(os.getpid(), number)
        await running

    asyncio.run(asyncio.wait_for(main(), 30))


def test_second_sigterm_does_not_abort_drain(session):
    engine = Engine()
    run = session(engine)
    run_with_signals(run, signal.SIGINT, signal.SIGTERM, signal.SIGTERM)
    assert engine.calls == ["start", "drain", "drained", "stop"]
    assert run.complete


def test_second_interrupt_aborts_drain(session):
    engine = Engine()
    run = session(engine)
    run_with_signals(run, signal.SIGTERM, signal.SIGINT)
    assert engine.calls == ["start", "drain", "stop"]
    assert not run.complete
    assert run.final.account.in_flight


def test_second_interrupt_aborts_startup(session):
    engine = Engine(starts=False)
    with pytest.raises(EngineError, match="interrupted during startup"):
        run_with_signals(session(engine), signal.SIGINT, signal.SIGINT)
    assert engine.calls == ["start", "stop"]


def test_failed_run_keeps_final_snapshot(session):
    engine = Engine()
    engine.failure = "cat.0 exits repeatedly"
    run = session(engine)
    with pytest.raises(EngineError, match="exits repeatedly"):
        run_with_signals(run)
    assert run.final.account.published == 9
    assert engine.calls == ["start", "stop"]
