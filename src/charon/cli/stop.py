"""``charonctl stop``: finish what was accepted and end a pipeline."""

from __future__ import annotations

import os
import signal
import time

import click

from charon.adapters.kubernetes import Kubectl
from charon.cli import run_records
from charon.cli.lookup import is_local, pipeline_on_cluster
from charon.cli.parameters import Seconds
from charon.cli.signals import ended_by_signals
from charon.errors import UnavailableError, UsageError


@click.command()
@click.argument("pipeline", required=False)
@click.argument("namespace", required=False)
@click.option("--local/--cluster", default=None, help="Where it runs [here, if one of the name does].")
@click.option("--timeout", type=Seconds(), default=300.0, show_default=True, help="Seconds to wait for the end.")
@click.option("--no-drain", is_flag=True, help="On a cluster: delete it at once, with what is in its buffers.")
def stop(pipeline: str | None, namespace: str | None, local: bool | None, timeout: float, no_drain: bool) -> int:
    """Drain a pipeline: its source ends, everything accepted is finished, then the rest ends.

    PIPELINE may be left out where there is only one. On a cluster it is paused first, which drains it, and deleted
    when it is empty.
    """
    here = is_local(pipeline, local) if namespace is None else bool(local)
    if here:
        return _stop_here(pipeline, timeout, namespace=namespace, no_drain=no_drain)
    return _stop_on_cluster(pipeline, namespace, timeout, no_drain=no_drain)


def _stop_here(pipeline: str | None, timeout: float, *, namespace: str | None, no_drain: bool) -> int:
    from charon.engines.embedded import find_run  # noqa: PLC0415 - imports NATS

    if namespace is not None:
        raise UsageError(f"a pipeline that runs here has no namespace; leave out {namespace!r}")
    if no_drain:
        raise UsageError("--no-drain is for a cluster; press Ctrl-C twice where the pipeline runs")
    info = find_run(pipeline)
    os.kill(info.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while info.alive:
        if time.monotonic() > deadline:
            click.echo(f"error: {info.pipeline} (pid {info.pid}) still drains after {timeout:.0f} s", err=True)
            return 1
        time.sleep(0.05)
    click.echo(f"{info.pipeline} has ended; results: {info.output}")
    return 0


@ended_by_signals()
def _stop_on_cluster(pipeline: str | None, namespace: str | None, timeout: float, *, no_drain: bool) -> int:
    import asyncio  # noqa: PLC0415 - slow to import

    from charon.cli.view import account_line, latency_line  # noqa: PLC0415 - imports rich
    from charon.engines.cluster import read_account  # noqa: PLC0415 - imports NATS

    kubectl = Kubectl()
    found = pipeline_on_cluster(kubectl, pipeline, namespace)
    stopped = found.stop(timeout, lambda line: click.echo(line, err=True), drain=not no_drain)
    with run_records.failure_as_warning():
        run_records.record_end(found.name, namespace=found.namespace)
    click.echo(f"{found.name} in namespace {found.namespace} has ended")
    try:
        snapshot = asyncio.run(read_account(kubectl, stopped.last, ended=bool(stopped.drained)))
    except UnavailableError as error:
        click.echo(f"the account of frames cannot be read: {error}", err=True)
        return 0
    if not snapshot.pages:
        click.echo("no vertex has written an account of frames", err=True)
        return 0
    click.echo(account_line(snapshot.account))
    click.echo(latency_line(snapshot.latency()))
    return 1 if snapshot.account.lost else 0
