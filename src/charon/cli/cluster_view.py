"""Format the state of a pipeline on a cluster as plain lines, for terminals and pipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charon.cli.view import account_line, count_done, latency_line
from charon.engines.cluster.reasons import ReasonKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from charon.adapters.nats import EdgeState
    from charon.engines.cluster import ClusterView, VertexView
    from charon.engines.embedded import Snapshot


def cluster_lines(view: ClusterView, snapshot: Snapshot | None, account_error: str = "") -> list[str]:
    """Return the state of a pipeline on a cluster as lines of text.

    Parameters
    ----------
    view
        Vertices and pods.
    snapshot
        Pages of the ledger; None if the ledger is unavailable.
    account_error
        Why the ledger is unavailable.
    """
    state = view.phase or "not processed yet"
    lines = [f"{view.name}  namespace {view.namespace}  {state}" + (f": {view.message}" if view.message else "")]
    lines += [f"! {name}: {message}" for name, message in view.conditions.items() if message]
    pages = {} if snapshot is None else snapshot.by_vertex()
    edges: Mapping[str, EdgeState] = {} if snapshot is None else snapshot.edges
    for vertex in (*view.vertices, view.daemon):
        done = f", {count_done(pages[vertex.name]):,} frames" if vertex.name in pages else ""
        backlogs = [edges[name].waiting for name in vertex.buffers if name in edges]
        backlog = f", backlog {sum(backlogs):,}" if backlogs else ""
        lines.append(f"{vertex.name}: {vertex.ready} of {vertex.desired} replicas ready{done}{backlog}")
        lines += _pods(vertex)
    for pod in view.buffers:
        lines.append(f"! buffers: {pod.name}: {pod.reason.text if pod.reason else 'failed'}")
    if snapshot is None:
        lines.append(f"account: unavailable: {account_error}")
    elif not snapshot.pages:
        lines.append("account: no vertex has written a page yet")
    else:
        lines += [account_line(snapshot.account), latency_line(snapshot.latency())]
        lines += [f"! {line}" for group in pages.values() for page in group for line in page.process.warnings]
    return lines


def _pods(vertex: VertexView) -> list[str]:
    lines: list[str] = []
    for pod in vertex.pods:
        state = "running" if pod.reason is None else pod.reason.text
        # The reason of a crash contains the number of restarts.
        crashed = pod.reason is not None and pod.reason.kind is ReasonKind.CRASH
        restarts = f" (restarts: {pod.restarts})" if pod.restarts and not crashed else ""
        lines.append(f"  {pod.name}: {state}{restarts}")
        lines += [f"      {line}" for line in (pod.reason.detail if pod.reason else ())]
    return lines
