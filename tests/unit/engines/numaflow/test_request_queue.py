"""The requests between Numaflow's batches and a vertex, and what is remembered of it."""

from __future__ import annotations

import asyncio
import time

import pytest

from charon.engines.numaflow.delivery_attempts import DeliveryAttempts
from charon.engines.numaflow.request_queue import RequestQueue


def test_a_question_is_answered_with_what_was_sent_for_it():
    async def run():
        requests = RequestQueue()
        requests.begin_batch()
        asked = [requests.put(b"same"), requests.put(b"same"), requests.put(b"no frame")]
        requests.end_batch()
        taken = await requests.batch(8, 1.0)
        assert [request.payload for request in taken] == [b"same", b"same", b"no frame"]
        assert requests.busy
        await taken[1].ack(b"one")
        await taken[0].ack(b"other")
        await taken[2].ack()
        assert [request.result for request in asked] == [b"other", b"one", None]
        assert [await request.acknowledged for request in asked] == [True] * 3
        assert not requests.busy

    asyncio.run(run())


def test_a_question_whose_asker_is_gone_is_not_waited_for_any_more():
    async def run():
        requests = RequestQueue()
        request = requests.put(b"one")

        async def ask():
            return await request.acknowledged

        asking = asyncio.create_task(ask())
        (taken,) = await requests.batch(8, 0.0)
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        requests.withdraw([request])
        assert not requests.busy
        await taken.ack()

    asyncio.run(run())


def test_it_lingers_for_a_batch_that_comes_in_and_for_no_other():
    async def run():
        requests = RequestQueue()
        requests.begin_batch()
        requests.put(b"1")
        batch = asyncio.create_task(requests.batch(8, 5.0))
        await asyncio.sleep(0.01)
        requests.put(b"2")
        await asyncio.sleep(0.01)
        assert not batch.done()
        began = time.monotonic()
        requests.end_batch()
        assert len(await batch) == 2
        assert time.monotonic() - began < 1.0
        requests.begin_batch()
        for n in range(5):
            requests.put(b"%d" % n)
        assert len(await requests.batch(3, 5.0)) == 3

    asyncio.run(run())


def test_nothing_to_hand_out_is_an_empty_batch():
    assert asyncio.run(RequestQueue().batch(8, 0.0)) == []


def test_what_is_withdrawn_or_left_at_the_end_is_not_dealt_with():
    async def run():
        requests = RequestQueue()
        gone, taken, left = (requests.put(b"%d" % n) for n in range(3))
        requests.withdraw([gone])
        assert await requests.batch(1, 0.0) == [taken]
        await requests.close()
        await taken.ack()
        assert [await request.acknowledged for request in (gone, taken, left)] == [False, False, False]
        assert await requests.put(b"late").acknowledged is False
        assert not requests.busy
        assert requests.idle_s() < 5.0

    asyncio.run(run())


def test_what_was_in_hand_at_the_end_counts_and_what_was_dealt_with_does_not(tmp_path):
    path = tmp_path / "in-hand.json"

    async def process(payloads, *, acknowledge=()):
        requests = RequestQueue(DeliveryAttempts(path))
        for payload in payloads:
            requests.put(payload)
        taken = await requests.batch(8, 0.0)
        attempts = [request.attempt for request in taken]
        for request in taken:
            if request.payload in acknowledge:
                await request.ack()
        # What is dealt with is written down with the next batch.
        requests.put(b"next")
        await requests.batch(8, 0.0)
        return attempts

    assert asyncio.run(process([b"a", b"b"], acknowledge=[b"a"])) == [1, 1]
    assert asyncio.run(process([b"a", b"b", b"c"])) == [1, 2, 1]
    assert asyncio.run(process([b"b", b"a", b"c"], acknowledge=[b"a", b"b", b"c"])) == [3, 2, 2]
    assert asyncio.run(process([b"a", b"b", b"c"])) == [1, 1, 1]


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b'{"a": "x"}'])
def test_a_damaged_memory_is_none(tmp_path, content):
    path = tmp_path / "in-hand.json"
    path.write_bytes(content)
    memory = DeliveryAttempts(path)
    assert memory.next_attempt(b"a") == 1
    memory.record([(b"a", 1)])
    assert DeliveryAttempts(path).next_attempt(b"a") == 2


def test_a_memory_that_cannot_be_written_costs_no_frame(tmp_path):
    memory = DeliveryAttempts(tmp_path / "absent" / "in-hand.json")
    memory.record([(b"a", 1)])
    memory.forget(b"a")
