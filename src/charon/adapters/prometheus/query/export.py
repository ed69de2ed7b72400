"""Run many queries over one range, and keep the results on disk until they are saved."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypedDict

from charon.adapters.prometheus.query.client import QueryError
from charon.adapters.timestamps import rfc3339
from charon.tasks import task_group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from charon.adapters.prometheus.query.client import PrometheusClient
    from charon.adapters.prometheus.query.query_range import QueryRange
    from charon.adapters.prometheus.query.series import QueryResult


class ExportCounts(TypedDict):
    """Counts of queries (in total, with series, empty, failed), of series and of samples."""

    queries: int
    found: int
    empty: int
    failed: int
    series: int
    samples: int


class FailedQuery(TypedDict):
    """A query that failed, with Prometheus's message."""

    query: str
    error: str


class ExportMetadata(TypedDict):
    """Metadata that is saved with an export."""

    start: str
    end: str
    step_s: float
    counts: ExportCounts
    empty: list[str]
    failed: list[FailedQuery]
    warnings: list[str]


@dataclass(slots=True)
class ExportedQuery:
    """One query of an export and a summary of its result.

    Parameters
    ----------
    query
        The query.
    error
        Prometheus's message if the query failed.
    warnings
        Prometheus's warnings.
    series_count, sample_count, histogram_count
        Number of series, of samples, and of series with native histograms.
    segment
        Start and end of the result in the export's file, in bytes.
    """

    query: str
    error: str = ""
    warnings: list[str] = field(default_factory=list[str])
    series_count: int = 0
    sample_count: int = 0
    histogram_count: int = 0
    segment: tuple[int, int] = (0, 0)

    @property
    def empty(self) -> bool:
        """Whether the query succeeded and returned no series."""
        return not self.error and not self.series_count


class Export:
    """Queries over a range with their results, stored in an unnamed file because they may not fit in memory.

    Parameters
    ----------
    queries
        Queries in PromQL.
    query_range
        Range over which the queries are evaluated.
    folder
        Folder of the file; by default the system's folder for temporary files.
    """

    def __init__(self, queries: Sequence[str], query_range: QueryRange, folder: Path | None = None) -> None:
        self.query_range = query_range
        self.queries = [ExportedQuery(query) for query in queries]
        self.labels: set[str] = set()
        # Unnamed, so that nothing remains even if the process is killed.
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with the export

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def failed(self) -> list[ExportedQuery]:
        """Queries that failed."""
        return [exported for exported in self.queries if exported.error]

    @property
    def requests(self) -> int:
        """Number of requests that `collect` sends."""
        return len(self.queries) * len(self.query_range.split())

    async def collect(self, client: PrometheusClient, on_request: Callable[[], None] | None = None) -> None:
        """Run all queries concurrently; a query that fails does not affect the others.

        Raises
        ------
        OSError
            If the results cannot be written to disk.
        """

        async def run(exported: ExportedQuery) -> None:
            try:
                result = await client.query_range(exported.query, self.query_range, on_request)
            except QueryError as error:
                exported.error = str(error)
            else:
                self._write(exported, result)

        async with task_group() as group:
            for exported in self.queries:
                group.create_task(run(exported))

    def lines(self, exported: ExportedQuery) -> Iterator[bytes]:
        """Yield each series of a query in Prometheus's own format."""
        at, end = exported.segment
        while at < end:
            self._file.seek(at)
            line = self._file.readline()
            at += len(line)
            yield line[:-1]

    def counts(self) -> ExportCounts:
        """Return the counts of queries, series and samples."""
        return {
            "queries": len(self.queries),
            "found": sum(bool(exported.series_count) for exported in self.queries),
            "empty": sum(exported.empty for exported in self.queries),
            "failed": len(self.failed),
            "series": sum(exported.series_count for exported in self.queries),
            "samples": sum(exported.sample_count for exported in self.queries),
        }

    def metadata(self) -> ExportMetadata:
        """Return the export's metadata."""
        return {
            "start": rfc3339(self.query_range.start_ms),
            "end": rfc3339(self.query_range.end_ms),
            "step_s": self.query_range.step_ms / 1000,
            "counts": self.counts(),
            "empty": [exported.query for exported in self.queries if exported.empty],
            "failed": [{"query": exported.query, "error": exported.error} for exported in self.failed],
            "warnings": self.warnings(),
        }

    def warnings(self) -> list[str]:
        """Return Prometheus's warnings, each once."""
        return sorted({warning for exported in self.queries for warning in exported.warnings})

    def _write(self, exported: ExportedQuery, result: QueryResult) -> None:
        start = end = self._file.seek(0, os.SEEK_END)
        for series in result.series:
            self.labels.update(series.labels)
            end += self._file.write(series.to_json() + b"\n")
        exported.segment = (start, end)
        exported.warnings = result.warnings
        exported.series_count = len(result.series)
        exported.sample_count = sum(series.sample_count for series in result.series)
        exported.histogram_count = sum(bool(series.histograms) for series in result.series)
