"""Roles: the vertices as an engine runs them, from restoring the last page to writing the final one."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from charon.ledger.states import VertexState
from charon.tasks import task_group
from charon.vertices.ledger_writer import write_ledger_periodically

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractContextManager

    from charon.ledger.pages import Page
    from charon.vertices.context import VertexContext
    from charon.vertices.inference import InferenceVertex
    from charon.vertices.sinks.vertex import SinkVertex
    from charon.vertices.source import SourceVertex
    from charon.vertices.stats import Stats

EndpointT_co = TypeVar("EndpointT_co", covariant=True)


class Vertex(Protocol):
    """Interface that all vertices share."""

    @property
    def stats(self) -> Stats:
        """Counters of the vertex."""
        ...

    def page(self) -> Page:
        """Return the vertex's page of the ledger."""
        ...


class Endpoints(Protocol[EndpointT_co]):
    """Creates an engine's connection to a vertex. Each role calls the method for its kind of vertex."""

    def source(self, pending: Callable[[], int]) -> EndpointT_co:
        """Return the connection of a source; `pending` returns the number of unconfirmed messages."""
        ...

    def inference(self) -> EndpointT_co:
        """Return the connection of an inference vertex."""
        ...

    def sink(self) -> EndpointT_co:
        """Return the connection of a sink."""
        ...


class Role(Protocol):
    """A vertex that an engine can run."""

    @property
    def vertex(self) -> Vertex:
        """The vertex."""
        ...

    def connect(self, endpoints: Endpoints[EndpointT_co]) -> EndpointT_co:
        """Return the engine's connection for this kind of vertex."""
        ...

    async def run(self, context: VertexContext) -> None:
        """Run until `context.stop` is set, finish the messages that were read, and write the final page."""
        ...


@dataclass(slots=True)
class SourceRole:
    """A source with the monitors that feed it.

    Parameters
    ----------
    vertex
        The source.
    monitors
        Entered when the vertex is ready for frames, exited when it stops.
    """

    vertex: SourceVertex
    monitors: list[AbstractContextManager[Any]] = field(default_factory=list["AbstractContextManager[Any]"])

    def connect(self, endpoints: Endpoints[EndpointT_co]) -> EndpointT_co:
        """Return the engine's connection for a source."""
        return endpoints.source(lambda: self.vertex.pending)

    async def run(self, context: VertexContext) -> None:
        """Read the channel until stopped, then publish the frames left in the ring."""
        await self.vertex.restore(context.ledger)
        async with _writing_pages(self.vertex, context):
            await context.ready()
            unsubscribed = asyncio.Event()
            try:
                async with task_group() as tasks:
                    tasks.create_task(self._monitor(context.stop, unsubscribed))
                    # A monitor delivers its last updates when it is exited, so the vertex is stopped after that.
                    tasks.create_task(self.vertex.work(context.outlets, unsubscribed))
            finally:
                self.vertex.record_missed()
            self.vertex.stats.state = VertexState.FINISHED

    async def _monitor(self, stop: asyncio.Event, unsubscribed: asyncio.Event) -> None:
        with ExitStack() as stack:
            for monitor in self.monitors:
                stack.enter_context(monitor)
            await stop.wait()
        unsubscribed.set()


@dataclass(slots=True)
class InferenceRole:
    """An inference vertex."""

    vertex: InferenceVertex

    def connect(self, endpoints: Endpoints[EndpointT_co]) -> EndpointT_co:
        """Return the engine's connection for an inference vertex."""
        return endpoints.inference()

    async def run(self, context: VertexContext) -> None:
        """Warm up, report ready and process batches until stopped."""
        await self.vertex.restore(context.ledger)
        await asyncio.to_thread(self.vertex.warm_up)
        await context.ready()
        self.vertex.stats.state = VertexState.RUNNING
        async with _writing_pages(self.vertex, context):
            async with task_group() as tasks:
                for inlet in context.inlets:
                    tasks.create_task(self.vertex.work(inlet, context.outlets, context.stop))
            self.vertex.stats.state = VertexState.FINISHED


@dataclass(slots=True)
class SinkRole:
    """A sink."""

    vertex: SinkVertex

    def connect(self, endpoints: Endpoints[EndpointT_co]) -> EndpointT_co:
        """Return the engine's connection for a sink."""
        return endpoints.sink()

    async def run(self, context: VertexContext) -> None:
        """Store messages until stopped, then write the final image."""
        await asyncio.to_thread(self.vertex.open)
        await self.vertex.restore(context.ledger)
        await context.ready()
        self.vertex.stats.state = VertexState.RUNNING
        async with _writing_pages(self.vertex, context):
            async with task_group() as tasks:
                for inlet in context.inlets:
                    tasks.create_task(self.vertex.work(inlet, context.stop))
            await asyncio.to_thread(self.vertex.close)
            self.vertex.stats.state = VertexState.FINISHED


@asynccontextmanager
async def _writing_pages(vertex: Vertex, context: VertexContext) -> AsyncGenerator[None]:
    """Write the vertex's page periodically, and once more on exit, even after a failure."""
    finished = asyncio.Event()
    async with task_group() as tasks:
        writer = tasks.create_task(write_ledger_periodically(vertex.page, context.ledger, finished))
        try:
            yield
        finally:
            finished.set()
            await asyncio.wait({writer})
