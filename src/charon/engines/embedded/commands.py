"""Command lines of the vertices' processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from charon.errors import UsageError

if TYPE_CHECKING:
    from charon.engines.manifest import Container, Vertex

PROGRAM = "charon-vertex"


def vertex_command(vertex: Vertex) -> list[str]:
    """Return the command line of a vertex's process.

    Raises
    ------
    UsageError
        If the vertex does not run ``charon-vertex``.
    """
    program = [sys.executable, "-m", "charon.cli.vertex"]
    container = vertex.container
    if container is not None:
        return [*program, *_arguments(vertex.name, container)]
    if vertex.sink is not None and vertex.sink.log is not None:
        return [*program, "log-sink"]
    if vertex.sink is not None and vertex.sink.blackhole is not None:
        return [*program, "log-sink", "--quiet"]
    raise UsageError(f"vertex {vertex.name!r}: the embedded engine has no built-in functions; use a container")


def _arguments(vertex: str, container: Container) -> list[str]:
    command = [*container.command, *container.args]
    if container.command:
        if Path(container.command[0]).name != PROGRAM:
            raise UsageError(
                f"vertex {vertex!r}: unsupported command {container.command[0]!r};"
                f" the embedded engine runs {PROGRAM} only"
            )
        command = command[1:]
    if not command:
        raise UsageError(
            f"vertex {vertex!r}: its container has no args; set them to a {PROGRAM} command, such as inference"
        )
    return command
