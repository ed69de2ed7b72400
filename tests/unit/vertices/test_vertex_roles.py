"""Roles enter monitors when ready, always write a final page, and raise the original error."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager

import numpy as np
import pytest
from vertex_fakes import FakeBackend, FakeDelivery, FakeInlet, FakeLedger, FakeOutlet, FakeUpdate

from charon.errors import UsageError
from charon.frames import Frame, FrameId, encode
from charon.ledger.states import VertexState
from charon.vertices.context import VertexContext
from charon.vertices.inference import InferenceVertex, ModelInfo
from charon.vertices.roles import Endpoints, InferenceRole, SinkRole, SourceRole
from charon.vertices.sinks.log_sink import LogSink
from charon.vertices.sinks.vertex import SinkVertex
from charon.vertices.source import SourceVertex

CHANNEL = "ad:image"
MODEL = ModelInfo("net@3", (2, 2), 1e-8)


class Kinds(Endpoints[str]):
    """Returns the kind of vertex."""

    def source(self, pending):
        """Return the kind and the backlog."""
        return f"source {pending()}"

    def inference(self):
        """Return the kind."""
        return "inference"

    def sink(self):
        """Return the kind."""
        return "sink"


class Monitor:
    """Counts how often it is entered and exited."""

    def __init__(self):
        self.entered = 0
        self.exited = 0

    @contextmanager
    def running(self):
        """Count the entry and the exit."""
        self.entered += 1
        try:
            yield
        finally:
            self.exited += 1


def test_role_connects_by_its_kind():
    assert SourceRole(SourceVertex(CHANNEL)).connect(Kinds()) == "source 0"
    assert InferenceRole(InferenceVertex(FakeBackend(), MODEL, "run-1")).connect(Kinds()) == "inference"
    assert SinkRole(SinkVertex(LogSink)).connect(Kinds()) == "sink"


def test_source_monitors_only_while_ready():
    async def run():
        monitor, ledger, stop, ready = Monitor(), FakeLedger(), asyncio.Event(), asyncio.Event()
        role = SourceRole(SourceVertex(CHANNEL), [monitor.running()])
        running = asyncio.create_task(role.run(VertexContext([], [FakeOutlet()], ledger, stop, ready.wait)))
        await asyncio.sleep(0.02)
        assert monitor.entered == 0
        ready.set()
        await asyncio.sleep(0.02)
        assert (monitor.entered, monitor.exited) == (1, 0)
        stop.set()
        await asyncio.wait_for(running, 5)
        assert monitor.exited == 1
        return ledger.saved[-1]

    assert asyncio.run(run()).process.state == VertexState.FINISHED


def test_updates_of_a_closing_monitor_are_published():
    async def run():
        vertex, outlet, stop = SourceVertex(CHANNEL), FakeOutlet(), asyncio.Event()

        @contextmanager
        def monitor():
            yield
            # A subscription that ends delivers the updates in its queue.
            vertex.on_update(FakeUpdate(2))

        role = SourceRole(vertex, [monitor()])
        running = asyncio.create_task(role.run(VertexContext([], [outlet], FakeLedger(), stop)))
        await asyncio.sleep(0.02)
        vertex.on_update(FakeUpdate(1))
        while not outlet.messages:  # noqa: ASYNC110 - the fake has no event
            await asyncio.sleep(0.01)
        # A repeat wakes the vertex just before the monitor, with an empty ring.
        vertex.on_update(FakeUpdate(1))
        asyncio.get_running_loop().call_soon(stop.set)
        await asyncio.wait_for(running, 5)
        return [frame.id.unique_id for frame in outlet.frames()]

    assert asyncio.run(run()) == [1, 2]


def test_failed_source_exits_monitors_and_saves_page():
    ledger, monitor = FakeLedger(), Monitor()

    async def run():
        outlet = FakeOutlet()
        outlet.fault = UsageError("too large")
        vertex = SourceVertex(CHANNEL)
        vertex.on_update(FakeUpdate(1))
        role = SourceRole(vertex, [monitor.running()])
        await asyncio.wait_for(role.run(VertexContext([], [outlet], ledger, asyncio.Event())), 5)

    with pytest.raises(UsageError, match="too large"):
        asyncio.run(run())
    assert monitor.exited == 1
    assert ledger.saved[-1].process.state != VertexState.FINISHED


def test_failed_source_records_last_updates_as_missed():
    async def run():
        vertex, outlet = SourceVertex(CHANNEL), FakeOutlet()
        outlet.fault = UsageError("too large")

        @contextmanager
        def monitor():
            try:
                yield
            finally:
                vertex.on_update(FakeUpdate(2))

        vertex.on_update(FakeUpdate(1))
        role = SourceRole(vertex, [monitor()])
        with pytest.raises(UsageError, match="too large"):
            await asyncio.wait_for(role.run(VertexContext([], [outlet], FakeLedger(), asyncio.Event())), 5)
        return vertex.book.ids(CHANNEL, 1001, "missed").ranges()

    assert asyncio.run(run()) == [[2, 2]]


def test_failed_inference_raises_original_error():
    backend = FakeBackend()
    frame = Frame(FrameId(CHANNEL, 1, 1001), np.zeros((2, 2), np.uint16))

    async def ready():
        backend.fault = RuntimeError("out of memory")

    async def run():
        role = InferenceRole(InferenceVertex(backend, MODEL, "run-1"))
        inlets = [FakeInlet([[FakeDelivery(encode(frame))]], asyncio.Event()), FakeInlet([], asyncio.Event())]
        context = VertexContext(inlets, [FakeOutlet()], FakeLedger(), asyncio.Event(), ready)
        await asyncio.wait_for(role.run(context), 5)

    with pytest.raises(RuntimeError, match="out of memory"):
        asyncio.run(run())


def test_failing_ledger_writer_ends_the_vertex():
    class BrokenLedger(FakeLedger):
        async def save(self, page):
            raise TypeError("page is not JSON")

    async def run():
        role = SourceRole(SourceVertex(CHANNEL))
        await asyncio.wait_for(role.run(VertexContext([], [FakeOutlet()], BrokenLedger(), asyncio.Event())), 5)

    with pytest.raises(TypeError, match="not JSON"):
        asyncio.run(run())
