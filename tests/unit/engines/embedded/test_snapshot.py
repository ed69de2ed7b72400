"""A snapshot reports every replica, including those without a page, and the slowest image sink."""

from __future__ import annotations

from charon.adapters.nats import EdgeState
from charon.engines.embedded import Snapshot
from charon.ledger.accounting import compute_account
from charon.ledger.latency import Latency, LatencyHistogram, LatencySummary
from charon.ledger.pages import SinkPage, SourcePage
from charon.ledger.process import ProcessStats
from charon.ledger.sink_report import ImageReport, SinkReport
from charon.ledger.states import VertexState


def image_page(count, p50):
    latency = Latency(
        LatencySummary(count=count, p50=p50, p99=p50),
        LatencyHistogram(bounds_ms=(), cumulative=(), count=count, sum_s=0.0, clock_disagrees=0),
    )
    report = SinkReport(image=ImageReport(since_detector=latency, since_received=latency))
    return SinkPage(process=ProcessStats(state=VertexState.RUNNING), report=report)


def snapshot(pages, starting=()):
    return Snapshot(5, pages, {"p-in-out": EdgeState(3, 2, 100, 1000)}, compute_account(pages, ended=False), starting)


def test_replica_without_page_is_starting():
    page = SourcePage(process=ProcessStats(state=VertexState.WAITING_FOR_CHANNEL))
    state = snapshot({"in.0": page}, starting=("in.1", "out.0"))
    assert state.by_vertex() == {"in": [page], "out": []}
    assert state.states_of("in") == [VertexState.WAITING_FOR_CHANNEL, VertexState.STARTING]
    replicas = state.to_json()["replicas"]
    assert {key: (page["vertex"], page["state"]) for key, page in replicas.items()} == {
        "in.0": ("in", "waiting-for-channel"),
        "in.1": ("in", "starting"),
        "out.0": ("out", "starting"),
    }


def test_latency_is_that_of_the_slowest_image_sink():
    pages = {"image.0": image_page(5, 20.0), "image.1": image_page(5, 30.0), "other.0": image_page(0, None)}
    assert snapshot(pages).latency() == LatencySummary(count=5, p50=30.0, p99=30.0)


def test_latency_without_measured_frame_is_none():
    empty = snapshot({"image.0": image_page(0, None), "in.0": SourcePage(process=ProcessStats())})
    assert empty.latency() is None
    assert empty.to_json()["latency"] == {}


def test_json_contains_edges_and_no_sets():
    document = snapshot({"in.0": SourcePage(process=ProcessStats())}).to_json()
    assert document["edges"] == {"p-in-out": {"waiting": 3, "ack_pending": 2, "bytes": 100, "limit_bytes": 1000}}
    assert "ledger" not in document["replicas"]["in.0"]
