"""Client for a Prometheus server's HTTP API."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from typing import TYPE_CHECKING, Any, Self, cast

import httpx

from charon.adapters.addresses import without_credentials
from charon.adapters.prometheus.query.queries_file import resolve_at_modifiers
from charon.adapters.prometheus.query.query_range import unix_seconds
from charon.adapters.prometheus.query.series import QueryResult, join_results, parse_series
from charon.errors import UnavailableError, UsageError
from charon.tasks import task_group

if TYPE_CHECKING:
    from collections.abc import Callable

    from charon.adapters.prometheus.query.query_range import QueryRange

# Prometheus itself evaluates 20 queries at a time and times a query out after two minutes.
_MAX_CONCURRENT_QUERIES = 8
_QUERY_TIMEOUT = httpx.Timeout(130.0, connect=5.0)
_STATUS_TIMEOUT = httpx.Timeout(15.0, connect=5.0)


class QueryError(Exception):
    """A query failed; the message is Prometheus's own."""


class PrometheusClient:
    """Client for a Prometheus server.

    Parameters
    ----------
    url
        URL of the server, such as ``http://localhost:9090``, or with a path before ``/api``.

    Raises
    ------
    UsageError
        If the URL is not an HTTP(S) address.
    """

    def __init__(self, url: str) -> None:
        base = _parse_url(url)
        bare = base.copy_with(username=None, password=None)
        self.url = str(bare).rstrip("/")
        loopback = _is_loopback(base.host)
        self._client = httpx.AsyncClient(
            # httpx logs the URL, so user and password must not be part of it.
            base_url=bare,
            auth=(base.username, base.password) if base.userinfo else None,
            timeout=_QUERY_TIMEOUT,
            follow_redirects=True,
            # A proxy cannot reach loopback, and compression costs more there than it saves.
            trust_env=not loopback,
            headers={"Accept-Encoding": "identity"} if loopback else None,
        )
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT_QUERIES)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def version(self) -> str:
        """Return the server's version; empty if the server does not report it.

        Raises
        ------
        UnavailableError
            If the server does not respond, or is not a Prometheus server.
        """
        try:
            return _one_line((await self._get("api/v1/status/buildinfo", {}, _STATUS_TIMEOUT))["version"])
        except QueryError:
            await self._require("api/v1/query", {"query": "1"}, _STATUS_TIMEOUT)
            return ""
        except (KeyError, TypeError):
            return ""

    async def metric_names(self, within: QueryRange) -> list[str]:
        """Return the names of the metrics that have samples in a range.

        Raises
        ------
        UnavailableError
            If the server does not return them.
        """
        times = {"start": unix_seconds(within.start_ms), "end": unix_seconds(within.end_ms)}
        names = await self._require("api/v1/label/__name__/values", times)
        if not isinstance(names, list):
            raise UnavailableError(f"Prometheus at {self.url} returned an invalid list of metric names")
        return [_one_line(name) for name in cast("list[object]", names)]

    async def metadata(self) -> dict[str, tuple[str, str]]:
        """Return the type and the help text of each metric that has them.

        Raises
        ------
        UnavailableError
            If the server does not return them.
        """
        metadata = await self._require("api/v1/metadata", {})
        try:
            return {
                name: (str(entries[0]["type"]), str(entries[0]["help"]))
                for name, entries in metadata.items()
                if entries
            }
        except (AttributeError, LookupError, TypeError) as error:
            raise UnavailableError(f"Prometheus at {self.url} returned invalid metric metadata") from error

    async def query_range(
        self, query: str, full_range: QueryRange, on_request: Callable[[], None] | None = None
    ) -> QueryResult:
        """Evaluate a query over a range, in as many requests as Prometheus's limit of points requires.

        Raises
        ------
        QueryError
            If Prometheus rejects the query or does not respond.
        """
        parts = full_range.split()
        if len(parts) > 1:
            query = resolve_at_modifiers(query, full_range)

        async def evaluate(part: QueryRange) -> QueryResult:
            async with self._slots:
                result = await self._query_range(query, part)
            if on_request is not None:
                on_request()
            return result

        async with task_group() as group:
            tasks = [group.create_task(evaluate(part)) for part in parts]
        return join_results([task.result() for task in tasks])

    async def _query_range(self, query: str, part: QueryRange) -> QueryResult:
        fields = {
            "query": query,
            "start": unix_seconds(part.start_ms),
            "end": unix_seconds(part.end_ms),
            "step": unix_seconds(part.step_ms),
        }
        try:
            document = await self._request("POST", "api/v1/query_range", fields)
        except UnavailableError as error:
            raise QueryError(str(error)) from error
        try:
            warnings = cast("list[object]", document.get("warnings") or [])
            series = [parse_series(entry) for entry in document["data"]["result"]]
            return QueryResult(series, [_one_line(warning) for warning in warnings])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise QueryError(f"Prometheus returned an invalid matrix: {error!r}") from error

    async def _require(self, path: str, fields: dict[str, str], timeouts: httpx.Timeout = _QUERY_TIMEOUT) -> Any:  # noqa: ANN401 - JSON
        """Return the data of a response; an error response means that the server is unavailable."""
        try:
            return await self._get(path, fields, timeouts)
        except QueryError as error:
            raise UnavailableError(f"Prometheus at {self.url} returned an error: {error}") from error

    async def _get(self, path: str, fields: dict[str, str], timeouts: httpx.Timeout) -> Any:  # noqa: ANN401 - JSON
        return (await self._request("GET", path, fields, timeouts)).get("data")

    async def _request(
        self, method: str, path: str, fields: dict[str, str], timeouts: httpx.Timeout = _QUERY_TIMEOUT
    ) -> dict[str, Any]:
        """Return a successful response's document.

        Raises
        ------
        QueryError
            If Prometheus returned an error.
        UnavailableError
            If the server does not respond, or is not a Prometheus server.
        """
        try:
            if method == "POST":
                response = await self._client.post(path, data=fields, timeout=timeouts)
            else:
                response = await self._client.get(path, params=fields, timeout=timeouts)
        except httpx.TimeoutException as error:
            raise UnavailableError(f"Prometheus at {self.url} timed out") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnavailableError(
                f"cannot connect to Prometheus at {self.url}: {_reason(error)};"
                " check the URL, or start the port-forward"
            ) from error
        document = _decode(response.content)
        if document.get("status") not in {"success", "error"}:
            kind = response.headers.get("content-type", "no content type").partition(";")[0]
            raise UnavailableError(
                f"not a Prometheus server: {self.url} returned {kind} with HTTP status {response.status_code}"
            )
        if document["status"] == "error":
            reason = f"{document.get('errorType', 'error')}: {document.get('error', 'no reason given')}"
            raise QueryError(_one_line(reason))
        return document


