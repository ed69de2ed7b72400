"""``charonctl metrics``: save what a Prometheus has kept of a run."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charon import __version__
from charon.adapters.prometheus.query.formats import is_device, need_parquet, replacing, save
from charon.adapters.prometheus.query.queries_file import fill_in, read_queries
from charon.adapters.prometheus.query.times import Span, default_step_ms, parse_step, parse_time, rfc3339
from charon.cli.run_records import find, records
from charon.cli.signals import ended_by_signals
from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from charon.adapters.prometheus.query.export import Export
    from charon.cli.run_records import RunRecord

# Of one query; it is asked in parts of 11,000, one after the other.
_MOST_POINTS = 11_000_000
# Of so many, names are lost in the list: on one machine, nearly all that ask for a cluster's parts find nothing.
_EMPTY_LISTED = 10
_FORMATS = ["json", "csv", "parquet"]


@click.command()
@click.argument("prometheus-url", required=False)
@click.option("--start", help="RFC 3339 with zone, Unix seconds, or relative as -15m [15 min before the end].")
@click.option("--end", help="Likewise [now].")
@click.option("--step", help="Between points: seconds, or as 15s [by the span: 1 h gives 5s].")
@click.option("--query", "queries", multiple=True, metavar="PROMQL", help="Ask this; may be given several times.")
@click.option("--queries-file", type=click.Path(path_type=Path), help="Ask these: one a line, # begins a comment.")
@click.option("--run", "run_name", metavar="NAME[@TIME]", help="Times, namespace and pipeline of a recorded run.")
@click.option("--namespace", help="What $namespace in a query stands for [any].")
@click.option("--pipeline", help="What $pipeline in a query stands for [any].")
@click.option(
    "--output", type=click.Path(path_type=Path), help="File to save to; its folders are made; - is stdout [stdout]."
)
@click.option("--format", "kind", type=click.Choice(_FORMATS), help="[by the output's suffix, else json]")
@click.option("--list-metrics", is_flag=True, help="Only list the metrics that have samples in the span.")
@click.option("--list-runs", is_flag=True, help="Only list the runs that --run can name.")
def metrics(
    prometheus_url: str | None,
    start: str | None,
    end: str | None,
    step: str | None,
    queries: tuple[str, ...],
    queries_file: Path | None,
    run_name: str | None,
    namespace: str | None,
    pipeline: str | None,
    output: Path | None,
    kind: str | None,
    list_metrics: bool,
    list_runs: bool,
) -> int:
    """Ask a Prometheus queries over a span of time and save the answers."""
    # With --verbose, the requests are worth a line each, and not each step of each.
    logging.getLogger("httpcore").setLevel(logging.INFO)
    if list_runs:
        _list_runs(as_json=kind == "json")
        return 0
    if prometheus_url is None:
        raise UsageError("which Prometheus? Give its URL, such as http://localhost:9090")
    record, span = _span(start, end, step, run_name)
    if list_metrics:
        if queries or queries_file or output:
            raise UsageError("--list-metrics writes names to stdout and asks no queries")
        return asyncio.run(_list_metrics(prometheus_url, span, as_json=kind == "json"))
    known = {
        "namespace": namespace if namespace is not None else (record.namespace if record else ""),
        "pipeline": pipeline if pipeline is not None else (record.name if record else ""),
    }
    if output == Path("-"):
        output = None
    asked = _asked(queries, queries_file, {name: value for name, value in known.items() if value})
    kind = _kind(kind, output)
    with ended_by_signals():
        return _save(prometheus_url, asked, span, record, output, kind)


def _span(start: str | None, end: str | None, step: str | None, run_name: str | None) -> tuple[RunRecord | None, Span]:
    # Whole seconds read better, and nothing is scraped more finely.
    now_ms = time.time_ns() // 1_000_000_000 * 1000
    record = None if run_name is None else find(run_name)
    start_ms = None if record is None else record.started_ns // 1_000_000_000 * 1000
    end_ms = now_ms if record is None or record.ended_ns is None else -(-record.ended_ns // 1_000_000_000) * 1000
    if end is not None:
        end_ms = parse_time(end, now_ms)
    elif record is not None and _was_cut_off(record):
        click.echo(f"warning: nobody saw {record.name}@{record.at} end: asked until now; --end says better", err=True)
    if start is not None:
        start_ms = parse_time(start, now_ms)
    if start_ms is None:
        start_ms = max(0, end_ms - 15 * 60_000)
    if end_ms < start_ms:
        raise UsageError(f"the end {rfc3339(end_ms)} is before the start {rfc3339(start_ms)}")
    step_ms = default_step_ms(end_ms - start_ms) if step is None else parse_step(step)
    span = Span(start_ms, end_ms, step_ms)
    if span.points > _MOST_POINTS:
        raise UsageError(f"a step of {step} gives {span.points} points from start to end: give a longer step")
    return record, span


def _asked(queries: tuple[str, ...], queries_file: Path | None, known: dict[str, str]) -> list[str]:
    asked = [query.strip() for query in queries]
    if not all(asked):
        raise UsageError("a query is empty: give PromQL after --query")
    if queries_file is not None:
        asked += read_queries(queries_file)
    if any("\udc80" <= char <= "\udcff" for query in asked for char in query):
        raise UsageError("a query is no text in UTF-8")
    if not asked:
        raise UsageError("no query: give --queries-file or --query; --list-metrics shows what there is to ask for")
    return fill_in(asked, known)


def _kind(kind: str | None, output: Path | None) -> str:
    suffix = output.suffix.removeprefix(".").lower() if output is not None else ""
    kind = kind or (suffix if suffix in _FORMATS else "json")
    if kind == "parquet":
        if output is None:
            raise UsageError("Parquet is not for a terminal: name a file with --output")
        need_parquet()
    return kind


def _save(url: str, queries: list[str], span: Span, record: RunRecord | None, output: Path | None, kind: str) -> int:
    """Ask, write what was found, say what was not; return the exit status."""
    from charon.adapters.prometheus.query.export import Export  # noqa: PLC0415 - imports HTTPX

    about: dict[str, Any] = {"run": None if record is None else record.to_json()}
    if output is None:
        with Export(queries, span) as export:
            about |= asyncio.run(_collect(url, export))
            with _to_stdout():
                save(export, about, kind, sys.stdout.buffer)
                sys.stdout.buffer.flush()
            return _tell(export, kind, "")
    # A folder is made only for a Prometheus that answers.
    asyncio.run(_version(url))
    folder = None if is_device(output) else output.resolve().parent
    with replacing(output) as file, Export(queries, span, folder) as export:
        about |= asyncio.run(_collect(url, export))
        save(export, about, kind, file)
    as_what = "" if output.suffix.lower() == f".{kind}" else f" as {kind}"
    return _tell(export, kind, f" in {output}{as_what}")


@contextmanager
def _to_stdout() -> Generator[None]:
    """End quietly where the reader of a pipe has had enough; name what else is wrong with stdout."""
    try:
        yield
    except BrokenPipeError:
        # Python would try to write the rest at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        raise UnavailableError(f"stdout cannot be written: {error.strerror or error}") from error


async def _version(url: str) -> str:
    from charon.adapters.prometheus.query.client import Prometheus  # noqa: PLC0415 - imports HTTPX

    async with Prometheus(url) as prometheus:
        return await prometheus.version()


async def _collect(url: str, export: Export) -> dict[str, Any]:
    """Ask everything; return what is known of the server and of this program."""
    from charon.adapters.prometheus.query.client import Prometheus  # noqa: PLC0415 - imports HTTPX

    async with Prometheus(url) as prometheus:
        version = await prometheus.version()
        with _progress(export.requests) as advance:
            await export.collect(prometheus, advance)
        if len(export.failed) == len(export.outcomes):
            for outcome in export.failed:
                click.echo(f"failed: {outcome.query}: {outcome.error}", err=True)
            raise UnavailableError("every query failed; nothing was saved")
        return {"prometheus": {"url": prometheus.url, "version": version}, "charon": __version__}


@contextmanager
def _progress(requests: int) -> Generator[Callable[[], None] | None]:
    """Show a bar where a person looks."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - slow to import
    from rich.progress import Progress  # noqa: PLC0415 - slow to import

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("asking", total=requests)
        yield lambda: progress.advance(task)


