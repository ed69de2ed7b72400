"""A source on Numaflow delivers each frame until it is acknowledged, even if Numaflow's container restarts."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from numaflow_client import SourceClient

from charon.frames import Frame, decode
from charon.ledger.accounting import compute_account
from charon.ledger.pages import SourcePage, page_from_json

pytestmark = [pytest.mark.system, pytest.mark.timeout(150)]
SMALL = ("--sample", "noise", "--n-x-pixels", "32", "--n-y-pixels", "24", "--report-period", "0", "--prepare-all")


def _decode(result) -> Any:
    return decode(result.payload)


def _names(results):
    return [result.offset.offset.decode() for result in results]


async def _read_all(reader, count, *, ack=True):
    """Read until `count` messages have arrived."""
    messages = []
    while len(messages) < count:
        results = await reader.read(8)
        if results and ack:
            await reader.ack(results)
        messages += results
    return messages


async def _until_pending(reader, count, timeout_s=60.0):
    """Wait until this number of frames is pending."""
    deadline = time.monotonic() + timeout_s
    while await reader.pending() != count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def test_unacknowledged_frames_are_redelivered(pods, detector):
    pod = pods("in", "source", "--raw")

    async def run():
        first = SourceClient(pod.sockets)
        await first.open()
        # A read that waits when its client disconnects must not consume the frames that arrive later.
        await first.request(8, 5000)
        await first.disconnect()
        async with SourceClient(pod.sockets) as second:
            detector("--wait-for-client", "--frame-rate", "50", "--n-frames", "20", *SMALL)
            acknowledged = await _read_all(second, 5)
            held = await _read_all(second, 9, ack=False)
        async with SourceClient(pod.sockets) as third:
            again = await third.read(len(held))
            assert _names(again) == _names(held)
            assert [result.payload for result in again] == [result.payload for result in held]
            await third.ack(again)
            rest = await _read_all(third, 20 - len(acknowledged) - len(held))
            await _until_pending(third, 0)
            assert await third.read(8, 100) == []
        names = _names(acknowledged + again + rest)
        assert len(names) == len(set(names)) == 20
        assert sorted(_decode(result).id.unique_id for result in acknowledged + again + rest) == list(range(1, 21))
        assert pod.process.poll() is None

    asyncio.run(run())


def test_nacked_frames_are_redelivered_first(pods, detector):
    pod = pods("in", "source", "--raw")

    async def run():
        async with SourceClient(pod.sockets) as reader:
            detector("--wait-for-client", "--frame-rate", "200", "--n-frames", "12", *SMALL)
            await _until_pending(reader, 12)
            results = await reader.read(6)
            await reader.ack(results[:2])
            await reader.nack(results[2:5])
            again = await reader.read(3)
            assert _names(again) == _names(results[2:5])
            await reader.ack([*again, results[5]])
            assert len(await _read_all(reader, 6)) == 6
            await _until_pending(reader, 0)

    asyncio.run(run())


def test_pending_includes_frames_in_flight(pods, detector):
    pod = pods("in", "source", "--raw")

    async def run():
        async with SourceClient(pod.sockets) as reader:
            assert await reader.pending() == 0
            # More than are prepared ahead; the others wait in the ring.
            detector("--wait-for-client", "--frame-rate", "400", "--n-frames", "200", *SMALL)
            await _until_pending(reader, 200)
            results = await reader.read(50)
            assert len(results) == 50
            assert await reader.pending() == 200
            await reader.ack(results[:30])
            await _until_pending(reader, 170)

    asyncio.run(run())


def test_waiting_read_times_out_without_blocking(pods, detector):
    pod = pods("in", "source", "--raw")

    async def run():
        async with SourceClient(pod.sockets) as reader:
            started = time.monotonic()
            reading = asyncio.create_task(reader.read(500, 3000))
            await asyncio.sleep(0.1)
            assert (await reader.stub.IsReady(Empty(), timeout=30)).ready
            assert await reader.pending() == 0
            assert not reading.done()
            assert await reading == []
            assert time.monotonic() - started > 2.9
            # The second frame is published after 10 s, and the read would end after 60 s.
            detector("--wait-for-client", "--frame-rate", "0.1", "--n-frames", "2", *SMALL)
            assert len(await reader.read(500, 60_000)) == 1, "one frame is returned immediately"

    asyncio.run(run())


def test_replicas_use_the_same_offset_for_a_frame(pods, detector):
    replicas = pods("in", "source", "--raw"), pods("in", "source", "--raw", replica=1)

    async def run():
        async with SourceClient(replicas[0].sockets) as first, SourceClient(replicas[1].sockets) as second:
            report = detector("--frame-rate", "50", "--n-frames", "30", "--clients", "2", *SMALL)
            both = await asyncio.gather(_read_all(first, 30), _read_all(second, 30))
            for pod in replicas:
                pod.terminate()
                assert await asyncio.to_thread(pod.wait) == 0, pod.log()
            return report, *both

    report, first, second = asyncio.run(run())
    assert _names(first) == _names(second)
    assert {result.offset.partition_id for result in first + second} == {0}
    for result in first:
        frame = _decode(result)
        assert isinstance(frame, Frame)
        assert result.offset.offset.decode() == frame.id.name
        assert result.event_time.ToNanoseconds() == frame.id.time_ns // 1000 * 1000
        assert not result.keys
    pages = {
        f"in.{n}": page_from_json(json.loads((pod.sockets / f"charon-page-in.{n}.json").read_text()))
        for n, pod in enumerate(replicas)
    }
    account = compute_account(pages, ended=False)
    assert json.loads(report.read_text())["published"] == 30
    assert (account.published, account.accepted, account.missed) == (30, 30, 0)


def test_large_frames_and_late_positions_are_read(pods, detector):
    pod = pods("in", "source", "--raw", "--position-channel", "ad:position")

    async def run():
        async with SourceClient(pod.sockets) as reader:
            detector(
                *("--wait-for-client", "--frame-rate", "20", "--n-frames", "6", "--position-channel", "ad:position"),
                *("--sample", "noise", "--report-period", "0", "--start-delay", "2", "--shutdown-delay", "1"),
            )
            return await _read_all(reader, 12)

    results = asyncio.run(run())
    frames = [result for result in results if not result.offset.offset.endswith(b"/position")]
    assert len(frames) == 6
    assert all(_decode(result).image.nbytes == 512 * 512 * 2 for result in frames)
    positions = {result.event_time.ToNanoseconds() for result in results if result not in frames}
    assert positions == {result.event_time.ToNanoseconds() for result in frames}


def test_sigterm_drains_the_source(pods, detector):
    pod = pods("in", "source", "--raw")

    async def run():
        async with SourceClient(pod.sockets) as reader:
            detector("--wait-for-client", "--frame-rate", "400", "--n-frames", "60", *SMALL)
            await _until_pending(reader, 60)
            first = await reader.read(10)
            pod.terminate()
            await asyncio.sleep(0.3)
            assert pod.process.poll() is None
            await reader.ack(first)
            return len(await _read_all(reader, 50))

    assert asyncio.run(run()) == 50
    assert pod.wait() == 0, pod.log()
    page = page_from_json(json.loads((pod.sockets / "charon-page-in.0.json").read_text()))
    assert isinstance(page, SourcePage)
    assert (page.process.state, page.pending) == ("finished", 0)
    assert compute_account({"in.0": page}, ended=False).accepted == 60


def test_sigterm_without_reader_reports_missed_frames(pods, detector):
    pod = pods("in", "source", "--raw")

    async def run():
        async with SourceClient(pod.sockets) as reader:
            detector("--wait-for-client", "--frame-rate", "400", "--n-frames", "200", *SMALL)
            await reader.ack(await reader.read(1, 20_000))

            # More than are prepared ahead, so that the ring contains some.
            await _until_pending(reader, 199)

    asyncio.run(run())
    pod.terminate()
    assert pod.wait() == 0, pod.log()
    assert "ended with 199 frames that Numaflow has not acknowledged" in pod.log()
    page = page_from_json(json.loads((pod.sockets / "charon-page-in.0.json").read_text()))
    account = compute_account({"in.0": page}, ended=True)
    assert (account.published, account.accepted, account.missed) == (200, 1, 199)
