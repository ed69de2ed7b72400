"""An edge of a real nats-server loses nothing: not when it is full, not when readers or the server are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import asynccontextmanager

import pytest

from charon.adapters.nats import EdgeReader, EdgeWriter, NatsConnection, NatsServer
from charon.adapters.nats.connection import Address, LedgerPage
from charon.adapters.nats.server import MAX_PAYLOAD_BYTES
from charon.errors import UnavailableError, UsageError

pytestmark = pytest.mark.system
EDGE = "p-in-cat"


@pytest.fixture
def server(tmp_path):
    """Start a server with its store in a folder of the test's own."""
    server = NatsServer(tmp_path / "nats")
    server.start()
    yield server
    server.stop()


@asynccontextmanager
async def connected(server, name="test"):
    bus = await NatsConnection.connect(server.address, name)
    try:
        yield bus
    finally:
        await bus.close()


async def make(bus, **options):
    usual = {
        "storage": "memory",
        "max_bytes": 2**24,
        "max_messages": 10_000,
        "ack_wait_s": 30.0,
        "max_ack_pending": 100,
    }
    await bus.make_edge(EDGE, **({"max_ack_pending": 100} | usual | options))


async def read(reader, count, maximum=8, *, tries=60):
    """Take and acknowledge so many messages."""
    found = []
    for _ in range(tries):
        for delivery in await reader.batch(maximum, 0):
            found.append(delivery.payload)
            await delivery.ack()
        if len(found) >= count:
            break
    return found


async def emptied(bus, *, tries=200):
    """Wait until the edge is empty."""
    for _ in range(tries):
        state = await bus.edge_state(EDGE)
        if state.waiting == 0:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(state)


def test_a_full_buffer_makes_its_writer_wait_and_loses_nothing(server):
    async def main():
        async with connected(server) as bus:
            await make(bus, max_messages=10)
            writer = EdgeWriter(bus, EDGE)
            sending = [asyncio.create_task(writer.send(b"%d" % n, f"m{n}")) for n in range(25)]
            await asyncio.wait(sending, timeout=0.5)
            assert sum(task.done() for task in sending) == 10
            assert writer.full_since is not None
            assert (await bus.edge_state(EDGE)).waiting == 10
            found = await read(EdgeReader(bus, EDGE), 25)
            assert await asyncio.gather(*sending) == [True] * 25
            assert sorted(found, key=int) == [b"%d" % n for n in range(25)]
            assert writer.full_since is None
            await emptied(bus)

    asyncio.run(main())


def test_a_buffer_full_in_bytes_makes_its_writer_wait(server):
    async def main():
        async with connected(server) as bus:
            await make(bus, max_bytes=100_000)
            writer = EdgeWriter(bus, EDGE)
            sending = [asyncio.create_task(writer.send(bytes(30_000), f"m{n}")) for n in range(5)]
            await asyncio.wait(sending, timeout=0.5)
            assert sum(task.done() for task in sending) == 3
            assert len(await read(EdgeReader(bus, EDGE), 5)) == 5
            assert await asyncio.gather(*sending) == [True] * 5

    asyncio.run(main())


def test_a_name_counts_once(server):
    async def main():
        async with connected(server) as bus:
            await make(bus)
            writer = EdgeWriter(bus, EDGE)
            assert await writer.send(b"a", "name") is True
            assert await writer.send(b"a", "name") is False
            assert await EdgeWriter(bus, EDGE).send(b"b", "other") is True
            assert (await bus.edge_state(EDGE)).waiting == 2

    asyncio.run(main())


def test_a_message_larger_than_any_is_refused_by_size(server):
    size = MAX_PAYLOAD_BYTES + 1

    async def main():
        async with connected(server) as bus:
            await make(bus)
            with pytest.raises(UsageError, match=f"{EDGE}.* {size} bytes"):
                await asyncio.wait_for(EdgeWriter(bus, EDGE).send(bytes(size), "large"), 20)

    asyncio.run(main())


