"""Metrics of a run for Prometheus: one endpoint for all its vertices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charon.adapters.prometheus.scrape import MetricFamily, PageMetrics, render

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
        Name of the pipeline, a label of every series.
    snapshot
        State of the run.
    restarts
        Number of restarts of each ``vertex.replica``.
    server_restarts
        Number of restarts of the nats-server.
    """
    pages = PageMetrics()
    for key, page in sorted(snapshot.pages.items()):
        pages.add(page, _replica_labels(pipeline, key))
    run_labels = {"pipeline": pipeline}
    vertices = MetricFamily("charon_vertex_restarts_total", "counter", "Restarts of the vertex's process.")
    for key, n in sorted(restarts.items()):
        vertices.add(n, _replica_labels(pipeline, key))
    server = MetricFamily("charon_buffer_server_restarts_total", "counter", "Restarts of the nats-server.")
    server.add(server_restarts, run_labels)
    families = [*pages.families(), vertices, server]
    families += _account_families(snapshot.account, run_labels)
    families += _edge_families(snapshot.edges, run_labels)
    return render(families)


def _replica_labels(pipeline: str, key: str) -> dict[str, str]:
    vertex, _, replica = key.rpartition(".")
    return {"pipeline": pipeline, "vertex": vertex, "replica": replica}


def _account_families(account: Account, labels: Mapping[str, str]) -> list[MetricFamily]:
    # Gauges, not counters: frames leave the state in flight, and a missed frame can still arrive.
    frames = MetricFamily("charon_run_frames", "gauge", "Account of the run: frames by state.")
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
    rejected = MetricFamily("charon_run_rejected_frames", "gauge", "Account of the run: rejected frames by reason.")
    for reason, n in sorted(account.rejected.items()):
        rejected.add(n, {**labels, "reason": reason})
    return [frames, rejected]


def _edge_families(edges: Mapping[str, EdgeState], labels: Mapping[str, str]) -> list[MetricFamily]:
    waiting = MetricFamily("charon_edge_waiting_messages", "gauge", "Messages in the buffer of an edge.")
    ack_pending = MetricFamily("charon_edge_ack_pending_messages", "gauge", "Delivered and unacknowledged messages.")
    size = MetricFamily("charon_edge_bytes", "gauge", "Bytes in the buffer of an edge.")
    limit = MetricFamily("charon_edge_limit_bytes", "gauge", "Size limit of the buffer of an edge.")
    for edge, state in sorted(edges.items()):
        edge_labels = {**labels, "edge": edge}
        waiting.add(state.waiting, edge_labels)
        ack_pending.add(state.ack_pending, edge_labels)
        size.add(state.size_bytes, edge_labels)
        limit.add(state.limit_bytes, edge_labels)
    return [waiting, ack_pending, size, limit]
