"""Being scraped: a small HTTP server on the event loop that answers with metrics."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from charon.adapters.prometheus.scrape.pages import Pages
from charon.adapters.prometheus.scrape.text import CONTENT_TYPE, render
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from charon.ledger.pages import Page

_log = logging.getLogger(__name__)
# A scrape is a few hundred bytes; what is more, or slower, or more of them than scrapers there are, is none.
_MOST_HEAD_BYTES = 16_384
_HEAD_S = 5.0
# Prometheus itself waits 10 s by default.
_TELL_S = 8.0
_MOST_AT_ONCE = 32
_PHRASES = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


@asynccontextmanager
async def serve_metrics(
    page: Callable[[], Page],
    *,
    host: str = "127.0.0.1",
    port: int,
    labels: Mapping[str, str] | None = None,
) -> AsyncGenerator[int]:
    """Serve a vertex's page of the ledger as metrics while the context is open.

    Parameters
    ----------
    page
        Returns the page; called on the event loop at each scrape.
    host
        Address to listen at; only this machine reaches the default.
    port
        Port to listen at; 0 takes a free one.
    labels
        Of every series, such as ``{"vertex": "cat", "replica": "0"}``.

    Yields
    ------
    The port.

    Raises
    ------
    UnavailableError
        If the address cannot be listened at.
    """

    async def text() -> str:
        pages = Pages()
        pages.add(page(), labels or {})
        return render(pages.families())

    async with serve_text(text, host=host, port=port) as bound:
        yield bound


@asynccontextmanager
async def serve_text(text: Callable[[], Awaitable[str]], *, host: str = "127.0.0.1", port: int) -> AsyncGenerator[int]:
    """Serve text at ``/metrics`` and a sign of life at ``/healthz`` while the context is open.

    Parameters
    ----------
    text
        Returns the metrics at each scrape; where it raises UnavailableError, the scrape fails and says so.
    host, port
        As `serve_metrics` takes them.

    Yields
    ------
    The port.

    Raises
    ------
    UnavailableError
        If the address cannot be listened at.
    """
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            talks.add(task)
            task.add_done_callback(talks.discard)
        try:
            with suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
                if len(talks) > _MOST_AT_ONCE:
                    await _send(writer, 503, "too many at once\n")
                else:
                    await _answer(reader, writer, text)
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(talk, host, port, limit=_MOST_HEAD_BYTES)
    except OSError as error:
        # What asyncio says repeats the address.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise UnavailableError(f"metrics cannot be served at port {port} of {host}: {reason}") from error
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in list(talks):
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await server.wait_closed()


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: Callable[[], Awaitable[str]]
) -> None:
    """Read a request's head and answer it; the connection ends with it."""
    try:
        async with asyncio.timeout(_HEAD_S):
            head = await reader.readuntil(b"\r\n\r\n")
        method, target, version = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
        sound = version.startswith("HTTP/1.")
    except (asyncio.LimitOverrunError, ValueError):
        sound, method, target = False, "", ""
    if not sound:
        await _send(writer, 400, "this is no HTTP request\n")
        return
    if method not in {"GET", "HEAD"}:
        await _send(writer, 405, "only GET is answered\n")
        return
    path = target.partition("?")[0]
    if path == "/healthz":
        await _send(writer, 200, "ok\n", body=method == "GET")
    elif path == "/metrics":
        await _send_metrics(writer, text, body=method == "GET")
    else:
        await _send(writer, 404, "metrics are at /metrics\n", body=method == "GET")


async def _send_metrics(writer: asyncio.StreamWriter, text: Callable[[], Awaitable[str]], *, body: bool) -> None:
    try:
        async with asyncio.timeout(_TELL_S):
            found = await text()
    except TimeoutError:
        await _send(writer, 503, "the metrics do not come in time\n")
        return
    except UnavailableError as error:
        await _send(writer, 503, f"{error}\n")
        return
    except Exception:  # noqa: BLE001 - a scrape that fails must not end the vertex; Prometheus sees the target down
        _log.exception("the metrics cannot be told")
        await _send(writer, 503, "the metrics cannot be told; the log says why\n")
        return
    await _send(writer, 200, found, kind=CONTENT_TYPE, body=body)


async def _send(
    writer: asyncio.StreamWriter, status: int, text: str, *, kind: str = "text/plain; charset=utf-8", body: bool = True
) -> None:
    content = text.encode()
    head = (
        f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + (content if body else b""))
    async with asyncio.timeout(_HEAD_S):
        await writer.drain()
