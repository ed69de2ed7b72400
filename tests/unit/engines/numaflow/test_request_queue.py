"""The exchange between Numaflow's batches and a vertex, and what is remembered of it."""

from __future__ import annotations

import asyncio
import time

import pytest

from charon.engines.numaflow.delivery_attempts import InHand
from charon.engines.numaflow.request_queue import Exchange


def test_a_question_is_answered_with_what_was_sent_for_it():
    async def run():
        exchange = Exchange()
        exchange.begin()
        asked = [exchange.put(b"same"), exchange.put(b"same"), exchange.put(b"no frame")]
        exchange.complete()
        taken = await exchange.batch(8, 1.0)
        assert [question.payload for question in taken] == [b"same", b"same", b"no frame"]
        assert exchange.busy
        await exchange.send(b"one", "name", taken[1])
        await exchange.send(b"other", "name", taken[0])
        for question in taken:
            await question.ack()
        assert [question.answer for question in asked] == [b"other", b"one", None]
        assert [await question.done for question in asked] == [True] * 3
        assert not exchange.busy

    asyncio.run(run())


def test_a_question_whose_asker_is_gone_is_not_waited_for_any_more():
    async def run():
        exchange = Exchange()
        question = exchange.put(b"one")

        async def ask():
            return await question.done

        asking = asyncio.create_task(ask())
        (taken,) = await exchange.batch(8, 0.0)
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        exchange.withdraw([question])
        assert not exchange.busy
        await taken.ack()

    asyncio.run(run())


def test_it_lingers_for_a_batch_that_comes_in_and_for_no_other():
    async def run():
        exchange = Exchange()
        exchange.begin()
        exchange.put(b"1")
        batch = asyncio.create_task(exchange.batch(8, 5.0))
        await asyncio.sleep(0.01)
        assert exchange.asked.is_set()
        exchange.put(b"2")
        await asyncio.sleep(0.01)
        assert not batch.done()
        began = time.monotonic()
        exchange.complete()
        assert len(await batch) == 2
        assert time.monotonic() - began < 1.0
        exchange.begin()
        for n in range(5):
            exchange.put(b"%d" % n)
        assert len(await exchange.batch(3, 5.0)) == 3

    asyncio.run(run())


def test_nothing_to_hand_out_is_an_empty_batch():
    assert asyncio.run(Exchange().batch(8, 0.0)) == []


def test_what_is_withdrawn_or_left_at_the_end_is_not_dealt_with():
    async def run():
        exchange = Exchange()
        gone, taken, left = (exchange.put(b"%d" % n) for n in range(3))
        exchange.withdraw([gone])
        assert await exchange.batch(1, 0.0) == [taken]
        await exchange.close()
        await taken.ack()
        assert [await question.done for question in (gone, taken, left)] == [False, False, False]
        assert await exchange.put(b"late").done is False
        assert not exchange.busy
        assert exchange.idle_s() < 5.0

    asyncio.run(run())


def test_a_map_answers_and_hands_on_nothing_else():
    with pytest.raises(TypeError, match="answers"):
        asyncio.run(Exchange().send(b"a", "a"))


def test_what_was_in_hand_at_the_end_counts_and_what_was_dealt_with_does_not(tmp_path):
    path = tmp_path / "in-hand.json"

    async def process(payloads, *, acknowledge=()):
        exchange = Exchange(InHand(path))
        for payload in payloads:
            exchange.put(payload)
        taken = await exchange.batch(8, 0.0)
        attempts = [question.attempt for question in taken]
        for question in taken:
            if question.payload in acknowledge:
                await question.ack()
        # What is dealt with is written down with the next batch.
        exchange.put(b"next")
        await exchange.batch(8, 0.0)
        return attempts

    assert asyncio.run(process([b"a", b"b"], acknowledge=[b"a"])) == [1, 1]
    assert asyncio.run(process([b"a", b"b", b"c"])) == [1, 2, 1]
    assert asyncio.run(process([b"b", b"a", b"c"], acknowledge=[b"a", b"b", b"c"])) == [3, 2, 2]
    assert asyncio.run(process([b"a", b"b", b"c"])) == [1, 1, 1]


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b'{"a": "x"}'])
def test_a_damaged_memory_is_none(tmp_path, content):
    path = tmp_path / "in-hand.json"
    path.write_bytes(content)
    memory = InHand(path)
    assert memory.attempt(b"a") == 1
    memory.take([(b"a", 1)])
    assert InHand(path).attempt(b"a") == 2


def test_a_memory_that_cannot_be_written_costs_no_frame(tmp_path):
    memory = InHand(tmp_path / "absent" / "in-hand.json")
    memory.take([(b"a", 1)])
    memory.drop(b"a")
