"""HTTP server on the event loop that exposes metrics to Prometheus."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from charon.adapters.prometheus.scrape.pages import PageMetrics
from charon.adapters.prometheus.scrape.text import CONTENT_TYPE, render
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from charon.ledger.pages import Page

_log = logging.getLogger(__name__)
# A scrape request has a few hundred bytes; these limits reject everything else.
_MAX_HEAD_BYTES = 16_384
_MAX_CONNECTIONS = 32
_IO_TIMEOUT_S = 5.0
# Shorter than Prometheus's default scrape timeout of 10 s.
_RENDER_TIMEOUT_S = 8.0
_PHRASES = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


@asynccontextmanager
async def serve_metrics(
    page: Callable[[], Page],
    *,
    host: str = "127.0.0.1",
    port: int,
    labels: Mapping[str, str] | None = None,
) -> AsyncGenerator[int]:
    """Serve the metrics of a vertex's page of the ledger while the context is open.

    Parameters
    ----------
    page
        Returns the page; called on the event loop at each scrape.
    host
        Address to listen on; by default loopback.
    port
        Port to listen on; 0 selects a free port.
    labels
        Labels of every series, such as ``{"vertex": "cat", "replica": "0"}``.

    Yields
    ------
    The bound port.

    Raises
    ------
    UnavailableError
        If the server cannot listen on the address.
    """

    async def text() -> str:
        metrics = PageMetrics()
        metrics.add(page(), labels or {})
        return render(metrics.families())

    async with serve_text(text, host=host, port=port) as bound:
        yield bound


@asynccontextmanager
async def serve_text(text: Callable[[], Awaitable[str]], *, host: str = "127.0.0.1", port: int) -> AsyncGenerator[int]:
    """Serve text on ``/metrics`` and ``ok`` on ``/healthz`` while the context is open.

    Parameters
    ----------
    text
        Returns the metrics at each scrape; its UnavailableError becomes the message of a failed scrape.
    host, port
        Address and port to listen on, as in `serve_metrics`.

    Yields
    ------
    The bound port.

    Raises
    ------
    UnavailableError
        If the server cannot listen on the address.
    """
    connections: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            connections.add(task)
            task.add_done_callback(connections.discard)
        try:
            with suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
                if len(connections) > _MAX_CONNECTIONS:
                    await _send(writer, 503, "too many connections\n")
                else:
                    await _respond(reader, writer, text)
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(handle, host, port, limit=_MAX_HEAD_BYTES)
    except OSError as error:
        # The message of asyncio repeats the address.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise UnavailableError(f"cannot serve metrics on port {port} of {host}: {reason}") from error
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()


async def _respond(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: Callable[[], Awaitable[str]]
) -> None:
    """Read the head of a request and send the response; the connection is then closed."""
    try:
        async with asyncio.timeout(_IO_TIMEOUT_S):
            head = await reader.readuntil(b"\r\n\r\n")
        method, target, version = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
        valid = version.startswith("HTTP/1.")
    except (asyncio.LimitOverrunError, ValueError):
        valid, method, target = False, "", ""
    if not valid:
        await _send(writer, 400, "invalid HTTP request\n")
        return
    if method not in {"GET", "HEAD"}:
        await _send(writer, 405, "method not allowed; use GET\n")
        return
    path = target.partition("?")[0]
    if path == "/healthz":
        await _send(writer, 200, "ok\n", body=method == "GET")
    elif path == "/metrics":
        await _send_metrics(writer, text, body=method == "GET")
    else:
        await _send(writer, 404, "not found; metrics are on /metrics\n", body=method == "GET")


async def _send_metrics(writer: asyncio.StreamWriter, text: Callable[[], Awaitable[str]], *, body: bool) -> None:
    try:
        async with asyncio.timeout(_RENDER_TIMEOUT_S):
            metrics = await text()
    except TimeoutError:
        await _send(writer, 503, "rendering metrics timed out\n")
        return
    except UnavailableError as error:
        await _send(writer, 503, f"{error}\n")
        return
    except Exception:  # noqa: BLE001 - a failed scrape must not stop the vertex
        _log.exception("failed to render metrics")
        await _send(writer, 503, "failed to render metrics; see the log\n")
        return
    await _send(writer, 200, metrics, kind=CONTENT_TYPE, body=body)


async def _send(
    writer: asyncio.StreamWriter, status: int, text: str, *, kind: str = "text/plain; charset=utf-8", body: bool = True
) -> None:
    content = text.encode()
    head = (
        f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + (content if body else b""))
    async with asyncio.timeout(_IO_TIMEOUT_S):
        await writer.drain()
