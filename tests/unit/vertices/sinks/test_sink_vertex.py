"""The sink vertex acknowledges a message once, after the sink has stored it."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
from vertex_fakes import FakeDelivery, FakeInlet, FakeLedger

from charon.errors import UnavailableError
from charon.frames import Frame, FrameId, Patch, Rejection, encode
from charon.ledger.entries import LedgerEntry
from charon.ledger.id_set import IdSet
from charon.ledger.sink_report import SinkReport
from charon.vertices.context import VertexContext
from charon.vertices.roles import SinkRole
from charon.vertices.sinks import vertex as sink_vertex
from charon.vertices.sinks.log_sink import LogSink
from charon.vertices.sinks.sink import BatchCounts, Sink
from charon.vertices.sinks.vertex import SinkVertex

ENTRIES = (LedgerEntry(channel="c", epoch_ns=1),)


class FakeSink(Sink):
    """A sink that fails a number of times, as on a full disk."""

    is_durable = True

    def __init__(self, failures=0):
        self.failures = failures
        self.calls = []
        self.threads = set()
        self.closed = False

    def restore(self, entries):
        """Do nothing."""

    def accept(self, messages):
        """Record the messages, or raise."""
        self.calls.append(list(messages))
        self.threads.add(threading.get_ident())
        if self.failures:
            self.failures -= 1
            raise UnavailableError("/data: no space left")
        return BatchCounts(reconstructed=len(messages))

    def tick(self):
        """Do nothing."""

    def close(self):
        """Record the call."""
        self.closed = True

    def report(self):
        """Return an account."""
        return SinkReport(sink="fake", entries=ENTRIES, unreadable=7)


def patch(n):
    return encode(Patch(FrameId("ad:image", n, 1000 + n, 1001), "r", np.zeros((2, 2), np.float32), 1e-8, "m@1"))


def run(vertex, batches, ledger=None):
    async def main():
        stop = asyncio.Event()
        context = VertexContext([FakeInlet(batches, stop)], [], ledger or FakeLedger(), stop)
        await asyncio.wait_for(SinkRole(vertex).run(context), 20)

    asyncio.run(main())


def test_full_disk_is_retried_without_acknowledging(monkeypatch):
    monkeypatch.setattr(sink_vertex, "_RETRY_DELAY_S", 0.01)
    deliveries = [FakeDelivery(patch(n)) for n in range(3)]
    sink = FakeSink(failures=2)
    acks_at_call = []
    accept = sink.accept
    sink.accept = lambda messages: acks_at_call.append([d.acks for d in deliveries]) or accept(messages)
    vertex = SinkVertex(lambda: sink)
    ledger = FakeLedger()
    run(vertex, [deliveries], ledger)
    assert acks_at_call == [[0, 0, 0]] * 3
    assert sink.calls == [[d.payload for d in deliveries]] * 3
    assert [d.acks for d in deliveries] == [1, 1, 1]
    # Each failure extends the time until redelivery, so that no other replica receives the messages.
    assert [d.extended for d in deliveries] == [2, 2, 2]
    assert "/data: no space left" in vertex.page().process.warnings
    assert sink.closed
    page = ledger.saved[-1]
    assert page.process.state == "finished"
    assert page.entries == ENTRIES
    assert (page.report.sink, page.report.unreadable) == ("fake", 7)


def test_full_disk_does_not_prevent_shutdown(monkeypatch):
    monkeypatch.setattr(sink_vertex, "_RETRY_DELAY_S", 0.01)
    delivery = FakeDelivery(patch(1))

    async def main():
        stop = asyncio.Event()
        sink = FakeSink(failures=10**9)
        vertex = SinkVertex(lambda: sink)
        inlet = FakeInlet([[delivery]], stop)
        work = asyncio.create_task(SinkRole(vertex).run(VertexContext([inlet], [], FakeLedger(), stop)))
        while len(sink.calls) < 3:  # noqa: ASYNC110 - the fake has no event
            await asyncio.sleep(0.01)
        stop.set()
        await asyncio.wait_for(work, 20)

    asyncio.run(main())
    assert (delivery.acks, delivery.released) == (0, 1)


def test_one_thread_calls_the_sink_for_all_inlets():
    deliveries = [FakeDelivery(patch(n)) for n in range(4)]
    sink = FakeSink()

    async def main():
        stop = asyncio.Event()
        inlets = [FakeInlet([[delivery] for delivery in part], stop) for part in (deliveries[:2], deliveries[2:])]
        context = VertexContext(inlets, [], FakeLedger(), stop)
        await asyncio.wait_for(SinkRole(SinkVertex(lambda: sink)).run(context), 20)

    asyncio.run(main())
    assert [d.acks for d in deliveries] == [1, 1, 1, 1]
    assert len(sink.threads) == 1


def test_account_is_saved_before_acknowledging(monkeypatch):
    monkeypatch.setattr(sink_vertex, "_RETRY_DELAY_S", 0.01)
    deliveries = [FakeDelivery(patch(n)) for n in (1, 2)]
    rejection = Rejection(FrameId("ad:image", 3, 1003, 1001), "shape", "too small", "source")
    deliveries.append(FakeDelivery(encode(rejection)))

    class Ledger(FakeLedger):
        async def save(self, page):
            await super().save(page)
            acks_at_save.append([d.acks for d in deliveries])

    acks_at_save = []
    ledger = Ledger()
    ledger.failing_saves = 2
    run(SinkVertex(LogSink), [deliveries], ledger)
    saved = zip(ledger.saved, acks_at_save, strict=True)
    page, acks = next((page, acks) for page, acks in saved if page.entries)
    assert page.entries[0].sets == {"reconstructed": IdSet([1, 2]), "rejected:shape": IdSet([3])}
    assert acks == [0, 0, 0]
    assert [d.acks for d in deliveries] == [1, 1, 1]


def test_next_process_restores_the_account():
    ledger = FakeLedger()
    run(SinkVertex(LogSink), [[FakeDelivery(patch(n)) for n in (1, 2)]], ledger)
    successor = FakeLedger(ledger.saved[-1])
    run(SinkVertex(LogSink), [[FakeDelivery(patch(n)) for n in (2, 3)]], successor)
    (entry,) = successor.saved[-1].entries
    assert entry.sets == {"reconstructed": IdSet([1, 2, 3])}


def test_log_sink_counts_repeats_and_invalid():
    sink = LogSink()
    frame = Frame(FrameId("ad:image", 9, 1), np.zeros((2, 2), np.uint8))
    counts = sink.accept([patch(1), b"\xff", patch(1), encode(frame), patch(2)])
    assert (counts.reconstructed, counts.duplicates, counts.unreadable) == (2, 1, 2)
    (entry,) = sink.report().entries
    assert entry.sets == {"reconstructed": IdSet([1, 2])}
    assert entry.counts == {"duplicates": 1}
