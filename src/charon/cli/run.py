"""``charonctl run``: run a pipeline here."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import click

from charon.frames.errors import UsageError


@click.command()
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--local", is_flag=True, help="On this machine, on the embedded engine.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder for results [out/PIPELINE/TIME].")
@click.option(
    "--storage",
    type=click.Choice(["memory", "file"]),
    default="memory",
    show_default=True,
    help="Where buffers live; file survives the death of the nats-server.",
)
@click.option("--buffer-mib", default=2048, show_default=True, help="Bound of each buffer.")
@click.option("--nats-port", default=0, help="Port of the nats-server on loopback; 0 takes a free one.")
@click.option("--resume", is_flag=True, help="Go on in a folder that holds an earlier run's results.")
@click.option("--frames", type=int, help="Drain and end after so many frames.")
@click.option("--quiet", is_flag=True, help="Show nothing until the end.")
def run(
    manifest: Path,
    local: bool,
    output: Path | None,
    storage: str,
    buffer_mib: int,
    nats_port: int,
    resume: bool,
    frames: int | None,
    quiet: bool,
) -> int:
    """Run the pipeline of a manifest until Ctrl-C, which finishes what was accepted."""
    from charon.cli.session import Session, Stillness, write_json
    from charon.engines.embedded import EngineError, Options, Snapshot
    from charon.engines.manifest import read_pipeline

    if not local:
        raise UsageError("running on a cluster is not built yet; add --local to run on this machine")
    pipeline = read_pipeline(manifest)
    passed_over = sorted(pipeline.passed_over(""))
    if passed_over:
        click.echo(f"warning: not honoured by the embedded engine: {', '.join(passed_over)}", err=True)
    folder = output or Path("out") / pipeline.name / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    claim_output(folder, resume=resume)
    options = Options(
        output=folder,
        storage="file" if storage == "file" else "memory",
        buffer_bytes=buffer_mib * 2**20,
        nats_port=nats_port,
    )

    still = Stillness()

    def enough(snapshot: Snapshot) -> bool:
        return frames is not None and still(snapshot) and snapshot.account.published >= frames

    session = Session(pipeline, manifest, options, finished=enough, expected=frames, quiet=quiet)
    try:
        asyncio.run(session.run(lambda: click.echo(f"{pipeline.name} runs; results go to {folder}", err=True)))
    except EngineError as error:
        click.echo(f"error: {error}", err=True)
        return 1
    finally:
        if session.final is not None:
            write_json(folder / "summary.json", session.summary())
    session.say_summary()
    click.echo(f"results: {folder}")
    return 0 if session.complete and session.final is not None and session.final.account.lost == 0 else 1


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
    if occupied and not resume:
        raise UsageError(f"{folder} holds files already; give another folder with --output, or --resume to go on in it")
