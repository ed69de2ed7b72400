"""After any bad, repeated or unidentifiable update, good frames still get through; every frame is accounted for.

While the buffer is full, frames wait and none is lost. Exactly the frames that arrive while the ring is full are
missed.
"""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
from vertex_fakes import FakeLedger, FakeOutlet, FakeUpdate

from charon.errors import BadFrameError, Reason, UsageError
from charon.frames import Frame, LatePosition, Rejection
from charon.ledger.accounting import compute_account
from charon.ledger.pages import page_from_json
from charon.science.preprocess import Geometry
from charon.vertices.source import SourceVertex

CHANNEL = "ad:image"


def run(vertex, updates, *, ledger=None):
    """Feed updates to a vertex, stop it, and wait until it has drained."""

    async def main():
        outlet = FakeOutlet()
        if ledger is not None:
            await vertex.restore(ledger)
        for update in updates:
            vertex.on_update(update)
        stop = asyncio.Event()
        stop.set()
        await asyncio.wait_for(vertex.work([outlet], stop), 20)
        return outlet

    return asyncio.run(main())


def account(vertex, *, ended=True):
    page = page_from_json(json.loads(json.dumps(vertex.page().to_json())))
    return compute_account({"in.0": page}, ended=ended)


def ids(vertex, state, epoch_ns):
    return vertex.book.ids(CHANNEL, epoch_ns, state).ranges()


def test_stop_drains_the_ring():
    vertex = SourceVertex(CHANNEL)
    outlet = run(vertex, [FakeUpdate(n) for n in range(1, 41)])
    messages = outlet.frames()
    assert [m.id.unique_id for m in messages] == list(range(1, 41))
    assert all((m.image == m.id.unique_id).all() for m in messages)
    assert {m.times_ns["received"] - m.id.unique_id for m in messages} == {5000}
    assert list(outlet.messages) == [f"{CHANNEL}/{1000 + n}/{n}" for n in range(1, 41)]
    assert ids(vertex, "accepted", 1001) == [[1, 40]]
    assert vertex.page().waiting == 0


def test_full_buffer_loses_no_frame():
    async def main():
        vertex = SourceVertex(CHANNEL, max_in_flight=4)
        outlet = FakeOutlet()
        outlet.gate.clear()
        stop = asyncio.Event()
        work = asyncio.create_task(vertex.work([outlet], stop))
        for n in range(1, 101):
            vertex.on_update(FakeUpdate(n))
        while outlet.sends < 4:  # noqa: ASYNC110 - the fake has no event
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        # Only the allowed number of frames is in flight, and none of them is accepted yet.
        assert outlet.sends == 4
        assert not outlet.messages
        assert ids(vertex, "accepted", 1001) == []
        vertex.on_position(LatePosition(CHANNEL, 1001, (0.0, 0.0)))
        # In the ring, in preparation, waiting for a slot or in flight.
        assert vertex.pending == vertex.page().pending == 101
        stop.set()
        await asyncio.sleep(0.05)
        assert not work.done()
        outlet.gate.set()
        await asyncio.wait_for(work, 20)
        return vertex, outlet

    vertex, outlet = asyncio.run(main())
    assert [m.id.unique_id for m in outlet.decoded() if isinstance(m, Frame)] == list(range(1, 101))
    assert vertex.pending == 0
    assert ids(vertex, "accepted", 1001) == [[1, 100]]
    assert account(vertex).missed == 0


def test_full_ring_misses_further_frames():
    vertex = SourceVertex(CHANNEL)
    outlet = run(vertex, [FakeUpdate(n) for n in range(1, 301)])
    assert [m.id.unique_id for m in outlet.frames()] == list(range(1, 257))
    assert ids(vertex, "missed", 1001) == [[257, 300]]
    result = account(vertex)
    assert (result.published, result.missed, result.accepted) == (300, 44, 256)


def test_missed_frames_do_not_grow_the_ring():
    vertex = SourceVertex(CHANNEL)
    updates = [FakeUpdate(n) for n in range(1, 5001) if n != 2000]
    restarted = [FakeUpdate(n, time_ns=9000 + n) for n in range(1, 1001)]

    async def main():
        for update in updates + restarted:
            vertex.on_update(update)
        assert vertex.pending < 256 + 8
        stop = asyncio.Event()
        stop.set()
        await asyncio.wait_for(vertex.work([FakeOutlet()], stop), 20)

    asyncio.run(main())
    assert ids(vertex, "missed", 1001) == [[257, 1999], [2001, 5000]]
    assert ids(vertex, "missed", 9001) == [[1, 1000]]
    result = account(vertex)
    assert (result.published, result.missed, result.accepted) == (6000, 5744, 256)
    assert vertex.stats.counts["overflow"] == 4999 - 256 + 1000


