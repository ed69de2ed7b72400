"""Command and options of ``charonctl metrics``.

Modules that query Prometheus are imported only when the command runs: importing HTTPX takes 0.1 s, and help and
completion do not need it.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import click

from charon.cli.parameters import ShippedPath
from charon.cli.signals import exit_on_signals
from charon.errors import UsageError

_FORMATS = ["json", "csv", "parquet"]


@click.command()
@click.argument("prometheus-url", required=False)
@click.option(
    "--start",
    help="Start of the range: RFC 3339 with zone, Unix seconds, or relative (-15m).  "
    "[default: start of --run, otherwise 15 min before --end]",
)
@click.option("--end", help="End of the range, in the same formats as --start.  [default: end of --run, otherwise now]")
@click.option(
    "--step",
    help="Interval between evaluations: seconds, or a duration (15s).  [default: depends on the range; 5s for 1 h]",
)
@click.option("--query", "queries", multiple=True, metavar="PROMQL", help="PromQL query; repeatable.")
@click.option("--queries-file", type=ShippedPath(), help="File with one PromQL query per line; # starts a comment.")
@click.option(
    "--run",
    "run_name",
    metavar="[NAMESPACE/]NAME[@TIME]",
    help="Use the times, namespace and pipeline of a recorded run.",
)
@click.option("--namespace", help="Value of $namespace in queries.  [default: from --run, otherwise any]")
@click.option("--pipeline", help="Value of $pipeline in queries.  [default: from --run, otherwise any]")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Output file; folders are created.  [default: - (stdout)]"
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(_FORMATS),
    help="Output format.  [default: from the suffix of --output, otherwise json]",
)
@click.option("--list-metrics", is_flag=True, help="List the metrics that have samples in the range, and exit.")
@click.option("--list-runs", is_flag=True, help="List the recorded runs, and exit.")
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
    """Run PromQL range queries on the Prometheus server at PROMETHEUS_URL, and save the results."""
    from charon.cli.metrics import listing, options  # noqa: PLC0415
    from charon.cli.metrics.export import export_queries  # noqa: PLC0415

    # With --verbose, log one line per HTTP request instead of every step of it.
    logging.getLogger("httpcore").setLevel(logging.INFO)
    if list_runs:
        listing.list_runs(as_json=kind == "json")
        return 0
    if prometheus_url is None:
        raise UsageError("missing URL of the Prometheus server, such as http://localhost:9090")
    record, query_range = options.resolve_range(start, end, step, run_name)
    if list_metrics:
        if queries or queries_file or output:
            raise UsageError("--list-metrics writes names to stdout and runs no queries")
        asyncio.run(listing.list_metrics(prometheus_url, query_range, as_json=kind == "json"))
        return 0
    resolved = options.resolve_queries(queries, queries_file, options.variables(namespace, pipeline, record))
    if output == Path("-"):
        output = None
    kind = kind or _format_of(output)
    options.check_format(kind, output)
    with exit_on_signals():
        return export_queries(prometheus_url, resolved, query_range, record, output, kind)


def _format_of(output: Path | None) -> str:
    """Return the format that the suffix of the output file selects, else JSON."""
    suffix = output.suffix.removeprefix(".").lower() if output is not None else ""
    return suffix if suffix in _FORMATS else "json"
