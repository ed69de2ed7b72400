"""Run a pipeline on this machine, on the embedded engine."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from charon.adapters.addresses import without_credentials
from charon.cli import run_records
from charon.cli.completion import CompletionDetector
from charon.cli.fetch import local_file
from charon.cli.preflight import check_vertices
from charon.cli.session import Session
from charon.cli.summary import print_summary, run_summary, write_json
from charon.engines.embedded import EmbeddedEngine, EngineError, Options
from charon.engines.manifest import read_pipeline
from charon.errors import UsageError

if TYPE_CHECKING:
    from charon.engines.embedded import Snapshot
    from charon.engines.manifest import Pipeline


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
    frame_log: Path | None = None


def run_here(manifest: str, options: LocalOptions) -> int:
    """Run the pipeline of a manifest, a file or URL, and return the exit status."""
    with local_file(manifest) as path:
        pipeline = read_pipeline(path)
        warn_about_unsupported_fields(pipeline)
        if options.resume and options.output is None:
            raise UsageError("--resume requires --output, the folder of the run to resume")
        folder = options.output or Path("out") / pipeline.name / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        check_vertices(pipeline, without_credentials(manifest))
        prepare_output(folder, resume=options.resume)
        if options.frame_log is not None:
            prepare_frame_log(options.frame_log, resume=options.resume)
        session = _session(pipeline, path, folder, options)
        status = _run(session, manifest, folder)
    if status:
        return status
    print_summary(session)
    if options.quiet and session.final is not None:
        print_last_warnings(session.final)
    click.echo(f"results: {folder}")
    return 0 if session.complete and session.final is not None and session.final.account.lost == 0 else 1


def _session(pipeline: Pipeline, manifest: Path, folder: Path, options: LocalOptions) -> Session:
    complete = CompletionDetector()

    def finished(snapshot: Snapshot) -> bool:
        return options.frames is not None and complete(snapshot) and snapshot.account.published >= options.frames

    engine_options = Options(
        output=folder,
        storage="file" if options.storage == "file" else "memory",
        buffer_bytes=options.buffer_mib * 2**20,
        nats_port=options.nats_port,
        metrics_port=options.metrics_port,
        frame_log=options.frame_log,
    )
    engine = EmbeddedEngine(pipeline, manifest, engine_options)
    return Session(engine, finished=finished, expected=options.frames, quiet=options.quiet)


def _run(session: Session, manifest: str, folder: Path) -> int:
    """Run a session, record it and write its summary; return 1 if the engine has failed."""
    name = session.engine.pipeline.name

    def on_ready() -> None:
        run_records.record_start(name, engine="embedded", manifest=manifest)
        click.echo(f"{name} is running; results: {folder}", err=True)
        if session.engine.metrics_port is not None:
            click.echo(f"metrics: http://127.0.0.1:{session.engine.metrics_port}/metrics", err=True)

    try:
        asyncio.run(session.run(on_ready))
    except EngineError as error:
        click.echo(f"error: {error}", err=True)
        return 1
    finally:
        if session.final is not None:
            run_records.record_end(name, namespace="")
            write_json(folder / "summary.json", run_summary(session))
    return 0


def print_last_warnings(final: Snapshot) -> None:
    """Print the last warning of each replica, such as the reason of a rejection."""
    for vertex, pages in final.by_vertex().items():
        for page in pages:
            for line in page.process.warnings[-1:]:
                click.echo(f"! {vertex}: {line}", err=True)


def warn_about_unsupported_fields(pipeline: Pipeline) -> None:
    """Print the manifest's fields that the embedded engine ignores, except those that require a cluster."""
    unsupported_fields = sorted(pipeline.unsupported_fields(""))
    if unsupported_fields:
        click.echo(f"warning: fields that the embedded engine ignores: {', '.join(unsupported_fields)}", err=True)


def prepare_output(folder: Path, *, resume: bool, can_resume: bool = True) -> None:
    """Create the output folder.

    Parameters
    ----------
    folder
        The folder.
    resume
        Whether it may contain an earlier run.
    can_resume
        Whether the command has the option ``--resume``.

    Raises
    ------
    UsageError
        If the folder cannot be created, or contains files and `resume` is False.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; choose another folder with --output") from error
    if resume and not occupied:
        click.echo(f"warning: {folder} contains no run to resume; starting a new one", err=True)
    if occupied and not resume:
        remedy = "choose another folder with --output" + (", or resume its run with --resume" if can_resume else "")
        raise UsageError(f"{folder} is not empty; {remedy}")


def prepare_frame_log(folder: Path, *, resume: bool) -> None:
    """Create the folder of the frame logs.

    Raises
    ------
    UsageError
        If the folder cannot be created, or contains frame logs and `resume` is False.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; choose another folder with --frame-log") from error
    if not resume and any(folder.glob("*.bin")):
        raise UsageError(f"{folder} contains frame logs of another run; choose another folder with --frame-log")