def _parse_url(url: str) -> httpx.URL:
    shown = without_credentials(url)
    try:
        base = httpx.URL(url)
    except httpx.InvalidURL as error:
        # The reason may quote a part of the password.
        reason = f": {_reason(error)}" if shown == url else ""
        raise UsageError(f"{shown!r} is not a valid URL{reason}; use a URL such as http://localhost:9090") from error
    if base.scheme not in {"http", "https"} or not base.host:
        raise UsageError(f"{shown!r} is not an HTTP(S) URL; use a URL such as http://localhost:9090")
    if base.port is not None and not 0 < base.port < 65_536:
        raise UsageError(f"{shown!r}: invalid port {base.port}; use a port from 1 to 65535")
    if base.query or base.fragment:
        raise UsageError(f"{shown!r} has a query or a fragment; use only the address, such as http://localhost:9090")
    return base


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _decode(content: bytes) -> dict[str, Any]:
    """Return a JSON object; an empty one if the content is not a JSON object."""
    try:
        document: object = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {}


def _reason(error: Exception) -> str:
    return (str(error) or f"connection lost ({type(error).__name__})").splitlines()[0]


def _one_line(text: object) -> str:
    """Return a server's text on one line, without terminal control characters."""
    return "".join(char if char.isprintable() else " " for char in " ".join(str(text).split()))
