"""State of a run at one moment, read from its buffers and its ledger."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from charon.ledger.accounting import compute_account
from charon.ledger.pages import SinkPage, vertex_of
from charon.ledger.states import VertexState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from charon.adapters.nats import EdgeState, NatsConnection
    from charon.ledger.account import Account
    from charon.ledger.latency import LatencySummary
    from charon.ledger.pages import Page


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of a run.

    Parameters
    ----------
    time_ns
        Time of the snapshot, ns since 1970.
    pages
        The page of each replica by ``vertex.replica``.
    edges
        The backlog of each edge.
    account
        The account of frames.
    starting
        Replicas, as ``vertex.replica``, that have not written a page yet.
    """

    time_ns: int
    pages: Mapping[str, Page]
    edges: Mapping[str, EdgeState]
    account: Account
    starting: Sequence[str] = ()

    def latency(self) -> LatencySummary | None:
        """Return the latency from the detector to the image, of the slowest image sink; None without one."""
        images = (page.report.image for page in self.pages.values() if isinstance(page, SinkPage))
        latencies = [image.since_detector.summary for image in images if image is not None]
        return max(
            (latency for latency in latencies if latency.count), key=lambda latency: latency.p50 or 0.0, default=None
        )

    def by_vertex(self) -> dict[str, list[Page]]:
        """Return the pages of each vertex."""
        grouped: dict[str, list[Page]] = {vertex_of(key): [] for key in (*self.pages, *self.starting)}
        for key, page in self.pages.items():
            grouped[vertex_of(key)].append(page)
        return grouped

    def states_of(self, vertex: str) -> list[VertexState]:
        """Return the state of each replica of a vertex."""
        states = [page.process.state for key, page in self.pages.items() if vertex_of(key) == vertex]
        return states + [VertexState.STARTING for key in self.starting if vertex_of(key) == vertex]

    def to_json(self) -> dict[str, Any]:
        """Return the snapshot as JSON values, without the sets of the ledger."""
        latency = self.latency()
        return {
            "time_ns": self.time_ns,
            "account": self.account.to_json(),
            "latency": {} if latency is None else latency.to_json(),
            "edges": {
                name: {
                    "waiting": edge.waiting,
                    "ack_pending": edge.ack_pending,
                    "bytes": edge.size_bytes,
                    "limit_bytes": edge.limit_bytes,
                }
                for name, edge in self.edges.items()
            },
            "replicas": {
                **{key: {"vertex": vertex_of(key), **page.to_json(ledger=False)} for key, page in self.pages.items()},
                **{key: {"vertex": vertex_of(key), "state": VertexState.STARTING.value} for key in self.starting},
            },
        }


async def read_snapshot(
    connection: NatsConnection, edges: Sequence[str], *, expected: Sequence[str] = (), ended: bool = False
) -> Snapshot:
    """Read the state of a run.

    Parameters
    ----------
    connection
        Connection to the run's nats-server.
    edges
        Names of its edges.
    expected
        Its replicas; those without a page are reported as starting.
    ended
        Whether the run has drained.

    Raises
    ------
    UnavailableError
        If the run's nats-server does not respond.
    """
    pages = await connection.ledger.pages()
    starting = tuple(key for key in expected if key not in pages)
    states = {edge: await connection.streams.state(edge) for edge in edges}
    return Snapshot(time.time_ns(), pages, states, compute_account(pages, ended=ended), starting)