def _tell(export: Export, kind: str, where: str) -> int:
    """Say what was found and what was not; return the exit status."""
    counts = export.counts()
    _tell_empty([outcome.query for outcome in export.outcomes if outcome.empty])
    for outcome in export.outcomes:
        if outcome.histograms and kind != "json":
            click.echo(f"left out: {outcome.histograms} native histograms of {outcome.query}; json has them", err=True)
    for warning in sorted({warning for outcome in export.outcomes for warning in outcome.warnings}):
        click.echo(f"warning: {warning}", err=True)
    for outcome in export.failed:
        click.echo(f"failed: {outcome.query}: {outcome.error}", err=True)
    click.echo(
        f"{counts['samples']} samples in {counts['series']} series of {counts['found']} of {counts['queries']} queries"
        f"{where}; {counts['empty']} empty, {counts['failed']} failed",
        err=True,
    )
    if not counts["found"]:
        span = export.metadata({})
        click.echo(
            f"warning: nothing was found from {span['start']} to {span['end']}; "
            "--list-metrics with the same --start and --end names what there is",
            err=True,
        )
    return 1 if export.failed else 0


def _tell_empty(queries: list[str]) -> None:
    """Name the queries that found nothing; where they are many, say how many, unless more is wanted on stderr."""
    if len(queries) > _EMPTY_LISTED and not click.get_current_context().find_root().params.get("verbose"):
        click.echo(f"empty: {len(queries)} queries; charonctl -v metrics ... names them", err=True)
        return
    for query in queries:
        click.echo(f"empty: {query}", err=True)


