"""A source under Numaflow: whatever happens to Numaflow's container, a frame is handed out until it is acknowledged."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from google.protobuf.empty_pb2 import Empty
from numaflow_client import SourceClient

from charon.frames import Frame, decode
from charon.ledger.accounting import compute_account
from charon.ledger.pages import page_from_json

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]
SMALL = ("--sample", "noise", "--n-x-pixels", "32", "--n-y-pixels", "24", "--report-period", "0", "--prepare-all")


def _names(results):
    return [result.offset.offset.decode() for result in results]


async def _read_all(reader, count, *, ack=True):
    """Read until so many messages have come."""
    found = []
    while len(found) < count:
        results = await reader.read(8)
        if results and ack:
            await reader.ack(results)
        found += results
    return found


async def _until(condition, timeout_s=20.0):
    end = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


def test_what_nobody_acknowledged_is_handed_out_again_to_the_next_container(pods, detector):
    pod = pods("in", "source", "--raw")

    async def run():
        first = SourceClient(pod.sockets)
        await first.open()
        # A read that waits when its container goes must not take what then comes with it.
        await first.ask(8, 5000)
        await first.vanish()
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
            assert await third.pending() == 0
            assert await third.read(8, 100) == []
        names = _names(acknowledged + again + rest)
        assert len(names) == len(set(names)) == 20
        assert sorted(decode(r.payload).id.unique_id for r in acknowledged + again + rest) == list(range(1, 21))
        assert pod.process.poll() is None

    asyncio.run(run())


def test_what_is_given_back_comes_again_before_the_rest(pods, detector):
    pod = pods("in", "source", "--raw")

    async def run():
        async with SourceClient(pod.sockets) as reader:
            detector("--wait-for-client", "--frame-rate", "200", "--n-frames", "12", *SMALL)

            async def all_there():
                return await reader.pending() == 12

            await _until(all_there)
            results = await reader.read(6)
            await reader.ack(results[:2])
            await reader.nack(results[2:5])
            again = await reader.read(3)
            assert _names(again) == _names(results[2:5])
            await reader.ack([*again, results[5]])
            assert len(await _read_all(reader, 6)) == 6
            assert await reader.pending() == 0

    asyncio.run(run())


def test_pending_counts_what_waits_and_what_is_handed_out(pods, detector):
    pod = pods("in", "source", "--raw")

    async def run():
        async with SourceClient(pod.sockets) as reader:
            assert await reader.pending() == 0
            # More than are prepared ahead: the rest waits in the ring.
            detector("--wait-for-client", "--frame-rate", "400", "--n-frames", "200", *SMALL)

            async def all_there():
                return await reader.pending() == 200

            await _until(all_there)
            results = await reader.read(50)
            assert len(results) == 50
            assert await reader.pending() == 200
            await reader.ack(results[:30])
            await asyncio.sleep(0.2)
            assert await reader.pending() == 170

    asyncio.run(run())


def test_a_read_waits_no_longer_than_it_is_told_and_keeps_nothing_from_answering(pods, detector):
    pod = pods("in", "source", "--raw")

    async def run():
        async with SourceClient(pod.sockets) as reader:
            began = time.monotonic()
            reading = asyncio.create_task(reader.read(500, 700))
            await asyncio.sleep(0.1)
            assert (await reader.stub.IsReady(Empty(), timeout=1)).ready
            assert await reader.pending() == 0
            assert not reading.done()
            assert await reading == []
            assert 0.6 < time.monotonic() - began < 3.0
            detector("--wait-for-client", "--frame-rate", "5", "--n-frames", "2", *SMALL)
            began = time.monotonic()
            assert len(await reader.read(500, 20_000)) == 1, "one frame is answered at once"
            assert time.monotonic() - began < 15.0

    asyncio.run(run())


def test_two_replicas_give_a_frame_the_same_offset_and_carry_its_time(pods, detector):
    one, other = pods("in", "source", "--raw"), pods("in", "source", "--raw", replica=1)

    async def run():
        async with SourceClient(one.sockets) as first, SourceClient(other.sockets) as second:
            report = detector("--frame-rate", "50", "--n-frames", "30", "--start-delay", "3", *SMALL)
            both = await asyncio.gather(_read_all(first, 30), _read_all(second, 30))
            for pod in (one, other):
                pod.terminate()
                assert await asyncio.to_thread(pod.wait) == 0, pod.log()
            return report, *both

    report, first, second = asyncio.run(run())
    assert _names(first) == _names(second)
    assert {result.offset.partition_id for result in first + second} == {0}
    for result in first:
        frame = decode(result.payload)
        assert isinstance(frame, Frame)
        assert result.offset.offset.decode() == frame.id.name
        assert result.event_time.ToNanoseconds() == frame.id.time_ns // 1000 * 1000
        assert not result.keys
    pages = {
        f"in.{n}": page_from_json(json.loads((pod.sockets / f"charon-page-in.{n}.json").read_text()))
        for n, pod in enumerate((one, other))
    }
    account = compute_account(pages, ended=False)
    assert json.loads(report.read_text())["published"] == 30
    assert (account.published, account.accepted, account.missed) == (30, 30, 0)


def test_a_frame_of_half_a_mebibyte_and_late_positions_go_the_same_way(pods, detector):
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
    assert all(decode(result.payload).image.nbytes == 512 * 512 * 2 for result in frames)
    positions = {result.event_time.ToNanoseconds() for result in results if result not in frames}
    assert positions == {result.event_time.ToNanoseconds() for result in frames}


def test_told_to_end_it_hands_out_what_it_has_and_leaves_its_account(pods, detector):
    pod = pods("in", "source", "--raw")

    async def run():
        async with SourceClient(pod.sockets) as reader:
            detector("--wait-for-client", "--frame-rate", "400", "--n-frames", "60", *SMALL)

            async def all_there():
                return await reader.pending() == 60

            await _until(all_there)
            first = await reader.read(10)
            pod.terminate()
            await asyncio.sleep(0.3)
            assert pod.process.poll() is None
            await reader.ack(first)
            return len(await _read_all(reader, 50))

    assert asyncio.run(run()) == 50
    assert pod.wait() == 0, pod.log()
    page = page_from_json(json.loads((pod.sockets / "charon-page-in.0.json").read_text()))
    assert (page.process.state, page.pending) == ("finished", 0)
    assert compute_account({"in.0": page}, ended=False).accepted == 60


def test_told_to_end_with_nobody_to_read_it_says_what_stays_and_ends(pods, detector):
    pod = pods("in", "source", "--raw")

    async def run():
        async with SourceClient(pod.sockets) as reader:
            detector("--wait-for-client", "--frame-rate", "400", "--n-frames", "200", *SMALL)
            await reader.ack(await reader.read(1, 20_000))

            # More than are prepared ahead: what is in the ring has to be named too.
            async def all_there():
                return await reader.pending() == 199

            await _until(all_there)

    asyncio.run(run())
    pod.terminate()
    assert pod.wait(10) == 0, pod.log()
    assert "ended with 199 frames that Numaflow has not acknowledged" in pod.log()
    page = page_from_json(json.loads((pod.sockets / "charon-page-in.0.json").read_text()))
    account = compute_account({"in.0": page}, ended=True)
    assert (account.published, account.accepted, account.missed) == (200, 1, 199)