def test_cancellation_misses_frames_in_the_ring():
    async def main():
        vertex = SourceVertex(CHANNEL, max_in_flight=4)
        outlet = FakeOutlet()
        outlet.gate.clear()
        for n in range(1, 101):
            vertex.on_update(FakeUpdate(n))
        work = asyncio.create_task(vertex.work([outlet], asyncio.Event()))
        while outlet.sends < 4:  # noqa: ASYNC110 - the fake has no event
            await asyncio.sleep(0.01)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return vertex

    result = account(asyncio.run(main()))
    assert (result.published, result.missed, result.accepted) == (100, 100, 0)


def test_gaps_count_as_missed():
    vertex = SourceVertex(CHANNEL)
    run(vertex, [FakeUpdate(n) for n in (3, 4, 7, 8, 10)])
    result = account(vertex)
    assert (result.published, result.missed, result.missed_ids) == (8, 3, {CHANNEL: [[5, 6], [9, 9]]})


BAD = {
    "unknown codec": ({"frame": BadFrameError(Reason.CODEC, "codec 'xyz'")}, "codec"),
    "truncated": ({"frame": BadFrameError(Reason.TRUNCATED, "too short")}, "truncated"),
    "empty": ({"frame": BadFrameError(Reason.EMPTY, "no value")}, "empty"),
    "wrong size": ({"image": np.zeros((3, 5), np.uint16)}, "shape"),
    "wrong size, same number of pixels": ({"image": np.zeros((2, 8), np.uint16)}, "shape"),
    "boolean": ({"image": np.zeros((4, 4), bool)}, "dtype"),
}


@pytest.mark.parametrize(("fault", "reason"), BAD.values(), ids=BAD.keys())
def test_bad_frame_is_rejected_and_good_ones_pass(fault, reason):
    vertex = SourceVertex(CHANNEL, geometry=Geometry((4, 4), (0, 0, 4, 4), 2))
    outlet = run(vertex, [FakeUpdate(1), FakeUpdate(2, **fault), FakeUpdate(3)])
    first, rejection, last = outlet.decoded()
    assert isinstance(first, Frame)
    assert isinstance(last, Frame)
    assert (first.image == 1).all()
    assert (last.image == 3).all()
    assert isinstance(rejection, Rejection)
    assert (rejection.id.unique_id, rejection.reason, rejection.vertex) == (2, reason, "source")
    assert rejection.id.name in rejection.detail
    assert list(outlet.messages)[1] == rejection.id.name
    assert ids(vertex, f"rejected:{reason}", 1001) == [[2, 2]]
    assert account(vertex, ended=False).rejected == {reason: 1}


def test_raw_frame_of_unsupported_dtype_is_rejected():
    vertex = SourceVertex(CHANNEL)
    outlet = run(vertex, [FakeUpdate(1, np.zeros((4, 4), bool)), FakeUpdate(2)])
    rejection, frame = outlet.decoded()
    assert isinstance(rejection, Rejection)
    assert isinstance(frame, Frame)
    assert (rejection.reason, frame.id.unique_id) == ("dtype", 2)


def test_unidentifiable_update_is_ignored():
    vertex = SourceVertex(CHANNEL)
    nameless = FakeUpdate(9, identify=BadFrameError(Reason.MALFORMED, "no uniqueId"))
    outlet = run(vertex, [nameless, FakeUpdate(1), nameless, FakeUpdate(2)])
    assert [m.id.unique_id for m in outlet.frames()] == [1, 2]
    assert vertex.stats.counts["unidentified:malformed"] == 2
    assert account(vertex).published == 2


def test_initial_value_of_channel_is_ignored():
    vertex = SourceVertex(CHANNEL)
    idle = FakeUpdate(0, time_ns=0, frame=BadFrameError(Reason.EMPTY, "no value"))
    outlet = run(vertex, [idle, FakeUpdate(5), FakeUpdate(6)])
    assert [m.id.unique_id for m in outlet.frames()] == [5, 6]
    assert account(vertex).published == 2


def test_repeated_frame_is_counted_once():
    vertex = SourceVertex(CHANNEL)
    outlet = run(vertex, [FakeUpdate(1), FakeUpdate(1), FakeUpdate(2), FakeUpdate(2)])
    assert outlet.sends == 2
    assert vertex.stats.counts["repeated"] == 2
    assert account(vertex).published == 2


def test_detector_restart_begins_an_epoch():
    vertex = SourceVertex(CHANNEL)
    again = [FakeUpdate(n, time_ns=9000 + n) for n in (1, 2)]
    outlet = run(vertex, [FakeUpdate(1), FakeUpdate(2), FakeUpdate(3), *again])
    assert [(m.id.unique_id, m.id.epoch_ns) for m in outlet.frames()] == [
        (1, 1001),
        (2, 1001),
        (3, 1001),
        (1, 9001),
        (2, 9001),
    ]
    assert vertex.page().restarts == 1
    assert account(vertex).published == 5


