"""charonctl: the root command, its help and its shell."""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from charon import __version__
from charon.cli.exit_status import run_command
from charon.cli.registry import CONTEXT_SETTINGS, LazyGroup, unknown_command
from charon.cli.shell import start
from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings=CONTEXT_SETTINGS)
@click.version_option(__version__, prog_name="charonctl")
@click.option("-v", "--verbose", is_flag=True, help="Log details to stderr.")
@click.pass_context
def cli(ctx: click.Context, verbose: bool) -> int | None:
    """Live X-ray ptychography, from the detector to the image, with every frame accounted for.

    Without a command, start an interactive shell on a terminal, or run commands from standard input, one per line.
    """
    if ctx.invoked_subcommand is None:
        return start(verbose=verbose)
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    return None


@cli.command("help")
@click.argument("names", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def help_command(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Show help for charonctl, a command or a subcommand."""
    parent = ctx.parent
    if parent is None:
        return
    command: click.Command = cli
    with ExitStack() as stack:
        for name in names:
            # A command without subcommands, such as kubectl, parses the rest itself.
            if not isinstance(command, click.Group):
                break
            subcommand = command.get_command(parent, name)
            if subcommand is None:
                raise UsageError(unknown_command(name, command.list_commands(parent)))
            command, parent = subcommand, stack.enter_context(click.Context(subcommand, info_name=name, parent=parent))
        click.echo(command.get_help(parent))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run charonctl and exit: 0 for success, 1 for a failure, 2 for invalid usage."""
    sys.exit(run_command(cli, arguments, name="charonctl"))


if __name__ == "__main__":
    main()
