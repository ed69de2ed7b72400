"""Connections, edges and readers for the tests of NATS."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from charon.adapters.nats import NatsConnection

EDGE = "p-in-cat"


@asynccontextmanager
async def connected(server, name="test"):
    connection = await NatsConnection.connect(server.address, name)
    try:
        yield connection
    finally:
        await connection.close()


async def create_edge(connection, **options):
    defaults = {
        "storage": "memory",
        "max_bytes": 2**24,
        "max_messages": 10_000,
        "ack_wait_s": 30.0,
        "max_ack_pending": 100,
    }
    await connection.streams.create(EDGE, **(defaults | options))


async def read(reader, count, maximum=8, *, tries=60):
    """Read and acknowledge `count` messages."""
    payloads = []
    for _ in range(tries):
        for delivery in await reader.batch(maximum, 0):
            payloads.append(delivery.payload)
            await delivery.ack()
        if len(payloads) >= count:
            break
    return payloads


async def wait_until_sent(sending, count):
    """Wait until `count` of the tasks have sent their messages; assert that no more are sent."""
    async with asyncio.timeout(30):
        while sum(task.done() for task in sending) < count:  # noqa: ASYNC110 - tasks that are not done have no event
            await asyncio.sleep(0.01)
    await asyncio.wait(sending, timeout=0.5)
    assert sum(task.done() for task in sending) == count


async def wait_until_empty(connection, *, tries=200):
    """Wait until the edge is empty."""
    for _ in range(tries):
        state = await connection.streams.state(EDGE)
        if state.waiting == 0:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(state)
