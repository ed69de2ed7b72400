"""Numaflow's requests are completed once, and delivery attempts survive a restart."""

from __future__ import annotations

import asyncio
import time

import pytest

from charon.engines.numaflow.delivery_attempts import DeliveryAttempts
from charon.engines.numaflow.request_queue import RequestQueue


def test_ack_returns_the_result_of_each_request():
    async def run():
        queue = RequestQueue()
        queue.begin_batch()
        pending = [queue.put(b"same"), queue.put(b"same"), queue.put(b"not a frame")]
        queue.end_batch()
        delivered = await queue.batch(8, 1.0)
        assert [request.payload for request in delivered] == [b"same", b"same", b"not a frame"]
        assert queue.busy
        await delivered[1].ack(b"one")
        await delivered[0].ack(b"other")
        await delivered[2].ack()
        assert [request.result for request in pending] == [b"other", b"one", None]
        assert [await request.acknowledged for request in pending] == [True] * 3
        assert not queue.busy

    asyncio.run(run())


def test_withdrawn_request_does_not_keep_queue_busy():
    async def run():
        queue = RequestQueue()
        request = queue.put(b"one")

        async def wait():
            return await request.acknowledged

        waiting = asyncio.create_task(wait())
        (delivered,) = await queue.batch(8, 0.0)
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        queue.withdraw([request])
        assert not queue.busy
        await delivered.ack()

    asyncio.run(run())


def test_batch_lingers_only_while_messages_arrive():
    async def run():
        queue = RequestQueue()
        queue.begin_batch()
        queue.put(b"1")
        batch = asyncio.create_task(queue.batch(8, 5.0))
        await asyncio.sleep(0.01)
        queue.put(b"2")
        await asyncio.sleep(0.01)
        assert not batch.done()
        started = time.monotonic()
        queue.end_batch()
        assert len(await batch) == 2
        assert time.monotonic() - started < 1.0
        queue.begin_batch()
        for n in range(5):
            queue.put(b"%d" % n)
        assert len(await queue.batch(3, 5.0)) == 3

    asyncio.run(run())


def test_batch_is_empty_without_messages():
    assert asyncio.run(RequestQueue().batch(8, 0.0)) == []


def test_close_leaves_requests_unacknowledged():
    async def run():
        queue = RequestQueue()
        withdrawn, delivered, waiting = (queue.put(b"%d" % n) for n in range(3))
        queue.withdraw([withdrawn])
        assert await queue.batch(1, 0.0) == [delivered]
        await queue.close()
        await delivered.ack()
        assert [await request.acknowledged for request in (withdrawn, delivered, waiting)] == [False, False, False]
        assert await queue.put(b"late").acknowledged is False
        assert not queue.busy
        assert queue.idle_s() < 5.0

    asyncio.run(run())


def test_unfinished_messages_count_as_attempts(tmp_path):
    path = tmp_path / "attempts.json"

    async def process(payloads, *, acknowledge=()):
        queue = RequestQueue(DeliveryAttempts(path))
        for payload in payloads:
            queue.put(payload)
        delivered = await queue.batch(8, 0.0)
        attempts = [request.attempt for request in delivered]
        for request in delivered:
            if request.payload in acknowledge:
                await request.ack()
        # Acknowledgements are written with the next batch.
        queue.put(b"next")
        await queue.batch(8, 0.0)
        return attempts

    assert asyncio.run(process([b"a", b"b"], acknowledge=[b"a"])) == [1, 1]
    assert asyncio.run(process([b"a", b"b", b"c"])) == [1, 2, 1]
    assert asyncio.run(process([b"b", b"a", b"c"], acknowledge=[b"a", b"b", b"c"])) == [3, 2, 2]
    assert asyncio.run(process([b"a", b"b", b"c"])) == [1, 1, 1]


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b'{"a": "x"}'])
def test_invalid_file_counts_no_attempts(tmp_path, content):
    path = tmp_path / "attempts.json"
    path.write_bytes(content)
    attempts = DeliveryAttempts(path)
    assert attempts.next_attempt(b"a") == 1
    attempts.record([(b"a", 1)])
    assert DeliveryAttempts(path).next_attempt(b"a") == 2


def test_unwritable_file_is_not_an_error(tmp_path):
    attempts = DeliveryAttempts(tmp_path / "absent" / "attempts.json")
    attempts.record([(b"a", 1)])
    attempts.forget(b"a")