def test_a_buffer_that_there_is_no_room_for_is_named(server):
    async def main():
        async with connected(server) as bus:
            with pytest.raises(UnavailableError, match=rf"{EDGE}: .* no room .* 1048576 MiB"):
                await make(bus, max_bytes=2**40)

    asyncio.run(main())


def test_two_readers_share_a_queue(server):
    async def main():
        async with connected(server) as bus, connected(server) as other:
            await make(bus)
            writer = EdgeWriter(bus, EDGE)
            await asyncio.gather(*(writer.send(b"%d" % n, f"m{n}") for n in range(100)))
            readers = [EdgeReader(b, EDGE, ahead=4) for b in (bus, other)]
            found = [[], []]
            while sum(map(len, found)) < 100:
                for k, reader in enumerate(readers):
                    found[k] += await read(reader, 1, 2, tries=1)
            assert sorted(map(int, found[0] + found[1])) == list(range(100))
            assert all(found)
            await emptied(bus)

    asyncio.run(main())


def test_what_is_not_acknowledged_comes_again(server):
    async def main():
        async with connected(server) as bus:
            await make(bus, ack_wait_s=0.5)
            await EdgeWriter(bus, EDGE).send(b"x", "m")
            reader = EdgeReader(bus, EDGE)
            (first,) = await reader.batch(8, 0)
            assert (first.payload, first.attempt) == (b"x", 1)
            again = []
            for _ in range(10):
                again += await reader.batch(8, 0)
                if again:
                    break
            assert [(d.payload, d.attempt) for d in again] == [(b"x", 2)]
            await again[0].ack()
            await emptied(bus)

    asyncio.run(main())


def test_work_in_progress_is_not_handed_out_again(server):
    async def main():
        async with connected(server) as bus:
            await make(bus, ack_wait_s=1.0)
            await EdgeWriter(bus, EDGE).send(b"x", "m")
            reader = EdgeReader(bus, EDGE)
            (delivery,) = await reader.batch(8, 0)
            for _ in range(5):
                await delivery.in_progress()
                assert await reader.batch(8, 0) == []
            await delivery.ack()
            await emptied(bus)

    asyncio.run(main())


def test_what_waits_in_a_slow_reader_is_not_handed_out_again(server):
    async def main():
        async with connected(server) as bus:
            await make(bus, ack_wait_s=1.5)
            for n in range(6):
                await EdgeWriter(bus, EDGE).send(b"%d" % n, f"m{n}")
            reader = EdgeReader(bus, EDGE)
            found = []
            while len(found) < 6:
                (delivery,) = await reader.batch(1, 0)
                found.append((delivery.payload, delivery.attempt))
                await asyncio.sleep(0.7)
                await delivery.ack()
            assert found == [(b"%d" % n, 1) for n in range(6)]
            assert await reader.batch(1, 0) == []
            await reader.close()

    asyncio.run(main())


def test_a_reader_that_closes_gives_back_what_it_had_not_begun(server):
    async def main():
        async with connected(server) as bus:
            await make(bus)
            writer = EdgeWriter(bus, EDGE)
            for n in range(6):
                await writer.send(b"%d" % n, f"m{n}")
            leaving = EdgeReader(bus, EDGE)
            begun = list(await leaving.batch(2, 0))
            begun += await leaving.batch(1, 0)
            await leaving.close()
            for delivery in begun:
                await delivery.ack()
            found = await read(EdgeReader(bus, EDGE), 6 - len(begun))
            assert sorted(found + [d.payload for d in begun]) == [b"%d" % n for n in range(6)]
            await emptied(bus)

    asyncio.run(main())


def test_a_batch_is_what_waits_up_to_a_maximum(server):
    async def main():
        async with connected(server) as bus:
            await make(bus)
            reader = EdgeReader(bus, EDGE)
            assert await reader.batch(8, 0) == []
            writer = EdgeWriter(bus, EDGE)
            await writer.send(b"0", "m0")
            # One that waits is not kept for a full batch, however long more might be waited for.
            assert [d.payload for d in await reader.batch(8, 0.01)] == [b"0"]
            for n in range(1, 12):
                await writer.send(b"%d" % n, f"m{n}")
            # With the time to linger, a batch fills up to its maximum and no further.
            assert len(await reader.batch(5, 5.0)) == 5
            assert len(await reader.batch(6, 5.0)) == 6

    asyncio.run(main())


