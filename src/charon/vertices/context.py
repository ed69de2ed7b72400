"""The context in which an engine runs a vertex."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence

    from charon.vertices.ports import Inlet, Ledger, Outlet


async def _ready_immediately() -> None:
    """Return immediately."""


@dataclass(frozen=True, slots=True)
class VertexContext:
    """Connections of a vertex to its engine.

    Parameters
    ----------
    inlets, outlets
        Ends of its incoming and outgoing edges.
    ledger
        Its replica's page.
    stop
        Set by the engine; the vertex then finishes the messages that it has read, and ends.
    ready
        Called by the vertex when it can process messages; returns when it may start.
    """

    inlets: Sequence[Inlet]
    outlets: Sequence[Outlet]
    ledger: Ledger
    stop: asyncio.Event
    ready: Callable[[], Awaitable[object]] = _ready_immediately
