"""Asking a Prometheus: its version, its metrics' names, and queries over a span of time."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

import httpx

from charon.adapters.addresses import without_credentials
from charon.adapters.prometheus.query.queries_file import pin_edges
from charon.adapters.prometheus.query.times import unix_seconds
from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from charon.adapters.prometheus.query.times import Span

# Prometheus itself answers 20 at once, and gives up on a query after two minutes.
_AT_ONCE = 8
_TIMEOUT = httpx.Timeout(130.0, connect=5.0)
# What it has at hand it tells at once.
_ALIVE = httpx.Timeout(15.0, connect=5.0)
# Times are between 1970 and 9999.
_LAST_S = 253_402_300_800


class QueryError(Exception):
    """A query failed; the text is Prometheus's own."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer.

    Parameters
    ----------
    labels
        Its labels, the name of the metric under ``__name__``.
    values
        Its samples in Prometheus's own form, ``[1755528477,"1.5"],[...]``: a tenth of what lists of them take.
    samples
        How many these are.
    histograms
        Likewise the samples that are native histograms.
    """

    labels: dict[str, str]
    values: bytes
    samples: int
    histograms: bytes = b""

    def to_json(self) -> bytes:
        """Return the series in Prometheus's own form."""
        parts = [b'{"metric":', _dump(self.labels)]
        if self.values or not self.histograms:
            parts += [b',"values":[', self.values, b"]"]
        if self.histograms:
            parts += [b',"histograms":[', self.histograms, b"]"]
        return b"".join([*parts, b"}"])


@dataclass(frozen=True, slots=True)
class Answer:
    """What Prometheus found, and what it warned of."""

    series: list[Series]
    warnings: list[str]


class Prometheus:
    """A Prometheus server, asked over its HTTP API.

    Parameters
    ----------
    url
        Where it is, as ``http://localhost:9090``; a path before ``/api`` may follow.

    Raises
    ------
    UsageError
        If that is no HTTP(S) URL.
    """

    def __init__(self, url: str) -> None:
        base = _checked(url)
        bare = base.copy_with(username=None, password=None)
        self.url = str(bare).rstrip("/")
        here = _is_loopback(base.host)
        self._client = httpx.AsyncClient(
            # Not in the address, which httpx logs.
            base_url=bare,
            auth=(base.username, base.password) if base.userinfo else None,
            timeout=_TIMEOUT,
            follow_redirects=True,
            # No proxy leads to this machine, and on it compressing costs more than sending.
            trust_env=not here,
            headers={"Accept-Encoding": "identity"} if here else None,
        )
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def version(self) -> str:
        """Return the server's version; empty where it does not tell.

        Raises
        ------
        UnavailableError
            If nothing answers, or something that is no Prometheus.
        """
        try:
            return _one_line((await self._ask("GET", "api/v1/status/buildinfo", {}, _ALIVE))["version"])
        except QueryError:
            await self._ask_or_say("GET", "api/v1/query", {"query": "1"}, _ALIVE)
            return ""
        except (KeyError, TypeError):
            return ""

    async def names(self, span: Span) -> list[str]:
        """Return the names of the metrics that have samples in a span.

        Raises
        ------
        UnavailableError
            If they cannot be had.
        """
        edges = {"start": unix_seconds(span.start_ms), "end": unix_seconds(span.end_ms)}
        found = await self._ask_or_say("GET", "api/v1/label/__name__/values", edges)
        if not isinstance(found, list):
            raise UnavailableError(f"Prometheus at {self.url} answers with something else than a list of names")
        return [_one_line(name) for name in cast("list[object]", found)]

    async def described(self) -> dict[str, tuple[str, str]]:
        """Return (type, help) of each metric that a target describes.

        Raises
        ------
        UnavailableError
            If they cannot be had.
        """
        found = await self._ask_or_say("GET", "api/v1/metadata", {})
        try:
            return {n: (str(told[0]["type"]), str(told[0]["help"])) for n, told in found.items() if told}
        except (AttributeError, LookupError, TypeError) as error:
            raise UnavailableError(f"Prometheus at {self.url} describes its metrics in another form") from error

    async def range(self, query: str, span: Span, on_part: Callable[[], None] | None = None) -> Answer:
        """Evaluate a query over a span, in as many requests as Prometheus's limit of points asks for.

        Raises
        ------
        QueryError
            If Prometheus refuses it or does not answer.
        """
        parts = span.split()
        if len(parts) > 1:
            query = pin_edges(query, span)

        async def one(part: Span) -> Answer:
            async with self._places:
                answer = await self._range(query, part)
            if on_part is not None:
                on_part()
            return answer

        tasks = [asyncio.create_task(one(part)) for part in parts]
        try:
            return _joined([await task for task in tasks])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _range(self, query: str, span: Span) -> Answer:
        fields = {
            "query": query,
            "start": unix_seconds(span.start_ms),
            "end": unix_seconds(span.end_ms),
            "step": unix_seconds(span.step_ms),
        }
        try:
            document = await self._fetch("POST", "api/v1/query_range", fields)
        except UnavailableError as error:
            raise QueryError(str(error)) from error
        try:
            warnings = [_one_line(warning) for warning in document.get("warnings") or []]
            return Answer([_series(entry) for entry in document["data"]["result"]], warnings)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise QueryError(f"the answer has another form than a matrix: {error!r}") from error

    async def _ask_or_say(self, method: str, path: str, fields: dict[str, str], limit: httpx.Timeout = _TIMEOUT) -> Any:  # noqa: ANN401 - JSON
        try:
            return await self._ask(method, path, fields, limit)
        except QueryError as error:
            raise UnavailableError(f"Prometheus at {self.url} answers: {error}") from error

    async def _ask(self, method: str, path: str, fields: dict[str, str], limit: httpx.Timeout = _TIMEOUT) -> Any:  # noqa: ANN401 - JSON
        return (await self._fetch(method, path, fields, limit)).get("data")

    async def _fetch(
        self, method: str, path: str, fields: dict[str, str], limit: httpx.Timeout = _TIMEOUT
    ) -> dict[str, Any]:
        """Return the API's answer; raise QueryError with Prometheus's words, UnavailableError where there are none."""
        sent = {"data": fields} if method == "POST" else {"params": fields}
        try:
            response = await self._client.request(method, path, timeout=limit, **sent)  # type: ignore[arg-type]
        except httpx.TimeoutException as error:
            raise UnavailableError(f"Prometheus at {self.url} does not answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnavailableError(f"no Prometheus answers at {self.url}: {_why(error)}") from error
        try:
            document = json.loads(response.content)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict) or document.get("status") not in {"success", "error"}:
            kind = response.headers.get("content-type", "something unnamed").partition(";")[0]
            raise UnavailableError(
                f"what answers at {self.url} is no Prometheus: it sent {kind} with HTTP status {response.status_code}"
            )
        if document["status"] == "error":
            why = f"{document.get('errorType', 'error')}: {document.get('error', 'no reason given')}"
            raise QueryError(_one_line(why))
        return document


