"""The supervised process of each replica: its command line, environment and log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charon.engines.embedded.commands import vertex_command
from charon.engines.embedded.processes import Process
from charon.settings import environment
from charon.settings.vertex import EmbeddedSettings

if TYPE_CHECKING:
    from pathlib import Path

    from charon.engines.embedded.buffers import Buffers
    from charon.engines.embedded.options import Options
    from charon.engines.manifest import Pipeline, Vertex

_DEFAULT_BATCH_SIZE = 8


def create_processes(
    pipeline: Pipeline, buffers: Buffers, options: Options, *, run: str, manifest: str, folder: Path, start_signal: str
) -> dict[str, list[Process]]:
    """Return the processes of each vertex, not started yet.

    Parameters
    ----------
    pipeline, manifest
        The pipeline, and the text of its manifest.
    buffers
        The edges of the run.
    options
        Options of the engine.
    run
        Name of the run.
    folder
        Folder for logs.
    start_signal
        Value that the sources wait for.

    Raises
    ------
    UsageError
        If the embedded engine does not support a vertex.
    """

    def create(vertex: Vertex, replica: int, command: list[str]) -> Process:
        edges = buffers.edges.items()
        settings = EmbeddedSettings(
            run=run,
            vertex=vertex.name,
            replica=replica,
            nats=buffers.address,
            inlets=tuple(name for edge, name in edges if edge.to == vertex.name),
            outlets=tuple(name for edge, name in edges if edge.from_ == vertex.name),
            read_batch_size=pipeline.limits_of(vertex).read_batch_size or _DEFAULT_BATCH_SIZE,
            start_signal=start_signal if vertex.source is not None else "",
        )
        variables = {
            **environment.copy(),
            "CHARON_OUTPUT": str(options.output),
            "CHARON_MANIFEST": manifest,
            "CHARON_FRAME_LOG": "" if options.frame_log is None else str(options.frame_log.absolute()),
            **(vertex.container.environment() if vertex.container else {}),
            **options.environment,
            **settings.to_environment(),
        }
        return Process(settings.page, command, variables, folder / f"{vertex.name}-{replica}.log")

    processes: dict[str, list[Process]] = {}
    for vertex in pipeline.spec.vertices:
        command = vertex_command(vertex)
        processes[vertex.name] = [create(vertex, replica, command) for replica in range(vertex.replicas)]
    return processes