async def _list_metrics(url: str, span: Span, *, as_json: bool) -> int:
    from charon.adapters.prometheus.query.client import Prometheus  # noqa: PLC0415 - imports HTTPX

    async with Prometheus(url) as prometheus:
        await prometheus.version()
        names = await prometheus.names(span)
        described = await prometheus.described() if as_json or sys.stdout.isatty() else {}
    if as_json:
        found = [(name, *described.get(name, ("", ""))) for name in names]
        click.echo(json.dumps([dict(zip(("name", "type", "help"), entry, strict=True)) for entry in found]))
    elif sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 - slow to import
        from rich.table import Table  # noqa: PLC0415 - slow to import

        table = Table("metric", "type", "help", box=None)
        for name in names:
            table.add_row(name, *described.get(name, ("", "")))
        Console().print(table)
    else:
        for name in names:
            click.echo(name)
    return 0


def _list_runs(*, as_json: bool) -> None:
    found = records()
    if as_json:
        click.echo(json.dumps([record.to_json() for record in found]))
        return
    for record in found:
        where = f"{record.namespace}/" if record.namespace else ""
        ended = record.to_json()["end"] or ("unseen" if _was_cut_off(record) else "not yet")
        click.echo(f"{where}{record.name}@{record.at}  {record.engine}  ended {ended}")


def _was_cut_off(record: RunRecord) -> bool:
    """Return whether a run on this machine was killed, so that nobody wrote down its end."""
    from charon.engines.embedded import find_runs  # noqa: PLC0415 - imports NATS

    if record.engine != "embedded" or record.ended_ns is not None:
        return False
    # One of a name runs here at a time, and the latest is it.
    latest = [found for found in records(record.name) if found.engine == "embedded"][-1]
    return record != latest or record.name not in {run.pipeline for run in find_runs()}
