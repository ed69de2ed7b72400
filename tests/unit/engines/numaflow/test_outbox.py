"""A message in the outbox is delivered until it is acknowledged, and never after that."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charon.engines.numaflow.outbox import Outbox
from charon.errors import UsageError


async def _send(outbox, *names):
    tasks = [asyncio.create_task(outbox.send(name.encode(), name)) for name in names]
    await asyncio.sleep(0)
    return tasks


def _names(entries):
    return [entry.name for entry in entries]


def test_send_returns_on_acknowledgement():
    async def run():
        outbox = Outbox()
        reader = outbox.open_reader()
        first, second = await _send(outbox, "a", "b")
        assert _names(await outbox.read(reader, 8, 0.0)) == ["a", "b"]
        outbox.acknowledge([b"b"])
        assert await second is True
        assert not first.done()
        assert outbox.unacknowledged == 1
        outbox.acknowledge([b"a", b"b", b"never sent"])
        assert await first is True
        assert outbox.unacknowledged == 0

    asyncio.run(run())


def test_same_name_is_one_message_with_two_senders():
    async def run():
        outbox = Outbox()
        reader = outbox.open_reader()
        first, second = await _send(outbox, "a", "a")
        assert _names(await outbox.read(reader, 8, 0.0)) == ["a"]
        first.cancel()
        await asyncio.sleep(0)
        outbox.acknowledge([b"a"])
        assert await second is True

    asyncio.run(run())


def test_too_large_message_raises_usage_error():
    async def run():
        outbox = Outbox()
        with pytest.raises(UsageError, match="exceeds Numaflow's limit"):
            await outbox.send(bytes(64 * 2**20), "a/1/1")
        assert outbox.unacknowledged == 0

    asyncio.run(run())


def test_next_reader_gets_unacknowledged_in_order():
    async def run():
        outbox = Outbox()
        first = outbox.open_reader()
        tasks = await _send(outbox, "a", "b", "c", "d")
        assert _names(await outbox.read(first, 3, 0.0)) == ["a", "b", "c"]
        outbox.acknowledge([b"b"])
        waiting = asyncio.create_task(outbox.read(first, 0, 5.0))
        assert await waiting == []
        second = outbox.open_reader()
        assert outbox.readers == 1
        assert await outbox.read(first, 8, 5.0) == []
        assert _names(await outbox.read(second, 8, 0.0)) == ["a", "c", "d"]
        outbox.close_reader(first)
        assert await outbox.read(second, 8, 0.0) == [], "closing the earlier reader does not affect the later one"
        outbox.acknowledge([b"a", b"c", b"d"])
        assert all(await asyncio.gather(*tasks))

    asyncio.run(run())


def test_waiting_read_returns_on_message_or_close():
    async def run():
        outbox = Outbox()
        reader = outbox.open_reader()
        reading = asyncio.create_task(outbox.read(reader, 8, 20.0))
        await asyncio.sleep(0.01)
        await _send(outbox, "a")
        assert _names(await asyncio.wait_for(reading, 1)) == ["a"]
        reading = asyncio.create_task(outbox.read(reader, 8, 20.0))
        await asyncio.sleep(0.01)
        outbox.close_reader(reader)
        assert await asyncio.wait_for(reading, 1) == []

    asyncio.run(run())


def test_acknowledgement_after_close_counts():
    async def run():
        outbox = Outbox()
        reader = outbox.open_reader()
        (task,) = await _send(outbox, "a")
        await outbox.read(reader, 1, 0.0)
        outbox.close_reader(reader)
        outbox.acknowledge([b"a"])
        assert await task is True
        assert await outbox.read(outbox.open_reader(), 8, 0.0) == []

    asyncio.run(run())


@given(st.lists(st.tuples(st.sampled_from(["send", "read", "ack", "nack", "reader"]), st.integers(0, 7)), max_size=60))
def test_messages_are_delivered_until_acknowledged(steps):
    async def run():
        outbox, tasks, acknowledged = Outbox(), {}, set()
        reader, held = outbox.open_reader(), []
        for action, n in steps:
            if action == "send":
                name = f"m{len(tasks)}"
                (tasks[name],) = await _send(outbox, name)
            elif action == "read":
                held += _names(await outbox.read(reader, n, 0.0))
                assert not acknowledged & set(held)
            elif action == "reader":
                reader, held = outbox.open_reader(), []
            else:
                some, held = held[:n], held[n:]
                if action == "ack":
                    outbox.acknowledge(name.encode() for name in some)
                    acknowledged |= set(some)
                else:
                    outbox.nack(name.encode() for name in some)
            assert len(held) == len(set(held))
            assert outbox.unacknowledged == len(tasks) - len(acknowledged)
        rest = _names(await outbox.read(outbox.open_reader(), 1000, 0.0))
        assert sorted(rest) == sorted(set(tasks) - acknowledged)
        outbox.acknowledge(name.encode() for name in rest)
        assert all(await asyncio.gather(*tasks.values()))

    asyncio.run(run())


@pytest.mark.parametrize("max_messages", [0, 1, 3])
def test_read_returns_at_most_max_messages(max_messages):
    async def run():
        outbox = Outbox()
        reader = outbox.open_reader()
        tasks = await _send(outbox, "a", "b")
        entries = await outbox.read(reader, max_messages, 0.0)
        assert _names(entries) == ["a", "b"][:max_messages]
        outbox.acknowledge([b"a", b"b"])
        await asyncio.gather(*tasks)

    asyncio.run(run())
