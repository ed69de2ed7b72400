"""``charonctl stop``: finish what was accepted and end a pipeline."""

from __future__ import annotations

import os
import signal
import time

import click


@click.command()
@click.argument("pipeline")
@click.option("--local/--cluster", default=True, help="Where it runs.")
@click.option("--timeout", default=300.0, show_default=True, help="Seconds to wait for the end.")
def stop(pipeline: str, local: bool, timeout: float) -> int:
    """Drain a pipeline that runs here: the source ends, everything accepted is finished, then the rest ends."""
    from charon.engines.embedded import find_run
    from charon.frames.errors import UsageError

    if not local:
        raise UsageError("a cluster's pipelines cannot be stopped yet; see: charonctl stop PIPELINE --local")
    info = find_run(pipeline)
    os.kill(info.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while info.alive:
        if time.monotonic() > deadline:
            click.echo(f"error: {pipeline} (pid {info.pid}) still drains after {timeout:.0f} s", err=True)
            return 1
        time.sleep(0.05)
    click.echo(f"{pipeline} has ended; results: {info.output}")
    return 0
