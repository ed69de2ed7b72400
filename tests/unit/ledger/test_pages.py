"""JSON preserves pages; a document that is not a valid page raises ValueError with one clear line."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charon.frames import FrameId
from charon.ledger.entries import LedgerEntry
from charon.ledger.id_set import IdSet
from charon.ledger.latency import Latency, LatencyHistogram, LatencySummary
from charon.ledger.pages import InferencePage, SinkPage, SourcePage, page_from_json, vertex_of, waiting_in_rings
from charon.ledger.process import ProcessStats
from charon.ledger.sink_report import ImageReport, ScanReport, SinkReport
from charon.ledger.states import VertexState

PROCESS = ProcessStats(
    state=VertexState.RUNNING,
    pid=7,
    started_ns=1,
    updated_ns=2,
    rss_bytes=3,
    counts={"done": 4},
    batches={8: 1, 64: 2},
    busy_s=0.5,
    cpu_s=0.25,
    warnings=("frame 1: 64x64",),
)
ENTRY = LedgerEntry(
    channel="ad:image", epoch_ns=9, scan="scan-1", sets={"seen": IdSet([1, 2, 5])}, counts={"redundant": 1}
)
LATENCY = Latency(
    LatencySummary(count=1, clock_disagrees=2, p50=3.5, p99=4.5, max=5.5, mean=3.5),
    LatencyHistogram(bounds_ms=(1.5, 7), cumulative=(0, 1), count=1, sum_s=0.0035, clock_disagrees=2),
)
IMAGE = ImageReport(
    since_detector=LATENCY,
    since_received=LATENCY,
    scans={"scan-1": ScanReport(stitched=1, waiting=2, unstitched=3, files=("a.h5",), picture="a.png")},
    positions_waiting=4,
)
SOURCE = SourcePage(
    process=PROCESS,
    channel="ad:image",
    restarts=1,
    waiting=2,
    pending=3,
    last=FrameId("ad:image", 5, 14, 9),
    entries=(ENTRY,),
)
PAGES = [
    SOURCE,
    SourcePage(process=ProcessStats()),
    InferencePage(process=PROCESS, model="net@1", backend="openvino 2024", attempts={"ad:image/14/5": 2}),
    SinkPage(process=ProcessStats()),
    SinkPage(process=PROCESS, report=SinkReport(sink="log", entries=(ENTRY,), unreadable=1)),
    SinkPage(process=PROCESS, report=SinkReport(entries=(ENTRY,), image=IMAGE)),
]


@pytest.mark.parametrize("page", PAGES)
def test_json_preserves_page(page):
    restored = page_from_json(json.loads(json.dumps(page.to_json())))
    assert restored.to_json() == page.to_json()
    assert restored == page or isinstance(page, SinkPage)


def test_page_without_its_ledger_has_all_other_fields():
    document = SOURCE.to_json()
    ledger = document.pop("ledger")
    assert isinstance(ledger, dict)
    assert ledger["epochs"][0]["sets"] == {"seen": [[1, 2], [5, 5]]}
    assert SOURCE.to_json(ledger=False) == document


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "router"}, "unknown kind 'router'"),
        ({"state": "dancing"}, "'dancing' is not a valid VertexState"),
        ({"updated_ns": "x"}, "updated_ns is not an integer"),
        ({"warnings": 3}, "warnings is not a list"),
        ({"last": [1, 2]}, "last has 2 elements instead of 3"),
        ({"last": [1, 2, "x"]}, "last contains a value that is not an integer"),
        ({"ledger": {"epochs": 3}}, "epochs is not a list"),
        ({"ledger": {"epochs": [{}]}}, "field 'sets' is missing"),
        ({"ledger": {"epochs": [ENTRY.to_json() | {"sets": {"seen": [[1, "2"]]}}]}}, "seen contains a range"),
        ({"ledger": {"epochs": [ENTRY.to_json() | {"sets": {"seen": [1]}}]}}, "not iterable"),
        ({"ledger": {"epochs": [ENTRY.to_json() | {"sets": {"seen": [[2, 1]]}}]}}, "ends before it begins"),
        ({"counts": {"done": "many"}}, "counts contains a value that is not an integer"),
        ({"batches": {"large": 1}}, "invalid literal"),
    ],
)
def test_invalid_field_is_named(change, message):
    with pytest.raises(ValueError, match=r"^invalid page: ") as raised:
        page_from_json(SOURCE.to_json() | change)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_invalid_latency_is_rejected():
    document = PAGES[-1].to_json()
    document["latency_histograms"]["detector"]["cumulative"] = [1]
    with pytest.raises(ValueError, match="cumulative has 1 elements instead of 2"):
        page_from_json(document)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)


@given(st.data(), st.sampled_from(PAGES), values)
def test_damaged_page_raises_only_value_error(data, page, value):
    document = json.loads(json.dumps(page.to_json()))
    node = document
    while True:
        key = data.draw(st.sampled_from(sorted(node)) if isinstance(node, dict) else st.integers(0, len(node) - 1))
        child = node[key]
        if not child or not isinstance(child, dict | list) or data.draw(st.booleans()):
            break
        node = child
    node[key] = value
    with suppress(ValueError):
        page_from_json(document)


@pytest.mark.parametrize("document", [None, 3, [], {}, {"kind": ["source"]}, {"kind": "source"}])
def test_document_that_is_not_a_page_is_rejected(document):
    with pytest.raises(ValueError, match="invalid page: "):
        page_from_json(document)


def test_only_running_and_waiting_vertices_are_ready():
    assert [state for state in VertexState if state.is_ready] == ["waiting-for-channel", "running"]
    assert VertexState.WAITING_FOR_CHANNEL.label == "waiting for channel"


def test_ring_waiting_counts_sources_only():
    assert waiting_in_rings(PAGES) == 2


@pytest.mark.parametrize("key", ["in.0", "in.1-1760000000"])
def test_key_of_a_page_begins_with_the_vertex(key):
    assert vertex_of(key) == "in"
