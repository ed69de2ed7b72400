"""After any rubbish request, a good one still gets its answer; nothing is left when the server ends."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest

from charon.adapters.prometheus.scrape import server as exporter
from charon.adapters.prometheus.scrape.server import serve_metrics, serve_text
from charon.errors import UnavailableError
from charon.ledger.pages import SourcePage
from charon.ledger.process import ProcessStats
from charon.ledger.states import VertexState

PAGE = SourcePage(process=ProcessStats(state=VertexState.RUNNING, counts={"done": 5}), waiting=7)
RUBBISH = [
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


async def throw(port, data):
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


def test_a_page_is_served():
    async def run():
        async with serve_metrics(lambda: PAGE, port=0, labels={"vertex": "in"}) as port:
            answer = await get(port)
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            assert 'charon_ring_waiting{vertex="in"} 7\n' in answer.text
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


@pytest.mark.parametrize("data", RUBBISH, ids=lambda data: repr(data[:12]))
def test_rubbish_holds_nobody_up(data):
    async def run():
        async with serve_metrics(lambda: PAGE, port=0) as port:
            answer = await throw(port, data)
            assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 503"))
            assert (await get(port)).status_code == 200

    asyncio.run(run())


def test_those_who_say_nothing_are_let_go_and_too_many_are_refused(monkeypatch):
    monkeypatch.setattr(exporter, "_HEAD_S", 3.0)

    async def run():
        async with serve_metrics(lambda: PAGE, port=0) as port:
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(32)]
            await asyncio.sleep(0.1)
            assert (await get(port)).status_code == 503
            assert [await reader.read() for reader, _ in silent] == [b""] * 32
            assert (await get(port)).status_code == 200
            for _, writer in silent:
                writer.close()

    asyncio.run(run())


def test_a_page_that_cannot_be_told_fails_the_scrape_only(caplog):
    faults = [UnavailableError("the nats-server is away"), ZeroDivisionError("oops")]

    async def text():
        if faults:
            raise faults.pop(0)
        return "x 1\n"

    async def run():
        async with serve_text(text, port=0) as port:
            away = await get(port)
            assert (away.status_code, away.text) == (503, "the nats-server is away\n")
            broken = await get(port)
            assert broken.status_code == 503
            assert "oops" not in broken.text
            assert (await get(port)).text == "x 1\n"

    asyncio.run(run())
    assert "oops" in caplog.text


def test_metrics_that_do_not_come_fail_the_scrape_in_time(monkeypatch):
    monkeypatch.setattr(exporter, "_TELL_S", 0.2)

    async def never():
        await asyncio.sleep(60)
        return ""

    async def run():
        async with serve_text(never, port=0) as port:
            late = await get(port)
            assert (late.status_code, late.text) == (503, "the metrics do not come in time\n")

    asyncio.run(asyncio.wait_for(run(), 10))


def test_the_end_waits_for_no_scrape():
    async def never():
        await asyncio.sleep(60)
        return ""

    async def run():
        async with serve_text(never, port=0) as port:
            asking = asyncio.create_task(get(port))
            await asyncio.sleep(0.2)
        with pytest.raises(httpx.HTTPError):
            await asking

    asyncio.run(asyncio.wait_for(run(), 10))


def test_a_port_in_use_is_named():
    async def run(port):
        async with serve_metrics(lambda: PAGE, port=port):
            pytest.fail("the port is taken")

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=rf"port {port} of 127\.0\.0\.1"):
            asyncio.run(run(port))
