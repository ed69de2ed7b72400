"""The nats-server process, connections to it, and the ledger's bucket in it."""

from __future__ import annotations

import asyncio
import gc
import os
import socket

import psutil
import pytest
from nats_connection import connected

from charon.adapters.nats import NatsAddress, NatsConnection, NatsServer
from charon.errors import UnavailableError
from charon.ledger.pages import SourcePage
from charon.ledger.process import ProcessStats
from loopback import free_port

pytestmark = pytest.mark.system
PAGE = SourcePage(process=ProcessStats(pid=1), channel="ad:image", waiting=40)


def test_ledger_keeps_one_page_for_each_replica(server):
    async def main():
        async with connected(server) as connection:
            assert await connection.ledger.load("in.0") is None
            await connection.ledger.create("memory")
            assert await connection.ledger.pages() == {}
            assert await connection.ledger.load("in.0") is None
            await connection.ledger.save("in.0", {"n": 1})
            await connection.ledger.save("in.0", PAGE.to_json())
            await connection.ledger.save("out.0", PAGE.to_json())
            await connection.ledger.save("out.1", {"kind": "unknown"})
            assert await connection.ledger.load("out.1") == {"kind": "unknown"}
            # Invalid pages are skipped.
            assert await connection.ledger.pages() == {"in.0": PAGE, "out.0": PAGE}
            await connection.streams.create(
                "p-in-cat",
                storage="memory",
                max_bytes=2**20,
                max_messages=10,
                ack_wait_s=1.0,
                max_ack_pending=10,
            )
            assert await connection.streams.names() == ["p-in-cat"]

    asyncio.run(main())


def test_folder_may_have_any_name(tmp_path):
    folder = tmp_path / 'Öl "é" \\ $x \n\udcff'
    server = NatsServer(folder)
    server.start()
    server.stop()
    assert (folder / "jetstream/jetstream").is_dir()
    assert b"Server is ready" in (folder / "nats-server.log").read_bytes()


def test_port_in_use_is_named(tmp_path, server):
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


def test_server_listens_on_loopback_only(server):
    listening = [c.laddr for c in psutil.Process(server.pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert [tuple(address) for address in listening] == [("127.0.0.1", server.address.port)]


@pytest.mark.parametrize("token", ["", "wrong"])
def test_wrong_token_is_rejected(server, token):
    async def main():
        with pytest.raises(UnavailableError, match=str(server.address.port)):
            await NatsConnection.connect(NatsAddress(port=server.address.port, token=token), "test", reconnect=False)

    asyncio.run(main())


def test_token_is_readable_by_owner_only(server, tmp_path):
    assert (tmp_path / "nats" / "nats-server.conf").stat().st_mode & 0o777 == 0o600
    assert server.address.token not in server.address.url


def test_unreachable_address_is_named():
    async def main():
        port = free_port()
        with pytest.raises(UnavailableError, match=f"127.0.0.1:{port}"):
            await NatsConnection.connect(NatsAddress(port=port), "test", reconnect=False)

    asyncio.run(main())


def test_cancelled_connect_leaves_no_socket():
    async def main(port):
        connecting = asyncio.create_task(NatsConnection.connect(NatsAddress(port=port), "test", reconnect=False))
        await asyncio.sleep(0.2)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        asyncio.run(main(port))
        # An unclosed transport would be a warning here.
        gc.collect()
        used = {c.raddr.port for c in psutil.Process().net_connections("tcp") if c.raddr}
    assert port not in used


def test_stopped_server_has_exited(tmp_path):
    server = NatsServer(tmp_path / "nats")
    server.start()
    pid = server.pid
    assert pid is not None
    server.stop()
    assert server.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
