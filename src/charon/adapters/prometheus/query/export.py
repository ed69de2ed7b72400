"""Asking many queries side by side, and keeping the answers on disk until they are written."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from charon.adapters.prometheus.query.client import QueryError
from charon.adapters.prometheus.query.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from charon.adapters.prometheus.query.client import Answer, Prometheus
    from charon.adapters.prometheus.query.times import Span


@dataclass(slots=True)
class Outcome:
    """What became of one query.

    Parameters
    ----------
    query
        As it was asked.
    error
        Prometheus's own message, where it failed.
    warnings
        What Prometheus warned of.
    series, samples, histograms
        How many it found; `histograms` are series of native histograms.
    segment
        Where in the file its answer is.
    """

    query: str
    error: str = ""
    warnings: list[str] = field(default_factory=list[str])
    series: int = 0
    samples: int = 0
    histograms: int = 0
    segment: tuple[int, int] = (0, 0)

    @property
    def empty(self) -> bool:
        """Whether it was answered and found nothing."""
        return not self.error and not self.series


class Export:
    """Queries over a span and their answers, which wait in a file that nobody sees: they may be larger than memory.

    Parameters
    ----------
    queries
        PromQL.
    span
        Where to evaluate them.
    folder
        Where the file is; the system's folder for such by default.
    """

    def __init__(self, queries: Sequence[str], span: Span, folder: Path | None = None) -> None:
        self.span = span
        self.outcomes = [Outcome(query) for query in queries]
        self.labels: set[str] = set()
        # Without a name: nothing is left whatever way this process ends.
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with the export

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def failed(self) -> list[Outcome]:
        """The queries that failed."""
        return [outcome for outcome in self.outcomes if outcome.error]

    @property
    def requests(self) -> int:
        """How many requests `collect` makes."""
        return len(self.outcomes) * len(self.span.split())

    async def collect(self, prometheus: Prometheus, on_request: Callable[[], None] | None = None) -> None:
        """Ask all queries; one that fails does not hold up the others.

        Raises
        ------
        OSError
            If the answers cannot be kept on disk.
        """

        async def one(outcome: Outcome) -> None:
            try:
                answer = await prometheus.range(outcome.query, self.span, on_request)
            except QueryError as error:
                outcome.error = str(error)
            else:
                self._keep(outcome, answer)

        try:
            async with asyncio.TaskGroup() as group:
                for outcome in self.outcomes:
                    group.create_task(one(outcome))
        except BaseExceptionGroup as errors:
            # One is enough to say what is wrong: a disk that is full is full for all.
            raise errors.exceptions[0] from None

    def lines(self, outcome: Outcome) -> Iterator[bytes]:
        """Return each series that a query found, in Prometheus's own form."""
        at, end = outcome.segment
        while at < end:
            self._file.seek(at)
            line = self._file.readline()
            at = self._file.tell()
            yield line[:-1]

    def counts(self) -> dict[str, int]:
        """Return how many queries were asked, found something, found nothing, failed; series and samples."""
        return {
            "queries": len(self.outcomes),
            "found": sum(bool(outcome.series) for outcome in self.outcomes),
            "empty": sum(outcome.empty for outcome in self.outcomes),
            "failed": len(self.failed),
            "series": sum(outcome.series for outcome in self.outcomes),
            "samples": sum(outcome.samples for outcome in self.outcomes),
        }

    def metadata(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is known of the export, and what the caller adds, as JSON values."""
        return {
            "start": rfc3339(self.span.start_ms),
            "end": rfc3339(self.span.end_ms),
            "step_s": self.span.step_ms / 1000,
            **about,
            "counts": self.counts(),
            "empty": [outcome.query for outcome in self.outcomes if outcome.empty],
            "failed": [{"query": outcome.query, "error": outcome.error} for outcome in self.failed],
            "warnings": sorted({warning for outcome in self.outcomes for warning in outcome.warnings}),
        }

    def _keep(self, outcome: Outcome, answer: Answer) -> None:
        begin = self._file.seek(0, 2)
        for series in answer.series:
            self.labels.update(series.labels)
            self._file.write(series.to_json() + b"\n")
        outcome.segment = (begin, self._file.tell())
        outcome.warnings = answer.warnings
        outcome.series = len(answer.series)
        outcome.samples = sum(series.samples for series in answer.series)
        outcome.histograms = sum(bool(series.histograms) for series in answer.series)
