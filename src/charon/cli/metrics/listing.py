"""List the metrics of a Prometheus server and the recorded runs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from charon.adapters.prometheus.query import PrometheusClient
from charon.cli.run_records import records
from charon.engines.embedded import find_runs

if TYPE_CHECKING:
    from charon.adapters.prometheus.query import QueryRange
    from charon.cli.run_records import RunRecord


async def list_metrics(url: str, query_range: QueryRange, *, as_json: bool) -> None:
    """Print the metrics that have samples in a range: as JSON, as a table on a terminal, else one name per line."""
    async with PrometheusClient(url) as client:
        await client.version()
        names = await client.metric_names(query_range)
        metadata = await client.metadata() if as_json or sys.stdout.isatty() else {}
    rows = [(name, *metadata.get(name, ("", ""))) for name in names]
    if as_json:
        click.echo(json.dumps([dict(zip(("name", "type", "help"), row, strict=True)) for row in rows]))
    elif sys.stdout.isatty():
        _print_table(rows)
    else:
        for name in names:
            click.echo(name)


def list_runs(*, as_json: bool) -> None:
    """Print the recorded runs, as JSON or one per line."""
    runs = records()
    if as_json:
        click.echo(json.dumps([record.to_json() for record in runs]))
        return
    if not runs:
        click.echo("no recorded runs", err=True)
    for record in runs:
        namespace = f"{record.namespace}/" if record.namespace else ""
        ended = record.to_json()["end"] or ("unknown" if has_unknown_end(record) else "not yet")
        click.echo(f"{namespace}{record.name}@{record.at}  {record.engine}  ended {ended}")


def has_unknown_end(record: RunRecord) -> bool:
    """Return whether a local run was killed, so that its end was not recorded."""
    if record.engine != "embedded" or record.ended_ns is not None:
        return False
    # Only one local run of a name can be running, and it is the latest.
    latest = [run for run in records(record.name) if run.engine == "embedded"][-1]
    return record != latest or record.name not in {run.pipeline for run in find_runs()}


def _print_table(rows: list[tuple[str, str, str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to import; only a terminal needs it
    from rich.table import Table  # noqa: PLC0415

    table = Table("metric", "type", "help", box=None)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
