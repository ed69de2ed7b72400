"""``charonctl run``: run a pipeline on a cluster or on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from charon.cli.parameters import Seconds, ShippedName, is_set
from charon.errors import UsageError

# All other arguments are options of kubectl apply.
_ACCEPT_KUBECTL_ARGUMENTS = {"ignore_unknown_options": True, "allow_extra_args": True}
_CLUSTER_ONLY = ("no_wait", "timeout")
_LOCAL_ONLY = ("output", "storage", "buffer_mib", "nats_port", "metrics_port", "resume", "frames", "frame_log")


@click.command(context_settings=_ACCEPT_KUBECTL_ARGUMENTS)
@click.argument("manifest", metavar="FILE-OR-URL", type=ShippedName())
@click.option("--local", is_flag=True, help="Run on this machine, on the embedded engine, instead of a cluster.")
@click.option("--no-wait", is_flag=True, help="On a cluster: apply the manifest and return immediately.")
@click.option(
    "--timeout",
    type=Seconds(1),
    default=300.0,
    show_default=True,
    help="On a cluster: seconds to wait until every vertex runs.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="With --local: folder for results.  [default: out/PIPELINE/TIME]",
)
@click.option(
    "--storage",
    type=click.Choice(["memory", "file"]),
    default="memory",
    show_default=True,
    help="With --local: storage of the buffers; file survives a crash of the nats-server.",
)
@click.option(
    "--buffer-mib",
    type=click.IntRange(1),
    default=2048,
    show_default=True,
    help="With --local: size limit of each buffer in MiB.",
)
@click.option(
    "--nats-port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="With --local: port of the nats-server on loopback; 0 selects a free one.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="With --local: serve the run's metrics on this loopback port; 0 selects a free one and prints it.",
)
@click.option(
    "--frame-log",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="With --local: append a record of each frame's receipt, result and stitching to a file per replica in this"
    " folder; a record costs 1 to 2 us of CPU time.",
)
@click.option("--resume", is_flag=True, help="With --local: resume the run whose results are in the output folder.")
@click.option("--frames", type=click.IntRange(0), help="With --local: drain and exit after this number of frames.")
@click.option("--quiet", is_flag=True, help="Print nothing until the end.")
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
    frame_log: Path | None,
    resume: bool,
    frames: int | None,
    quiet: bool,
) -> int:
    """Run the pipeline of a manifest.

    On a cluster: apply the manifest and wait until every vertex runs, or report why a vertex does not. Other
    arguments, such as -n NAMESPACE, are passed to `kubectl apply`. With --local: run until Ctrl-C, then drain.
    """
    if not local:
        from charon.cli.run_cluster import run_on_cluster  # noqa: PLC0415 - imports pydantic and NATS

        local_only = [name for name in _LOCAL_ONLY if is_set(ctx, name)]
        if local_only:
            raise UsageError(f"--{local_only[0].replace('_', '-')} requires --local")
        return run_on_cluster(manifest, ctx.args, wait=not no_wait, timeout_s=timeout, quiet=quiet)
    from charon.cli.run_local import LocalOptions, run_here  # noqa: PLC0415 - imports NATS and rich

    cluster_only = [name for name in _CLUSTER_ONLY if is_set(ctx, name)]
    if cluster_only:
        raise UsageError(f"--{cluster_only[0].replace('_', '-')} requires a cluster; remove it, or --local")
    if ctx.args:
        raise UsageError(f"--local does not accept arguments of kubectl: {' '.join(ctx.args)}")
    options = LocalOptions(output, storage, buffer_mib, nats_port, resume, frames, quiet, metrics_port, frame_log)
    return run_here(manifest, options)
