"""Run queries, save their results and print a summary."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypedDict

import click

from charon import __version__
from charon.adapters.prometheus.query import Export, PrometheusClient, is_device, open_output, save
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from charon.adapters.prometheus.query import QueryRange
    from charon.cli.run_records import RunRecord

# Above this, a list of queries would hide the summary: on one machine, most queries of a cluster return nothing.
_MAX_EMPTY_LISTED = 10


class _Server(TypedDict):
    url: str
    version: str


def export_queries(
    url: str, queries: Sequence[str], query_range: QueryRange, record: RunRecord | None, output: Path | None, kind: str
) -> int:
    """Run the queries and save the results to a file, or to stdout if `output` is None; return the exit status.

    Raises
    ------
    UnavailableError
        If Prometheus is unavailable, every query fails, or the output cannot be written.
    """
    run = None if record is None else record.to_json()
    if output is None:
        with Export(queries, query_range) as export:
            server = asyncio.run(_collect(url, export))
            with _stdout_errors():
                save(export, {"run": run, "prometheus": server, "charon": __version__}, kind, sys.stdout.buffer)
                sys.stdout.buffer.flush()
            return _report(export, kind, "")
    # Do not create folders for a server that does not respond.
    asyncio.run(_check(url))
    folder = None if is_device(output) else output.resolve().parent
    with open_output(output) as file, Export(queries, query_range, folder) as export:
        server = asyncio.run(_collect(url, export))
        save(export, {"run": run, "prometheus": server, "charon": __version__}, kind, file)
    as_kind = "" if output.suffix.lower() == f".{kind}" else f" as {kind}"
    return _report(export, kind, f" in {output}{as_kind}")


@contextmanager
def _stdout_errors() -> Generator[None]:
    """Exit silently if the reader of a pipe has closed it; report other errors of stdout."""
    try:
        yield
    except BrokenPipeError:
        # Otherwise Python would try to flush the rest at exit and print an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        raise UnavailableError(f"cannot write to stdout: {error.strerror or error}") from error


async def _check(url: str) -> None:
    async with PrometheusClient(url) as client:
        await client.version()


async def _collect(url: str, export: Export) -> _Server:
    """Run all queries; return the server's address and version."""
    async with PrometheusClient(url) as client:
        version = await client.version()
        with _progress(export.requests) as advance:
            await export.collect(client, advance)
        if len(export.failed) == len(export.queries):
            _report_failed(export)
            raise UnavailableError("every query failed; nothing was saved")
        return {"url": client.url, "version": version}


@contextmanager
def _progress(requests: int) -> Generator[Callable[[], None] | None]:
    """Show a progress bar on a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - slow to import; only a terminal needs it
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("querying", total=requests)
        yield lambda: progress.advance(task)


def _report(export: Export, kind: str, destination: str) -> int:
    """Print what was saved, what was empty and what failed; return the exit status."""
    counts = export.counts()
    _report_empty([exported.query for exported in export.queries if exported.empty])
    for exported in export.queries:
        if exported.histogram_count and kind != "json":
            message = f"skipped {exported.histogram_count} native histograms of {exported.query}; use --format json"
            click.echo(f"warning: {message}", err=True)
    for warning in export.warnings():
        click.echo(f"warning: {warning}", err=True)
    _report_failed(export)
    click.echo(
        f"{counts['samples']} samples in {counts['series']} series of {counts['found']} of {counts['queries']} queries"
        f"{destination}; {counts['empty']} empty, {counts['failed']} failed",
        err=True,
    )
    if not counts["found"]:
        metadata = export.metadata()
        click.echo(
            f"warning: no samples from {metadata['start']} to {metadata['end']}; "
            "check --start and --end, or see --list-metrics",
            err=True,
        )
    return 1 if export.failed else 0


def _report_failed(export: Export) -> None:
    for exported in export.failed:
        click.echo(f"failed: {exported.query}: {exported.error}", err=True)


def _report_empty(queries: list[str]) -> None:
    """Print the queries without a result, or only their number if there are many and --verbose is off."""
    if len(queries) > _MAX_EMPTY_LISTED and not click.get_current_context().find_root().params.get("verbose"):
        click.echo(f"empty: {len(queries)} queries; list them with charonctl -v metrics", err=True)
        return
    for query in queries:
        click.echo(f"empty: {query}", err=True)
