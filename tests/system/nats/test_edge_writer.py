"""The writer of an edge waits while the buffer is full, and stores each message once."""

from __future__ import annotations

import asyncio

import pytest
from nats_connection import EDGE, connected, create_edge, read, wait_until_empty, wait_until_sent

from charon.adapters.nats import EdgeReader, EdgeWriter
from charon.adapters.nats.server import MAX_PAYLOAD_BYTES
from charon.errors import UnavailableError, UsageError

pytestmark = pytest.mark.system


def test_writer_waits_while_buffer_is_full(server):
    async def main():
        async with connected(server) as connection:
            await create_edge(connection, max_messages=10)
            writer = EdgeWriter(connection, EDGE)
            sending = [asyncio.create_task(writer.send(b"%d" % n, f"m{n}")) for n in range(25)]
            await wait_until_sent(sending, 10)
            assert writer.full_since is not None
            assert (await connection.streams.state(EDGE)).waiting == 10
            payloads = await read(EdgeReader(connection, EDGE), 25)
            assert await asyncio.gather(*sending) == [True] * 25
            assert sorted(payloads, key=int) == [b"%d" % n for n in range(25)]
            assert writer.full_since is None
            await wait_until_empty(connection)

    asyncio.run(main())


def test_writer_waits_while_bytes_are_exhausted(server):
    async def main():
        async with connected(server) as connection:
            await create_edge(connection, max_bytes=100_000)
            writer = EdgeWriter(connection, EDGE)
            sending = [asyncio.create_task(writer.send(bytes(30_000), f"m{n}")) for n in range(5)]
            await wait_until_sent(sending, 3)
            assert len(await read(EdgeReader(connection, EDGE), 5)) == 5
            assert await asyncio.gather(*sending) == [True] * 5

    asyncio.run(main())


def test_repeated_message_id_is_stored_once(server):
    async def main():
        async with connected(server) as connection:
            await create_edge(connection)
            writer = EdgeWriter(connection, EDGE)
            assert await writer.send(b"a", "name") is True
            assert await writer.send(b"a", "name") is False
            assert await EdgeWriter(connection, EDGE).send(b"b", "other") is True
            assert (await connection.streams.state(EDGE)).waiting == 2

    asyncio.run(main())


def test_oversized_message_is_rejected(server):
    size = MAX_PAYLOAD_BYTES + 1

    async def main():
        async with connected(server) as connection:
            await create_edge(connection)
            with pytest.raises(UsageError, match=f"{EDGE}.* {size} bytes"):
                await asyncio.wait_for(EdgeWriter(connection, EDGE).send(bytes(size), "large"), 20)

    asyncio.run(main())


def test_buffer_beyond_resources_is_named(server):
    async def main():
        async with connected(server) as connection:
            with pytest.raises(UnavailableError, match=rf"{EDGE}: .* cannot allocate .* 1048576 MiB"):
                await create_edge(connection, max_bytes=2**40)

    asyncio.run(main())


def test_changed_limit_keeps_buffered_messages(server):
    async def main():
        async with connected(server) as connection:
            await create_edge(connection)
            writer = EdgeWriter(connection, EDGE)
            for n in range(20):
                await writer.send(b"%d" % n, f"m{n}")
            await create_edge(connection, max_messages=10, max_bytes=2**20)
            state = await connection.streams.state(EDGE)
            assert (state.waiting, state.limit_bytes) == (20, 2**20)
            assert len(await read(EdgeReader(connection, EDGE), 20)) == 20

    asyncio.run(main())


def test_buffer_keeps_limit_without_resources(server, caplog):
    async def main():
        async with connected(server) as connection:
            await create_edge(connection)
            await create_edge(connection, max_bytes=2**50)
            assert (await connection.streams.state(EDGE)).limit_bytes == 2**24

    asyncio.run(main())
    assert f"{EDGE}: the buffer keeps its previous size limit" in caplog.text


def test_changed_storage_of_buffer_is_an_error(server):
    async def main():
        async with connected(server) as connection:
            await create_edge(connection)
            with pytest.raises(UsageError, match=rf"{EDGE}: .* --storage"):
                await create_edge(connection, storage="file")

    asyncio.run(main())
