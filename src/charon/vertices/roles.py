"""What an engine starts: a vertex with its surroundings, ready to work between an inlet and outlets."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from charon.ledger.states import VertexState
from charon.vertices.ledger_writer import write_ledger_periodically

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractContextManager

    from charon.vertices.inference import InferenceVertex
    from charon.vertices.ports import Inlet, Ledger, Outlet
    from charon.vertices.sinks.vertex import SinkVertex
    from charon.vertices.source.vertex import SourceVertex


async def immediately() -> None:
    """Wait for nothing."""


@dataclass(frozen=True, slots=True)
class VertexContext:
    """What an engine puts around a vertex.

    Parameters
    ----------
    inlets, outlets
        Ends of the edges into and out of it.
    ledger
        Its replica's page.
    stop
        Set when it shall finish what it took and end.
    may_begin
        Returns when what follows a source is ready for its frames.
    """

    inlets: Sequence[Inlet]
    outlets: Sequence[Outlet]
    ledger: Ledger
    stop: asyncio.Event
    may_begin: Callable[[], Awaitable[None]] = immediately


class Role(Protocol):
    """A vertex that an engine can run."""

    async def run(self, around: VertexContext) -> None:
        """Work until told to stop, finish what was taken, and leave the last word in the ledger."""
        ...


@dataclass(slots=True)
class SourceRole:
    """A source with the monitors that feed it.

    Parameters
    ----------
    vertex
        The source.
    monitors
        Entered when the vertex is ready to take frames, left when it is told to stop.
    """

    vertex: SourceVertex
    monitors: list[AbstractContextManager[Any]] = field(default_factory=list["AbstractContextManager[Any]"])

    async def run(self, around: VertexContext) -> None:
        """Read the channel until told to stop, then hand over what the ring still holds."""
        await self.vertex.restore(around.ledger)
        finished = asyncio.Event()
        keeping = asyncio.create_task(write_ledger_periodically(self.vertex.page, around.ledger, finished))
        await around.may_begin()
        work = asyncio.create_task(self.vertex.work(around.outlets, around.stop))
        try:
            with ExitStack() as stack:
                for monitor in self.monitors:
                    stack.enter_context(monitor)
                await asyncio.wait({work, asyncio.create_task(around.stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
            await work
            self.vertex.stats.state = VertexState.FINISHED
        finally:
            finished.set()
            await keeping


@dataclass(slots=True)
class InferenceRole:
    """Inference between one work queue and the edges that follow."""

    vertex: InferenceVertex

    async def run(self, around: VertexContext) -> None:
        """Warm up, report ready, work until told to stop."""
        await self.vertex.restore(around.ledger)
        await asyncio.to_thread(self.vertex.warm_up)
        self.vertex.stats.state = VertexState.RUNNING
        await _work_and_tell(self.vertex, around)


@dataclass(slots=True)
class SinkRole:
    """A sink at the end of an edge."""

    vertex: SinkVertex

    async def run(self, around: VertexContext) -> None:
        """Store what comes until told to stop, then write the last image."""
        await asyncio.to_thread(self.vertex.open)
        await self.vertex.restore(around.ledger)
        self.vertex.stats.state = VertexState.RUNNING
        await _work_and_tell(self.vertex, around)


async def _work_and_tell(vertex: InferenceVertex | SinkVertex, around: VertexContext) -> None:
    finished = asyncio.Event()
    keeping = asyncio.create_task(write_ledger_periodically(vertex.page, around.ledger, finished))
    try:
        try:
            async with asyncio.TaskGroup() as group:
                for inlet in around.inlets:
                    group.create_task(vertex.work(inlet, around.outlets, around.stop))
        except BaseExceptionGroup as errors:
            # One is enough to say why the process ends: a group's last line says nothing.
            raise errors.exceptions[0] from None
        await asyncio.to_thread(vertex.close)
        vertex.stats.state = VertexState.FINISHED
    finally:
        finished.set()
        await keeping
