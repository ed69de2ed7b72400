"""``charonctl status``: state of a pipeline and its account of frames."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import click

from charon.adapters.kubernetes import Kubectl
from charon.cli.lookup import is_local, pipeline_on_cluster
from charon.cli.signals import exit_on_signals
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from charon.engines.embedded import RunInfo, Snapshot

_RATE_INTERVAL_S = 0.6
_ORDER = {"source": 0, "inference": 1, "sink": 2}


@click.command()
@click.argument("pipeline", required=False)
@click.argument("namespace", required=False)
@click.option(
    "--local/--cluster",
    default=None,
    help="Where the pipeline runs.  [default: local if a local run has that name or no cluster is configured]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(pipeline: str | None, namespace: str | None, local: bool | None, as_json: bool) -> int:
    """Show the state of a pipeline: vertices, pods or buffers, and the account of frames.

    PIPELINE is optional if there is only one.
    """
    here = is_local(pipeline, local) if namespace is None else bool(local)
    return _status_here(pipeline, as_json) if here else _status_on_cluster(pipeline, namespace, as_json)


def _status_here(pipeline: str | None, as_json: bool) -> int:
    from charon.engines.embedded import find_run  # noqa: PLC0415 - imports NATS

    info = find_run(pipeline)
    before, now = asyncio.run(_snapshots(info, interval_s=0.0 if as_json else _RATE_INTERVAL_S))
    if as_json:
        click.echo(json.dumps({"run": info.run, "pipeline": info.pipeline, "output": info.output, **now.to_json()}))
        return 0
    _show(info, before, now)
    return 0


@exit_on_signals()
def _status_on_cluster(pipeline: str | None, namespace: str | None, as_json: bool) -> int:
    from charon.cli.cluster_view import cluster_lines  # noqa: PLC0415 - imports rich
    from charon.engines.cluster import read_account  # noqa: PLC0415 - imports NATS

    kubectl = Kubectl()
    view = pipeline_on_cluster(kubectl, pipeline, namespace).observe()
    snapshot, ledger_error = None, ""
    try:
        snapshot = asyncio.run(read_account(kubectl, view, ended=view.phase == "Paused" and view.drained))
    except UnavailableError as error:
        ledger_error = str(error)
    if as_json:
        ledger = {"ledger_error": ledger_error} if snapshot is None else snapshot.to_json()
        click.echo(json.dumps({"pipeline": view.name, "cluster": view.to_json(), **ledger}))
        return 0
    for line in cluster_lines(view, snapshot, ledger_error):
        click.echo(line)
    return 0


async def _snapshots(info: RunInfo, interval_s: float) -> tuple[Snapshot, Snapshot]:
    """Return two snapshots, from which rates are computed."""
    from charon.adapters.nats import NatsConnection  # noqa: PLC0415 - imports NATS
    from charon.engines.embedded import read_snapshot  # noqa: PLC0415 - imports NATS

    connection = await NatsConnection.connect(info.address, "status", reconnect=False)
    try:
        edges = await connection.streams.names()
        before = await read_snapshot(connection, edges, expected=info.replicas)
        if interval_s == 0:
            return before, before
        await asyncio.sleep(interval_s)
        return before, await read_snapshot(connection, edges, expected=info.replicas)
    finally:
        await connection.close()


def _show(info: RunInfo, before: Snapshot, now: Snapshot) -> None:
    from charon.cli.view import Rates, live_view, plain_lines  # noqa: PLC0415 - imports rich

    rates = Rates()
    rates.update(before)
    current = rates.update(now)
    order = sorted(now.by_vertex(), key=lambda name: _sort_key(now, name))
    title = f"{info.pipeline}  {info.run}  results: {info.output}"
    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 - slow to import

        Console().print(live_view(title, info.pipeline, now, current, order))
    else:
        for line in plain_lines(title, info.pipeline, now, current, order):
            click.echo(line)


def _sort_key(snapshot: Snapshot, vertex: str) -> tuple[int, str]:
    kinds = [page.kind for page in snapshot.by_vertex()[vertex]]
    return (_ORDER.get(kinds[0], len(_ORDER)) if kinds else len(_ORDER), vertex)
