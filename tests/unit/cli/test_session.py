"""When a run is over, and what an interrupt does to it."""

from __future__ import annotations

import asyncio
import os
import signal
from types import SimpleNamespace

import pytest

from charon.adapters.nats import EdgeState
from charon.cli.session import Session, Stillness
from charon.engines.embedded import EngineError, Options, Snapshot
from charon.ledger.accounting import compute_account
from charon.ledger.entries import LedgerEntry
from charon.ledger.id_set import IdSet
from charon.ledger.pages import SinkPage, SourcePage
from charon.ledger.process import ProcessStats
from charon.ledger.sink_report import SinkReport

SECOND = 10**9


def snapshot(seconds, *, accepted, reconstructed, waiting=0, ring=0):
    """Return a run's state: so many frames accepted, so many with their end, so many in the buffer and the ring."""

    def entries(state, count):
        return (LedgerEntry(channel="c", epoch_ns=1, sets={state: IdSet(range(1, count + 1))}),)

    report = SinkReport(entries=entries("reconstructed", reconstructed))
    pages = {
        "in.0": SourcePage(process=ProcessStats(), waiting=ring, entries=entries("accepted", accepted)),
        "out.0": SinkPage(process=ProcessStats(), report=report),
    }
    return Snapshot(
        seconds * SECOND, pages, {"p-in-out": EdgeState(waiting, 0, 0, 0)}, compute_account(pages, ended=False)
    )


def test_a_run_is_over_when_every_frame_has_its_end():
    still = Stillness(5)
    assert not still(snapshot(0, accepted=9, reconstructed=8, waiting=1))
    assert still(snapshot(0, accepted=9, reconstructed=9))


def test_a_run_whose_frames_were_lost_with_their_buffer_ends_after_a_while():
    still = Stillness(5)
    assert not still(snapshot(0, accepted=9, reconstructed=5))
    assert not still(snapshot(4, accepted=9, reconstructed=6))
    assert not still(snapshot(8, accepted=9, reconstructed=6))
    assert still(snapshot(10, accepted=9, reconstructed=6))


@pytest.mark.parametrize("held", [{"waiting": 3}, {"ring": 3}])
def test_what_waits_somewhere_is_waited_for(held):
    still = Stillness(5)
    assert not any(still(snapshot(n, accepted=9, reconstructed=6, **held)) for n in range(0, 1000, 3))


class Engine:
    """An engine that takes its time, and tells what it was told."""

    failure = None
    run = "p-1"

    def __init__(self, *, starts=True):
        self.told = []
        self._starts = starts

    async def start(self):
        """Start, or try for ever."""
        self.told.append("start")
        if not self._starts:
            await asyncio.Event().wait()

    async def snapshot(self, *, ended=False):
        """Return a state, which asks for no interpretation."""
        return snapshot(1, accepted=9, reconstructed=6, waiting=0 if ended else 3)

    async def drain(self):
        """Drain for a moment."""
        self.told.append("drain")
        await asyncio.sleep(1.0)
        self.told.append("drained")
        return True

    def server_cpu_s(self):
        """Return nothing of interest."""
        return 0.0

    async def stop(self):
        """Take note."""
        self.told.append("stop")


@pytest.fixture
def session(tmp_path, monkeypatch):
    """Return a function that makes a session around an engine."""

    def make(engine):
        monkeypatch.setattr("charon.cli.session.EmbeddedEngine", lambda *_: engine)
        pipeline = SimpleNamespace(spec=SimpleNamespace(in_order=list, vertices=[]))
        return Session(pipeline, tmp_path / "p.yaml", Options(output=tmp_path), quiet=True)

    return make


def interrupted(session, *numbers):
    """Run a session and send it signals, a moment apart."""

    async def main():
        running = asyncio.create_task(session.run())
        for number in numbers:
            await asyncio.sleep(0.2)
            os.kill(os.getpid(), number)
        await running

    asyncio.run(asyncio.wait_for(main(), 30))


def test_being_told_to_stop_twice_still_finishes_what_was_accepted(session):
    engine = Engine()
    one = session(engine)
    interrupted(one, signal.SIGINT, signal.SIGTERM, signal.SIGTERM)
    assert engine.told == ["start", "drain", "drained", "stop"]
    assert one.complete


def test_a_second_interrupt_ends_the_run_at_once(session):
    engine = Engine()
    one = session(engine)
    interrupted(one, signal.SIGTERM, signal.SIGINT)
    assert engine.told == ["start", "drain", "stop"]
    assert not one.complete
    assert one.final.account.in_flight


def test_a_second_interrupt_ends_a_run_that_does_not_start(session):
    engine = Engine(starts=False)
    with pytest.raises(EngineError, match="before it had started"):
        interrupted(session(engine), signal.SIGINT, signal.SIGINT)
    assert engine.told == ["start", "stop"]


def test_a_run_that_cannot_go_on_still_tells_where_its_frames_are(session):
    engine = Engine()
    engine.failure = "cat.0 keeps ending"
    one = session(engine)
    with pytest.raises(EngineError, match="keeps ending"):
        interrupted(one)
    assert one.final.account.published == 9
    assert engine.told == ["start", "stop"]