def test_nothing_is_lost_when_the_server_is_killed(server):
    async def main():
        async with connected(server) as bus, connected(server) as other:
            await make(bus, storage="file", ack_wait_s=1.0)
            await bus.make_ledger("file")
            page = LedgerPage(bus, "in.0")
            await page.save({"seen": 40})
            writer, reader = EdgeWriter(bus, EDGE, confirm_timeout_s=1.0), EdgeReader(other, EDGE)
            await asyncio.gather(*(writer.send(b"%d" % n, f"m{n}") for n in range(40)))
            found = set(await read(reader, 8, 4))
            os.kill(server.pid, signal.SIGKILL)
            while server.poll() is None:  # noqa: ASYNC110 - a process sets no event
                await asyncio.sleep(0.01)
            sending = [asyncio.create_task(writer.send(b"%d" % n, f"m{n}")) for n in range(40, 60)]
            await asyncio.sleep(0.3)
            assert not any(task.done() for task in sending)
            await asyncio.to_thread(server.start)
            await asyncio.wait_for(asyncio.gather(*sending), 30)
            # Acknowledgements that died with the server bring their messages again, until the edge is empty.
            for _ in range(60):
                found |= set(await read(reader, 8, 8, tries=1))
                if len(found) == 60 and (await bus.edge_state(EDGE)).waiting == 0:
                    break
            assert sorted(map(int, found)) == list(range(60))
            assert (await bus.edge_state(EDGE)).waiting == 0
            assert await page.load() == {"seen": 40}

    asyncio.run(main())


def test_the_ledger_keeps_a_page_for_each_replica(server):
    async def main():
        async with connected(server) as bus:
            assert await bus.load("in.0") is None
            await bus.make_ledger("memory")
            assert await bus.documents() == {}
            assert await bus.load("in.0") is None
            await bus.save("in.0", {"n": 1})
            await bus.save("in.0", {"n": 2})
            await bus.save("out.0", {"n": 3})
            assert await bus.documents() == {"in.0": {"n": 2}, "out.0": {"n": 3}}
            await make(bus)
            assert await bus.edges() == [EDGE]

    asyncio.run(main())


def test_a_port_in_use_is_named(tmp_path, server):
    second = NatsServer(tmp_path / "second", port=server.address.port)
    with pytest.raises(UnavailableError, match=str(server.address.port)):
        second.start()
    assert second.pid is None
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(UnavailableError, match=str(port)):
            NatsServer(tmp_path / "third", port=port).start()


def test_it_listens_on_loopback_alone(server):
    import psutil

    listening = [c.laddr for c in psutil.Process(server.pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert [tuple(address) for address in listening] == [("127.0.0.1", server.address.port)]


@pytest.mark.parametrize("token", ["", "wrong"])
def test_a_wrong_token_opens_nothing(server, token):
    async def main():
        with pytest.raises(UnavailableError, match=str(server.address.port)):
            await NatsConnection.connect(Address(server.address.port, token), "stranger", patient=False)

    asyncio.run(main())


def test_the_secret_is_for_its_owner_alone(server, tmp_path):
    assert (tmp_path / "nats" / "nats-server.conf").stat().st_mode & 0o777 == 0o600
    assert server.address.token not in server.address.url


def test_where_nothing_answers_the_address_is_named():
    async def main():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"127.0.0.1:{port}"):
            await NatsConnection.connect(Address(port, "t"), "early", patient=False)

    asyncio.run(main())


def test_a_stopped_server_is_gone(tmp_path):
    server = NatsServer(tmp_path / "nats")
    server.start()
    pid = server.pid
    server.stop()
    assert server.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
