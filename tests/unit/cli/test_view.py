"""The views count the backlog of each vertex."""

from __future__ import annotations

from dataclasses import replace

from run_snapshots import snapshot

from charon.adapters.nats import EdgeState
from charon.cli.view import plain_lines


def test_backlog_counts_own_edges_only():
    edges = {"p-in-image": EdgeState(2, 0, 0, 0), "p-in-big-image": EdgeState(5, 0, 0, 0)}
    state = replace(snapshot(1, accepted=0, reconstructed=0), edges=edges)
    lines = plain_lines("run", "p", state, {}, ["in", "image", "big-image"])
    assert [line.split(", ")[-1] for line in lines[1:4]] == ["backlog 0", "backlog 2", "backlog 5"]