def test_restarted_source_resumes_the_account():
    first = SourceVertex(CHANNEL)
    run(first, [FakeUpdate(1), FakeUpdate(2)])
    ledger = FakeLedger(first.page())
    second = SourceVertex(CHANNEL)
    # A channel sends its latest frame to a new reader.
    outlet = run(second, [FakeUpdate(2), FakeUpdate(4)], ledger=ledger)
    assert [(m.id.unique_id, m.id.epoch_ns) for m in outlet.frames()] == [(4, 1001)]
    assert ids(second, "accepted", 1001) == [[1, 2], [4, 4]]
    assert account(second).missed_ids == {CHANNEL: [[3, 3]]}


def test_unconfirmed_frame_is_published_when_repeated():
    first = SourceVertex(CHANNEL)
    run(first, [FakeUpdate(1)])
    document = json.loads(json.dumps(first.page().to_json()))
    document["last"] = [2, 1002, 1001]
    document["ledger"]["epochs"][0]["sets"]["seen"] = [[1, 2]]
    second = SourceVertex(CHANNEL)
    outlet = run(second, [FakeUpdate(2), FakeUpdate(2)], ledger=FakeLedger(page_from_json(document)))
    assert [m.id.unique_id for m in outlet.frames()] == [2]
    assert ids(second, "accepted", 1001) == [[1, 2]]


def test_empty_ledger_starts_a_new_account():
    vertex = SourceVertex(CHANNEL)
    run(vertex, [FakeUpdate(1)], ledger=FakeLedger())
    assert account(vertex).published == 1


def test_frame_position_precedes_the_scan_file():
    vertex = SourceVertex(CHANNEL, positions=lambda i: None if i.unique_id == 3 else (i.unique_id * 1e-6, 0.0))
    updates = [FakeUpdate(1, position=(7.0, 8.0)), FakeUpdate(2), FakeUpdate(3)]
    outlet = run(vertex, updates)
    assert [m.position_m for m in outlet.frames()] == [(7.0, 8.0), (2e-6, 0.0), None]


def test_scan_name_defaults_to_epoch_time():
    start_ns = 1_700_000_000_000_000_000
    vertex = SourceVertex(CHANNEL)
    outlet = run(vertex, [FakeUpdate(1, time_ns=start_ns), FakeUpdate(2, time_ns=start_ns + 1, scan="s7")])
    assert [m.scan for m in outlet.frames()] == ["scan-20231114T221320Z", "s7"]


def test_late_position_is_published():
    vertex = SourceVertex(CHANNEL)
    late = LatePosition(CHANNEL, 1001, (1e-6, 2e-6))
    vertex.on_position(late)
    outlet = run(vertex, [FakeUpdate(1)])
    assert late in outlet.decoded()
    assert late.name in outlet.messages
    assert len(outlet.messages) == 2


def test_frame_of_another_replica_is_redundant():
    async def main():
        outlet = FakeOutlet()
        stop = asyncio.Event()
        stop.set()
        vertices = [SourceVertex(CHANNEL), SourceVertex(CHANNEL)]
        for vertex, first in zip(vertices, (1, 3), strict=True):
            for n in range(first, 6):
                vertex.on_update(FakeUpdate(n))
            await vertex.work([outlet], stop)
        return vertices, outlet

    vertices, outlet = asyncio.run(main())
    assert len(outlet.messages) == 5
    result = compute_account({f"in.{k}": vertex.page() for k, vertex in enumerate(vertices)}, ended=False)
    assert (result.published, result.accepted, result.duplicates) == (5, 5, 3)


def test_too_large_message_ends_the_vertex():
    async def main():
        vertex = SourceVertex(CHANNEL)
        outlet = FakeOutlet()
        outlet.fault = UsageError("message of 99 bytes exceeds the limit")
        vertex.on_update(FakeUpdate(1))
        await asyncio.wait_for(vertex.work([outlet], asyncio.Event()), 20)

    with pytest.raises(UsageError, match="99 bytes"):
        asyncio.run(main())


def test_missing_time_stamps_warn_once():
    vertex = SourceVertex(CHANNEL)
    run(vertex, [FakeUpdate(n, time_ns=0) for n in (1, 2, 3)])
    assert [line for line in vertex.page().process.warnings if "time stamps" in line] == [
        f"channel {CHANNEL} sends no time stamps; frames are identified by uniqueId alone"
    ]
    assert account(vertex).published == 3
