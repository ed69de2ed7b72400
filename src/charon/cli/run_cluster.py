"""Run a pipeline on a cluster: apply its manifest and wait until it runs."""

from __future__ import annotations

import click

from charon.adapters.addresses import without_credentials
from charon.adapters.kubernetes import Kubectl
from charon.cli import run_records
from charon.cli.fetch import read_manifest
from charon.cli.signals import exit_on_signals
from charon.engines.cluster import ClusterPipeline, NotRunningError, wait_until_running
from charon.engines.manifest import parse_pipeline
from charon.errors import UsageError


@exit_on_signals()
def run_on_cluster(manifest: str, arguments: list[str], *, wait: bool, timeout_s: float, quiet: bool = False) -> int:
    """Apply a manifest, wait until its pipeline runs, and return the exit status."""
    try:
        kubectl = Kubectl(arguments)
    except UsageError as error:
        reason, _, remedy = str(error).partition("; ")
        raise UsageError(f"{reason}; to run on this machine, add --local{remedy and f'; else {remedy}'}") from error
    text = read_manifest(manifest)
    pipeline = parse_pipeline(text, without_credentials(manifest))
    namespace = pipeline.namespace or kubectl.namespace()
    on_cluster = ClusterPipeline(kubectl, pipeline.name, namespace)
    click.echo(on_cluster.apply(text, arguments), nl=False)
    if any(argument.startswith("--dry-run") for argument in arguments):
        return 0
    with run_records.failure_as_warning():
        run_records.record_start(pipeline.name, namespace=namespace, engine="numaflow", manifest=manifest)
    if not wait:
        return 0

    def report(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    try:
        view = wait_until_running(kubectl, pipeline.name, namespace, timeout_s=timeout_s, report=report)
    except NotRunningError as error:
        click.echo(f"error: {error}", err=True)
        return 1
    except KeyboardInterrupt:
        name = f"{pipeline.name} {namespace}"
        click.echo(f"the pipeline keeps running; check it with: status {name}; stop it with: stop {name}", err=True)
        raise
    pods = sum(vertex.ready for vertex in view.vertices)
    click.echo(f"{pipeline.name} runs in namespace {namespace}: {len(view.vertices)} vertices, {pods} pods")
    return 0