def _checked(url: str) -> httpx.URL:
    told = without_credentials(url)
    try:
        base = httpx.URL(url)
    except httpx.InvalidURL as error:
        # The reason quotes what may be a part of the password.
        why = f": {_why(error)}" if told == url else ""
        raise UsageError(f"{told!r} is no URL{why}; give one as http://localhost:9090") from error
    if base.scheme not in {"http", "https"} or not base.host:
        raise UsageError(f"{told!r} is no HTTP(S) URL: give one as http://localhost:9090")
    if base.port is not None and not 0 < base.port < 65_536:
        raise UsageError(f"{told!r} has no port that there can be: {base.port}; give one from 1 to 65535")
    if base.query or base.fragment:
        raise UsageError(f"{told!r} has more than the address: give the Prometheus as http://localhost:9090")
    return base


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _why(error: Exception) -> str:
    return (str(error) or f"the connection broke ({type(error).__name__})").splitlines()[0]


def _one_line(words: object) -> str:
    """Return what a server says without line ends, and without what would steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in " ".join(str(words).split()))


def _series(entry: dict[str, Any]) -> Series:
    """Return a series.

    Raises
    ------
    ValueError
        If it is none; KeyError, TypeError and AttributeError likewise.
    """
    metric, values, histograms = entry["metric"], entry.get("values", []), entry.get("histograms", [])
    if not all(isinstance(text, str) for text in metric.values()):
        raise ValueError("a label is no text")
    if not all(type(value) is str and 0 <= at < _LAST_S for at, value in values):
        raise ValueError("a sample is no time and text")
    return Series(metric, _dump(values)[1:-1], len(values), _dump(histograms)[1:-1])


def _joined(answers: list[Answer]) -> Answer:
    """Return the answers to successive spans as one, its series in Prometheus's order."""
    if len(answers) == 1:
        return answers[0]
    grouped: dict[tuple[tuple[str, str], ...], list[Series]] = {}
    for answer in answers:
        for series in answer.series:
            grouped.setdefault(tuple(sorted(series.labels.items())), []).append(series)
    joined = [
        Series(
            parts[0].labels,
            b",".join(part.values for part in parts if part.values),
            sum(part.samples for part in parts),
            b",".join(part.histograms for part in parts if part.histograms),
        )
        for _, parts in sorted(grouped.items())
    ]
    return Answer(joined, list(dict.fromkeys(warning for answer in answers for warning in answer.warnings)))


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
