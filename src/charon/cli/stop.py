"""``charonctl stop``: drain and stop a pipeline."""

from __future__ import annotations

import os
import signal
import time

import click

from charon.adapters.kubernetes import Kubectl
from charon.cli import run_records
from charon.cli.lookup import is_local, pipeline_on_cluster
from charon.cli.parameters import Seconds
from charon.cli.signals import exit_on_signals
from charon.errors import UnavailableError, UsageError

_POLL_INTERVAL_S = 0.05


@click.command()
@click.argument("pipeline", required=False)
@click.argument("namespace", required=False)
@click.option(
    "--local/--cluster",
    default=None,
    help="Where the pipeline runs.  [default: local if a local run has that name or no cluster is configured]",
)
@click.option("--timeout", type=Seconds(), default=300.0, show_default=True, help="Seconds to wait for the drain.")
@click.option(
    "--no-drain", is_flag=True, help="On a cluster: delete the pipeline immediately; frames in its buffers are lost."
)
def stop(pipeline: str | None, namespace: str | None, local: bool | None, timeout: float, no_drain: bool) -> int:
    """Drain and stop a pipeline: its source stops, all accepted frames are processed, then the other vertices stop.

    PIPELINE is optional if there is only one. On a cluster the pipeline is paused, which drains it, and deleted when
    its buffers are empty.
    """
    here = is_local(pipeline, local) if namespace is None else bool(local)
    if here:
        return _stop_here(pipeline, timeout, namespace=namespace, no_drain=no_drain)
    return _stop_on_cluster(pipeline, namespace, timeout, no_drain=no_drain)


def _stop_here(pipeline: str | None, timeout: float, *, namespace: str | None, no_drain: bool) -> int:
    from charon.engines.embedded import find_run  # noqa: PLC0415 - imports NATS

    if namespace is not None:
        raise UsageError(f"a local pipeline has no namespace; remove {namespace!r}")
    if no_drain:
        raise UsageError("--no-drain requires a cluster; to abort a local run, press Ctrl-C twice in its terminal")
    info = find_run(pipeline)
    os.kill(info.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while info.alive:
        if time.monotonic() > deadline:
            click.echo(f"error: {info.pipeline} (pid {info.pid}) has not drained after {timeout:.0f} s", err=True)
            return 1
        time.sleep(_POLL_INTERVAL_S)
    click.echo(f"{info.pipeline} has ended; results: {info.output}")
    return 0


@exit_on_signals()
def _stop_on_cluster(pipeline: str | None, namespace: str | None, timeout: float, *, no_drain: bool) -> int:
    import asyncio  # noqa: PLC0415 - slow to import

    from charon.cli.view import account_line, latency_line  # noqa: PLC0415 - imports rich
    from charon.engines.cluster import read_account  # noqa: PLC0415 - imports NATS

    kubectl = Kubectl()
    target = pipeline_on_cluster(kubectl, pipeline, namespace)
    stopped = target.stop(timeout, lambda line: click.echo(line, err=True), drain=not no_drain)
    with run_records.failure_as_warning():
        run_records.record_end(target.name, namespace=target.namespace)
    click.echo(f"{target.name} in namespace {target.namespace} has ended")
    try:
        snapshot = asyncio.run(read_account(kubectl, stopped.last, ended=bool(stopped.drained)))
    except UnavailableError as error:
        click.echo(f"cannot read the account of frames: {error}", err=True)
        return 0
    if not snapshot.pages:
        click.echo("no vertex has written an account of frames", err=True)
        return 0
    click.echo(account_line(snapshot.account))
    click.echo(latency_line(snapshot.latency()))
    return 1 if snapshot.account.lost else 0
