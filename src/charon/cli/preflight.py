"""Check the commands of a pipeline's vertices before anything starts."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from charon.adapters.inference.bundle import BundleError, load_bundle
from charon.cli.exit_status import format_click_error
from charon.cli.vertex import vertex as vertex_group
from charon.engines.embedded.commands import PROGRAM, vertex_command
from charon.errors import UsageError

if TYPE_CHECKING:
    from charon.engines.manifest import Pipeline

# Interpreter, -m and module.
_PREFIX_LENGTH = 3


def check_vertices(pipeline: Pipeline, manifest: str) -> None:
    """Parse the command of each vertex, and load its model bundle.

    Raises
    ------
    UsageError
        If a command or a bundle is invalid; the message names the manifest and the vertex.
    """
    for vertex in pipeline.spec.vertices:
        arguments = vertex_command(vertex)[_PREFIX_LENGTH:]
        try:
            with suppress(click.exceptions.Exit):  # --help
                _check_command(arguments)
        except click.ClickException as error:
            raise UsageError(f"{manifest}: vertex {vertex.name!r}: {format_click_error(error)}") from error
        except (BundleError, UsageError) as error:
            raise UsageError(f"{manifest}: vertex {vertex.name!r}: {error}") from error


def _check_command(arguments: list[str]) -> None:
    with click.Context(vertex_group, info_name=PROGRAM) as parent:
        name, command, rest = vertex_group.resolve_command(parent, arguments)
        if command is None:
            return
        with command.make_context(name, rest, parent=parent) as context:
            model = context.params.get("model")
    if model is not None:
        load_bundle(model)
