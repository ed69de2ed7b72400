"""Resolve options to the range and the queries of an export."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from charon.adapters.prometheus.query import (
    QueryRange,
    default_step_ms,
    parse_step,
    read_queries,
    require_pyarrow,
    substitute_variables,
)
from charon.adapters.timestamps import parse_time, rfc3339
from charon.cli.metrics.listing import has_unknown_end
from charon.cli.run_records import find
from charon.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from charon.cli.run_records import RunRecord

# Per query; Prometheus returns 11,000 points per request.
_MAX_POINTS = 11_000_000
_DEFAULT_DURATION_MS = 15 * 60_000


def resolve_range(
    start: str | None, end: str | None, step: str | None, run_name: str | None
) -> tuple[RunRecord | None, QueryRange]:
    """Return the run and the range that the options select.

    Raises
    ------
    UsageError
        If a time or the step is invalid, or the run is unknown.
    """
    # Full seconds are easier to read, and scrapes are not more frequent.
    now_ms = time.time_ns() // 1_000_000_000 * 1000
    record = None if run_name is None else find(run_name)
    end_ms = _end_ms(end, record, now_ms)
    if start is not None:
        start_ms = parse_time(start, now_ms)
    elif record is not None:
        start_ms = record.started_ns // 1_000_000_000 * 1000
    else:
        start_ms = max(0, end_ms - _DEFAULT_DURATION_MS)
    if end_ms < start_ms:
        raise UsageError(f"the end {rfc3339(end_ms)} is before the start {rfc3339(start_ms)}; correct --start or --end")
    step_ms = default_step_ms(end_ms - start_ms) if step is None else parse_step(step)
    query_range = QueryRange(start_ms, end_ms, step_ms)
    if query_range.points > _MAX_POINTS:
        raise UsageError(
            f"a step of {step} gives {query_range.points} points, more than {_MAX_POINTS}; use a longer step"
        )
    return record, query_range


def _end_ms(end: str | None, record: RunRecord | None, now_ms: int) -> int:
    if end is not None:
        return parse_time(end, now_ms)
    if record is None:
        return now_ms
    if has_unknown_end(record):
        message = f"{record.name}@{record.at} has no recorded end; using now (override with --end)"
        click.echo(f"warning: {message}", err=True)
    return now_ms if record.ended_ns is None else -(-record.ended_ns // 1_000_000_000) * 1000


def variables(namespace: str | None, pipeline: str | None, record: RunRecord | None) -> dict[str, str]:
    """Return the values of the variables in queries; options take precedence over the run's record."""
    values = {
        "namespace": namespace if namespace is not None else (record.namespace if record else ""),
        "pipeline": pipeline if pipeline is not None else (record.name if record else ""),
    }
    return {name: value for name, value in values.items() if value}


def resolve_queries(queries: tuple[str, ...], queries_file: Path | None, values: dict[str, str]) -> list[str]:
    """Return the queries of both options with their variables substituted.

    Raises
    ------
    UsageError
        If there is no query, or an invalid one.
    """
    resolved = [query.strip() for query in queries]
    if not all(resolved):
        raise UsageError("--query is empty; use a PromQL expression")
    if queries_file is not None:
        resolved += read_queries(queries_file)
    # Python maps bytes on the command line that are not UTF-8 to these characters.
    if any("\udc80" <= char <= "\udcff" for query in resolved for char in query):
        raise UsageError("--query is not valid UTF-8 text; check the encoding of the terminal")
    if not resolved:
        raise UsageError("missing query; use --queries-file or --query, or see --list-metrics")
    return substitute_variables(resolved, values)


def check_format(kind: str, output: Path | None) -> None:
    """Check that the format can be written to the output.

    Raises
    ------
    UsageError
        If Parquet would go to stdout.
    UnavailableError
        If Parquet needs pyarrow, and pyarrow is missing.
    """
    if kind == "parquet":
        if output is None:
            raise UsageError("Parquet cannot be written to stdout; use --output FILE")
        require_pyarrow()
