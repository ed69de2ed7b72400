"""Readers of an edge lose no message, even if a reader or the server is killed."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from nats_connection import EDGE, connected, create_edge, read, wait_until_empty

from charon.adapters.nats import EdgeReader, EdgeWriter, LedgerPage
from charon.ledger.pages import SourcePage
from charon.ledger.process import ProcessStats

pytestmark = pytest.mark.system
PAGE = SourcePage(process=ProcessStats(pid=1), channel="ad:image", waiting=40)


def test_two_readers_share_one_queue(server):
    async def main():
        async with connected(server) as connection, connected(server) as other:
            await create_edge(connection)
            writer = EdgeWriter(connection, EDGE)
            await asyncio.gather(*(writer.send(b"%d" % n, f"m{n}") for n in range(100)))
            readers = [EdgeReader(c, EDGE, prefetch=4) for c in (connection, other)]
            payloads = [[], []]
            while sum(map(len, payloads)) < 100:
                for k, reader in enumerate(readers):
                    payloads[k] += await read(reader, 1, 2, tries=1)
            assert sorted(map(int, payloads[0] + payloads[1])) == list(range(100))
            assert all(payloads)
            await wait_until_empty(connection)

    asyncio.run(main())


def test_unacknowledged_message_is_redelivered(server):
    async def main():
        async with connected(server) as connection:
            await create_edge(connection, ack_wait_s=0.5)
            await EdgeWriter(connection, EDGE).send(b"x", "m")
            reader = EdgeReader(connection, EDGE)
            (first,) = await reader.batch(8, 0)
            assert (first.payload, first.attempt) == (b"x", 1)
            again = []
            for _ in range(10):
                again += await reader.batch(8, 0)
                if again:
                    break
            assert [(d.payload, d.attempt) for d in again] == [(b"x", 2)]
            await again[0].ack()
            await wait_until_empty(connection)

    asyncio.run(main())


def test_message_in_progress_is_not_redelivered(server):
    async def main():
        async with connected(server) as connection:
            await create_edge(connection, ack_wait_s=1.0)
            await EdgeWriter(connection, EDGE).send(b"x", "m")
            reader = EdgeReader(connection, EDGE)
            (delivery,) = await reader.batch(8, 0)
            for _ in range(5):
                await delivery.in_progress()
                assert await reader.batch(8, 0) == []
            await delivery.ack()
            await wait_until_empty(connection)

    asyncio.run(main())


def test_prefetched_message_is_not_redelivered(server):
    async def main():
        async with connected(server) as connection:
            await create_edge(connection, ack_wait_s=1.5)
            for n in range(6):
                await EdgeWriter(connection, EDGE).send(b"%d" % n, f"m{n}")
            reader = EdgeReader(connection, EDGE)
            deliveries = []
            while len(deliveries) < 6:
                (delivery,) = await reader.batch(1, 0)
                deliveries.append((delivery.payload, delivery.attempt))
                await asyncio.sleep(0.7)
                await delivery.ack()
            assert deliveries == [(b"%d" % n, 1) for n in range(6)]
            assert await reader.batch(1, 0) == []
            await reader.close()

    asyncio.run(main())


def test_closed_reader_releases_its_messages(server):
    async def main():
        async with connected(server) as connection:
            await create_edge(connection)
            writer = EdgeWriter(connection, EDGE)
            for n in range(6):
                await writer.send(b"%d" % n, f"m{n}")
            closing = EdgeReader(connection, EDGE)
            received = list(await closing.batch(2, 0))
            received += await closing.batch(1, 0)
            await closing.close()
            for delivery in received:
                await delivery.ack()
            payloads = await read(EdgeReader(connection, EDGE), 6 - len(received))
            assert sorted(payloads + [d.payload for d in received]) == [b"%d" % n for n in range(6)]
            await wait_until_empty(connection)

    asyncio.run(main())


def test_batch_has_waiting_messages_up_to_maximum(server):
    async def main():
        async with connected(server) as connection:
            await create_edge(connection)
            reader = EdgeReader(connection, EDGE)
            assert await reader.batch(8, 0) == []
            writer = EdgeWriter(connection, EDGE)
            await writer.send(b"0", "m0")
            # A waiting message is returned after linger_s, even if the batch is not full.
            assert [d.payload for d in await reader.batch(8, 0.01)] == [b"0"]
            for n in range(1, 12):
                await writer.send(b"%d" % n, f"m{n}")
            # Within linger_s, a batch fills up to its maximum and no further.
            assert len(await reader.batch(5, 5.0)) == 5
            assert len(await reader.batch(6, 5.0)) == 6

    asyncio.run(main())


def test_server_restart_loses_no_message(server):
    async def main():
        async with connected(server) as connection, connected(server) as other:
            await create_edge(connection, storage="file", ack_wait_s=1.0)
            await connection.ledger.create("file")
            page = LedgerPage(connection.ledger, "in.0")
            await page.save(PAGE)
            writer, reader = EdgeWriter(connection, EDGE, confirm_timeout_s=1.0), EdgeReader(other, EDGE)
            await asyncio.gather(*(writer.send(b"%d" % n, f"m{n}") for n in range(40)))
            payloads = set(await read(reader, 8, 4))
            os.kill(server.pid, signal.SIGKILL)
            while server.poll() is None:  # noqa: ASYNC110 - a process has no event
                await asyncio.sleep(0.01)
            sending = [asyncio.create_task(writer.send(b"%d" % n, f"m{n}")) for n in range(40, 60)]
            await asyncio.sleep(0.3)
            assert not any(task.done() for task in sending)
            await asyncio.to_thread(server.start)
            await asyncio.wait_for(asyncio.gather(*sending), 30)
            # Messages whose acknowledgements were lost are redelivered until the edge is empty.
            for _ in range(60):
                payloads |= set(await read(reader, 8, 8, tries=1))
                if len(payloads) == 60 and (await connection.streams.state(EDGE)).waiting == 0:
                    break
            assert sorted(map(int, payloads)) == list(range(60))
            assert (await connection.streams.state(EDGE)).waiting == 0
            assert await page.load() == PAGE

    asyncio.run(main())
