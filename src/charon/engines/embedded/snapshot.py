"""The state of a run at one moment, read from its buffers and its ledger."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from charon.ledger.account import Account, settle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charon.adapters.nats import EdgeState, NatsConnection


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a run looks like now.

    Parameters
    ----------
    taken_ns
        When.
    pages
        Each replica's page of the ledger, by ``vertex.replica``.
    edges
        What waits in each edge.
    account
        Where the frames are.
    """

    taken_ns: int
    pages: dict[str, dict[str, Any]]
    edges: dict[str, EdgeState]
    account: Account

    def latency(self) -> dict[str, Any]:
        """Return the latency in ms, from the detector to the image, of the slowest image sink; empty without one."""
        found = [page["latency_ms"] for page in self.pages.values() if page.get("latency_ms", {}).get("count")]
        return max(found, key=lambda latency: latency["p50"], default={})

    def by_vertex(self) -> dict[str, list[dict[str, Any]]]:
        """Return the pages grouped by vertex."""
        grouped: dict[str, list[dict[str, Any]]] = {}
        for key, page in self.pages.items():
            grouped.setdefault(key.rpartition(".")[0], []).append(page)
        return grouped

    def to_json(self) -> dict[str, Any]:
        """Return the snapshot as JSON values, without the ledger's sets."""
        return {
            "taken_ns": self.taken_ns,
            "account": self.account.to_json(),
            "latency": self.latency(),
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
                key: {name: value for name, value in page.items() if name != "ledger"}
                for key, page in self.pages.items()
            },
        }


async def take_snapshot(
    bus: NatsConnection, edges: Sequence[str], *, expected: Sequence[str] = (), ended: bool = False
) -> Snapshot:
    """Read the state of a run.

    Parameters
    ----------
    bus
        Connection to the run's nats-server.
    edges
        Names of its edges.
    expected
        Its replicas; one that has not written yet is shown as starting.
    ended
        Whether the run has drained.

    Raises
    ------
    UnavailableError
        If the run's nats-server does not answer.
    """
    pages = await bus.ledger.documents()
    for key in expected:
        pages.setdefault(key, {"state": "starting"})
    for key, page in pages.items():
        page.setdefault("vertex", key.rpartition(".")[0])
    states = {edge: await bus.streams.state(edge) for edge in edges}
    return Snapshot(time.time_ns(), pages, states, settle(pages.values(), ended=ended))
