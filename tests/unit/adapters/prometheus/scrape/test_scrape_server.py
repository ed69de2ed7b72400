"""Valid requests are served after any invalid one; no task remains when the server stops."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest

from charon.adapters.prometheus.scrape import serve_metrics, serve_text, server
from charon.errors import UnavailableError
from charon.ledger.pages import SourcePage
from charon.ledger.process import ProcessStats
from charon.ledger.states import VertexState

PAGE = SourcePage(process=ProcessStats(state=VertexState.RUNNING, counts={"done": 5}), waiting=7)
INVALID_REQUESTS = [
    b"",
    b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello over TLS\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /metrics SMTP/1.0\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"\xff" * 70_000,
    b"GET /metrics HTTP/1.1\r\nHost: half a reque",
]


async def get(port, path="/metrics", method="GET"):
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.request(method, f"http://127.0.0.1:{port}{path}")


async def send_bytes(port, data):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        await writer.drain()
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def test_page_is_served():
    async def run():
        async with serve_metrics(lambda: PAGE, port=0, labels={"vertex": "in"}) as port:
            response = await get(port)
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
            assert 'charon_ring_waiting{vertex="in"} 7\n' in response.text
            assert (await get(port, "/metrics?x=1")).text.count("charon_messages_total{") == 1
            assert (await get(port, "/healthz")).text == "ok\n"
            assert (await get(port, "/nowhere")).status_code == 404
            assert (await get(port, method="DELETE")).status_code == 405
            head = await get(port, method="HEAD")
            assert head.status_code == 200
            assert head.content == b""
        with pytest.raises(httpx.ConnectError):
            await get(port)

    asyncio.run(run())


@pytest.mark.parametrize("data", INVALID_REQUESTS, ids=lambda data: repr(data[:12]))
def test_invalid_request_does_not_block_others(data):
    async def run():
        async with serve_metrics(lambda: PAGE, port=0) as port:
            response = await send_bytes(port, data)
            assert response == b"" or response.startswith((b"HTTP/1.1 400", b"HTTP/1.1 503"))
            assert (await get(port)).status_code == 200

    asyncio.run(run())


def test_idle_and_excess_connections_are_closed(monkeypatch):
    monkeypatch.setattr(server, "_IO_TIMEOUT_S", 3.0)

    async def run():
        async with serve_metrics(lambda: PAGE, port=0) as port:
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(32)]
            await asyncio.sleep(0.1)
            assert (await get(port)).status_code == 503
            assert [await reader.read() for reader, _ in idle] == [b""] * 32
            assert (await get(port)).status_code == 200
            for _, writer in idle:
                writer.close()

    asyncio.run(run())


def test_rendering_error_fails_only_that_scrape(caplog):
    errors = [UnavailableError("the nats-server is unavailable"), ZeroDivisionError("oops")]

    async def text():
        if errors:
            raise errors.pop(0)
        return "x 1\n"

    async def run():
        async with serve_text(text, port=0) as port:
            unavailable = await get(port)
            assert (unavailable.status_code, unavailable.text) == (503, "the nats-server is unavailable\n")
            failed = await get(port)
            assert (failed.status_code, failed.text) == (503, "failed to render metrics; see the log\n")
            assert (await get(port)).text == "x 1\n"

    asyncio.run(run())
    assert "oops" in caplog.text


def test_slow_rendering_times_out(monkeypatch):
    monkeypatch.setattr(server, "_RENDER_TIMEOUT_S", 0.2)

    async def never():
        await asyncio.sleep(60)
        return ""

    async def run():
        async with serve_text(never, port=0) as port:
            response = await get(port)
            assert (response.status_code, response.text) == (503, "rendering metrics timed out\n")

    asyncio.run(asyncio.wait_for(run(), 10))


def test_shutdown_cancels_running_scrape():
    async def never():
        await asyncio.sleep(60)
        return ""

    async def run():
        async with serve_text(never, port=0) as port:
            scrape = asyncio.create_task(get(port))
            await asyncio.sleep(0.2)
        with pytest.raises(httpx.HTTPError):
            await scrape

    asyncio.run(asyncio.wait_for(run(), 10))


def test_port_in_use_is_reported():
    async def run(port):
        async with serve_metrics(lambda: PAGE, port=port):
            pytest.fail("the port is in use")

    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        port = used.getsockname()[1]
        with pytest.raises(UnavailableError, match=rf"port {port} of 127\.0\.0\.1"):
            asyncio.run(run(port))
