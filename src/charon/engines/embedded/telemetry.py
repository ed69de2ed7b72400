"""A run's state as metrics, for Prometheus to scrape: one endpoint for all its vertices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charon.adapters.prometheus.scrape.pages import Pages
from charon.adapters.prometheus.scrape.text import Family, render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from charon.adapters.nats import EdgeState
    from charon.engines.embedded.snapshot import Snapshot
    from charon.ledger.account import Account


def metrics_text(pipeline: str, snapshot: Snapshot, restarts: Mapping[str, int], server_restarts: int) -> str:
    """Return the metrics of a run.

    Parameters
    ----------
    pipeline
        Its name, a label of every series.
    snapshot
        Its state.
    restarts
        How often each ``vertex.replica`` was started again.
    server_restarts
        How often the nats-server was.
    """
    pages = Pages()
    for key, page in sorted(snapshot.pages.items()):
        pages.add(page, _of_replica(pipeline, key))
    of_run = {"pipeline": pipeline}
    again = Family("charon_vertex_restarts_total", "counter", "How often the vertex's process was started again.")
    for key, n in sorted(restarts.items()):
        again.add(n, _of_replica(pipeline, key))
    server = Family("charon_buffer_server_restarts_total", "counter", "How often the nats-server was started again.")
    server.add(server_restarts, of_run)
    families = [*pages.families(), again, server]
    families += _account(snapshot.account, of_run)
    families += _edges(snapshot.edges, of_run)
    return render(families)


def _of_replica(pipeline: str, key: str) -> dict[str, str]:
    vertex, _, replica = key.rpartition(".")
    return {"pipeline": pipeline, "vertex": vertex, "replica": replica}


def _account(account: Account, labels: Mapping[str, str]) -> list[Family]:
    # Gauges, not counters: a frame in flight leaves that state, and what was missed may still turn up.
    frames = Family("charon_run_frames", "gauge", "The account of the run: frames by where they are.")
    states = {
        "published": account.published,
        "missed": account.missed,
        "accepted": account.accepted,
        "rejected": sum(account.rejected.values()),
        "in_flight": account.in_flight,
        "reconstructed": account.reconstructed,
        "lost": account.lost,
        "duplicates": account.duplicates,
    }
    for state, n in states.items():
        frames.add(n, {**labels, "state": state})
    rejected = Family("charon_run_rejected_frames", "gauge", "The account of the run: rejected frames by reason.")
    for reason, n in sorted(account.rejected.items()):
        rejected.add(n, {**labels, "reason": reason})
    return [frames, rejected]


def _edges(edges: Mapping[str, EdgeState], labels: Mapping[str, str]) -> list[Family]:
    waiting = Family("charon_edge_waiting_messages", "gauge", "Messages in the buffer of an edge.")
    handed = Family("charon_edge_ack_pending_messages", "gauge", "Of these, those handed out and not acknowledged.")
    size = Family("charon_edge_bytes", "gauge", "Bytes in the buffer of an edge.")
    limit = Family("charon_edge_limit_bytes", "gauge", "Bound of the buffer of an edge.")
    for edge, state in sorted(edges.items()):
        here = {**labels, "edge": edge}
        waiting.add(state.waiting, here)
        handed.add(state.ack_pending, here)
        size.add(state.size_bytes, here)
        limit.add(state.limit_bytes, here)
    return [waiting, handed, size, limit]
