"""A sink acknowledges what it has for good, once, and nothing else."""

from __future__ import annotations

import asyncio

import numpy as np

from charon.errors import UnavailableError
from charon.frames import Frame, FrameId, Patch, Rejection, encode
from charon.ledger.entries import LedgerEntry
from charon.ledger.id_set import IdSet
from charon.ledger.sink_report import SinkReport
from charon.vertices.roles import SinkRole, VertexContext
from charon.vertices.sinks import vertex as sink_vertex
from charon.vertices.sinks.log_sink import LogSink
from charon.vertices.sinks.sink import Accepted
from charon.vertices.sinks.vertex import SinkVertex

ENTRIES = (LedgerEntry(channel="c", epoch_ns=1),)


class FakeSink:
    """A sink whose disk is full for a while."""

    def __init__(self, full=0):
        self.full = full
        self.calls = []
        self.closed = False

    def accept(self, messages):
        """Take messages, or say that there is no room."""
        self.calls.append(list(messages))
        if self.full:
            self.full -= 1
            raise UnavailableError("/data: no space left")
        return Accepted(reconstructed=len(messages))

    def tick(self):
        """Do nothing."""

    def close(self):
        """Take note."""
        self.closed = True

    def report(self):
        """Return an account."""
        return SinkReport(sink="fake", entries=ENTRIES, unreadable=7)


def patch(n):
    return encode(Patch(FrameId("ad:image", n, 1000 + n, 1001), "r", np.zeros((2, 2), np.float32), 1e-8, "m@1"))


def run(fakes, vertex, batches, ledger=None):
    async def main():
        stop = asyncio.Event()
        around = VertexContext([fakes.Inlet(batches, stop)], [], ledger or fakes.Ledger(), stop)
        await asyncio.wait_for(SinkRole(vertex).run(around), 20)

    asyncio.run(main())


def test_a_full_disk_is_tried_again_and_nothing_is_acknowledged_meanwhile(fakes, monkeypatch):
    monkeypatch.setattr(sink_vertex, "_RETRY_S", 0.01)
    deliveries = [fakes.Delivery(patch(n)) for n in range(3)]
    sink = FakeSink(full=2)
    acks_at_a_call = []
    accept = sink.accept
    sink.accept = lambda messages: acks_at_a_call.append([d.acks for d in deliveries]) or accept(messages)
    vertex = SinkVertex(lambda: sink)
    ledger = fakes.Ledger()
    run(fakes, vertex, [deliveries], ledger)
    assert acks_at_a_call == [[0, 0, 0]] * 3
    assert sink.calls == [[d.payload for d in deliveries]] * 3
    assert [d.acks for d in deliveries] == [1, 1, 1]
    # More time is asked for at each failure, so that nobody else is handed the messages.
    assert [d.extended for d in deliveries] == [2, 2, 2]
    assert "/data: no space left" in vertex.page().process.warnings
    assert sink.closed
    assert ledger.saved[-1].process.state == "finished"
    assert ledger.saved[-1].entries == ENTRIES
    assert (ledger.saved[-1].report.sink, ledger.saved[-1].report.unreadable) == ("fake", 7)


def test_a_disk_that_stays_full_does_not_keep_the_sink_from_ending(fakes, monkeypatch):
    monkeypatch.setattr(sink_vertex, "_RETRY_S", 0.01)
    delivery = fakes.Delivery(patch(1))

    async def main():
        stop = asyncio.Event()
        sink = FakeSink(full=10**9)
        vertex = SinkVertex(lambda: sink)
        inlet = fakes.Inlet([[delivery]], stop)
        work = asyncio.create_task(SinkRole(vertex).run(VertexContext([inlet], [], fakes.Ledger(), stop)))
        while len(sink.calls) < 3:  # noqa: ASYNC110 - what a fake counts sets no event
            await asyncio.sleep(0.01)
        stop.set()
        await asyncio.wait_for(work, 20)

    asyncio.run(main())
    assert (delivery.acks, delivery.released) == (0, 1)


def test_a_sink_that_forgets_writes_its_account_down_before_it_acknowledges(fakes, monkeypatch):
    monkeypatch.setattr(sink_vertex, "_RETRY_S", 0.01)
    deliveries = [fakes.Delivery(patch(n)) for n in (1, 2)]
    rejection = Rejection(FrameId("ad:image", 3, 1003, 1001), "shape", "too small", "source")
    deliveries.append(fakes.Delivery(encode(rejection)))

    class Ledger(fakes.Ledger):
        async def save(self, page):
            await super().save(page)
            acks.append([d.acks for d in deliveries])

    acks = []
    ledger = Ledger()
    ledger.away = 2
    run(fakes, SinkVertex(LogSink, forgets=True), [deliveries], ledger)
    (page, its_acks), *_ = [pair for pair in zip(ledger.saved, acks, strict=True) if pair[0].entries]
    assert page.entries[0].sets == {"reconstructed": IdSet([1, 2]), "rejected:shape": IdSet([3])}
    assert its_acks == [0, 0, 0]
    assert [d.acks for d in deliveries] == [1, 1, 1]


def test_its_successor_goes_on_with_the_account(fakes):
    ledger = fakes.Ledger()
    run(fakes, SinkVertex(LogSink, forgets=True), [[fakes.Delivery(patch(n)) for n in (1, 2)]], ledger)
    successor = fakes.Ledger(ledger.saved[-1])
    run(fakes, SinkVertex(LogSink, forgets=True), [[fakes.Delivery(patch(n)) for n in (2, 3)]], successor)
    (entry,) = successor.saved[-1].entries
    assert entry.sets == {"reconstructed": IdSet([1, 2, 3])}


def test_repeats_are_counted_and_what_cannot_be_read_is_set_aside():
    sink = LogSink()
    frame = Frame(FrameId("ad:image", 9, 1), np.zeros((2, 2), np.uint8))
    took = sink.accept([patch(1), b"\xff", patch(1), encode(frame), patch(2)])
    assert (took.reconstructed, took.duplicates, took.unreadable) == (2, 1, 2)
    (entry,) = sink.report().entries
    assert entry.sets == {"reconstructed": IdSet([1, 2])}
    assert entry.counts == {"duplicates": 1}
