"""``charonctl run``: run a pipeline, on a cluster or here."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from charon.adapters.addresses import without_credentials
from charon.adapters.kubernetes import Kubectl
from charon.cli import run_records
from charon.cli.parameters import Seconds, ShippedName
from charon.cli.signals import ended_by_signals
from charon.errors import UsageError

if TYPE_CHECKING:
    from charon.engines.embedded import Snapshot
    from charon.engines.manifest import Pipeline


# What follows FILE on a cluster is for kubectl: its options are not ours to know.
_FOR_KUBECTL = {"ignore_unknown_options": True, "allow_extra_args": True}


@click.command(context_settings=_FOR_KUBECTL)
@click.argument("manifest", metavar="FILE-OR-URL", type=ShippedName())
@click.option("--local", is_flag=True, help="On this machine, on the embedded engine; without, on a cluster.")
@click.option("--no-wait", is_flag=True, help="On a cluster: apply it and return at once.")
@click.option("--timeout", type=Seconds(1), default=300.0, show_default=True, help="Seconds to wait for it.")
@click.option("--output", type=click.Path(path_type=Path), help="With --local: results go here [out/PIPELINE/TIME].")
@click.option(
    "--storage",
    type=click.Choice(["memory", "file"]),
    default="memory",
    show_default=True,
    help="With --local: where buffers live; file survives the death of the nats-server.",
)
@click.option(
    "--buffer-mib", type=click.IntRange(1), default=2048, show_default=True, help="With --local: bound of each buffer."
)
@click.option(
    "--nats-port",
    type=click.IntRange(0, 65535),
    default=0,
    help="With --local: the nats-server's port on loopback; 0 takes a free one.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="With --local: serve the run's metrics on loopback; 0 takes a free port and names it.",
)
@click.option("--resume", is_flag=True, help="With --local: go on in a folder that holds an earlier run's results.")
@click.option("--frames", type=click.IntRange(0), help="With --local: drain and end after so many frames.")
@click.option("--quiet", is_flag=True, help="Show nothing until the end.")
@click.pass_context
def run(
    ctx: click.Context,
    manifest: str,
    local: bool,
    no_wait: bool,
    timeout: float,
    output: Path | None,
    storage: str,
    buffer_mib: int,
    nats_port: int,
    metrics_port: int | None,
    resume: bool,
    frames: int | None,
    quiet: bool,
) -> int:
    """Run the pipeline of a manifest.

    On a cluster: apply it (what follows FILE goes to `kubectl apply`, such as -n NAMESPACE) and wait until every
    vertex runs, or say why one does not. With --local: run it here until Ctrl-C, which finishes what was accepted.
    """
    if not local:
        given = [name for name in _LOCAL_ONLY if _was_given(ctx, name)]
        if given:
            raise UsageError(f"--{given[0].replace('_', '-')} is for runs on this machine: add --local")
        return run_on_cluster(manifest, ctx.args, wait=not no_wait, timeout_s=timeout, quiet=quiet)
    if ctx.args:
        raise click.UsageError(f"--local takes no arguments for kubectl: {' '.join(ctx.args)}")
    options = LocalOptions(output, storage, buffer_mib, nats_port, resume, frames, quiet, metrics_port)
    return run_here(manifest, options)


_LOCAL_ONLY = ("output", "storage", "buffer_mib", "nats_port", "metrics_port", "resume", "frames")


def _was_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """Options of a run on this machine; see ``charonctl run --help``."""

    output: Path | None
    storage: str
    buffer_mib: int
    nats_port: int
    resume: bool
    frames: int | None
    quiet: bool
    metrics_port: int | None = None


@ended_by_signals()
def run_on_cluster(manifest: str, arguments: list[str], *, wait: bool, timeout_s: float, quiet: bool = False) -> int:
    """Apply a manifest and wait until its pipeline runs."""
    from charon.cli.fetch import read_manifest  # noqa: PLC0415 - imports pydantic
    from charon.engines.cluster import ClusterPipeline, NotRunningError, wait_until_running  # noqa: PLC0415 - imports NATS
    from charon.engines.manifest import parse_pipeline  # noqa: PLC0415 - imports pydantic

    try:
        kubectl = Kubectl(arguments)
    except UsageError as error:
        raise UsageError(f"{error}; to run on this machine add --local") from error
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
        click.echo(f"the pipeline stays; see it with: status {name}; end it with: stop {name}", err=True)
        raise
    pods = sum(vertex.ready for vertex in view.vertices)
    click.echo(f"{pipeline.name} runs in namespace {namespace}: {len(view.vertices)} vertices, {pods} pods")
    return 0


def run_here(name: str, given: LocalOptions) -> int:
    """Run a manifest's pipeline on the embedded engine."""
    from charon.cli.fetch import local_file  # noqa: PLC0415 - imports pydantic
    from charon.cli.session import Session, Stillness, write_json  # noqa: PLC0415 - imports NATS and rich
    from charon.engines.embedded import EngineError, Options  # noqa: PLC0415 - imports NATS
    from charon.engines.manifest import read_pipeline  # noqa: PLC0415 - imports pydantic

    with local_file(name) as manifest:
        pipeline = read_pipeline(manifest)
        warn_about_unsupported_fields(pipeline)
        if given.resume and given.output is None:
            raise UsageError("--resume goes on in a folder: name it with --output")
        folder = given.output or Path("out") / pipeline.name / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        claim_output(folder, resume=given.resume)
        options = Options(
            output=folder,
            storage="file" if given.storage == "file" else "memory",
            buffer_bytes=given.buffer_mib * 2**20,
            nats_port=given.nats_port,
            metrics_port=given.metrics_port,
        )
        still = Stillness()

        def enough(snapshot: Snapshot) -> bool:
            return given.frames is not None and still(snapshot) and snapshot.account.published >= given.frames

        session = Session(pipeline, manifest, options, finished=enough, expected=given.frames, quiet=given.quiet)

        def on_ready() -> None:
            run_records.record_start(pipeline.name, engine="embedded", manifest=name)
            click.echo(f"{pipeline.name} runs; results go to {folder}", err=True)
            if session.engine.metrics_port is not None:
                click.echo(f"metrics: http://127.0.0.1:{session.engine.metrics_port}/metrics", err=True)

        try:
            asyncio.run(session.run(on_ready))
        except EngineError as error:
            click.echo(f"error: {error}", err=True)
            return 1
        finally:
            if session.final is not None:
                run_records.record_end(pipeline.name, namespace="")
                write_json(folder / "summary.json", session.summary())
    session.say_summary()
    if given.quiet and session.final is not None:
        say_what_was_held_back(session.final)
    click.echo(f"results: {folder}")
    return 0 if session.complete and session.final is not None and session.final.account.lost == 0 else 1


def say_what_was_held_back(final: Snapshot) -> None:
    """Give the last message of each replica: without it, nothing tells why frames were rejected."""
    for vertex, pages in final.by_vertex().items():
        for page in pages:
            for line in page.process.warnings[-1:]:
                click.echo(f"! {vertex}: {line}", err=True)


def warn_about_unsupported_fields(pipeline: Pipeline) -> None:
    """Name the fields that the embedded engine does not act on, other than those that only a cluster can."""
    unsupported_fields = sorted(pipeline.unsupported_fields(""))
    if unsupported_fields:
        click.echo(f"warning: fields that the embedded engine ignores: {', '.join(unsupported_fields)}", err=True)


def claim_output(folder: Path, *, resume: bool) -> None:
    """Make the output folder, and refuse one that holds another run's results.

    Raises
    ------
    UsageError
        If it holds results and `resume` is not said, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; give another folder with --output") from error
    if resume and not occupied:
        click.echo(f"warning: {folder} holds no run to go on with; a new one begins", err=True)
    if occupied and not resume:
        raise UsageError(f"{folder} holds files already; give another folder with --output, or --resume to go on in it")
