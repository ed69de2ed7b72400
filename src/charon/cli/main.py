"""charonctl: one table of commands, each loaded only when it is called."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from charon import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "demo": ("charon.cli.demo:demo", "simulate a scan and reconstruct it live, on this machine"),
    "detector": ("charon.cli.detector:detector", "publish simulated or recorded frames over pvAccess"),
    "kubectl": ("charon.cli.kubectl:kubectl", "hand arguments on to kubectl, for the cluster that is found"),
    "metrics": ("charon.cli.metrics:metrics", "save what a Prometheus has kept of a run"),
    "model": ("charon.cli.model:model", "list, show and import model bundles"),
    "provision": ("charon.cli.provision:provision", "make a node ready with an Ansible playbook"),
    "reclaim": ("charon.cli.reclaim:reclaim", "make released volumes available again"),
    "run": ("charon.cli.run:run", "run a pipeline"),
    "status": ("charon.cli.status:status", "show where every frame of a run is"),
    "stop": ("charon.cli.stop:stop", "finish what was accepted and end a pipeline"),
    "train": ("charon.cli.train:train", "train a network for an instrument"),
}
"""Name of each command, where it is found, and what it does in a line."""


class Charonctl(click.Group):
    """Finds a command by its name and imports it only then, so that help answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return [*COMMANDS, "help"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by name."""
        if cmd_name == "help":
            return help_command
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with.

        Raises
        ------
        click.UsageError
            If there is none; it names the nearest.
        """
        name = args[0]
        if name not in self.list_commands(ctx) and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(unknown_command(name, self.list_commands(ctx)))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def unknown_command(name: str, known: Sequence[str]) -> str:
    """Return what to say of a name that no command has, with the nearest that one has."""
    # Imported only now: nearly no call needs it.
    from difflib import get_close_matches

    nearest = get_close_matches(name, known, n=1)
    meant = f"did you mean {nearest[0]}? " if nearest else ""
    return f"no command is called {name!r}; {meant}see: charonctl help"


@click.group(
    cls=Charonctl,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="charonctl")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@click.pass_context
def cli(ctx: click.Context, verbose: bool) -> int | None:
    """Live X-ray ptychography, from the detector to the image, every frame accounted for.

    Without a command: a shell on a terminal; otherwise the lines of standard input are run one by one.
    """
    if ctx.invoked_subcommand is None:
        from charon.cli.shell import start

        return start(verbose=verbose)
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    return None


@click.command("help")
@click.argument("command", nargs=-1)
@click.pass_context
def help_command(ctx: click.Context, command: tuple[str, ...]) -> None:
    """Show what there is, or what a command takes; of a command of several words, say all of them."""
    parent = ctx.parent
    if parent is None:
        return
    found: click.Command = cli
    with ExitStack() as stack:
        for word in command:
            # What follows a command that has no others below it, as after kubectl, is that command's own.
            if not isinstance(found, click.Group):
                break
            below = found.get_command(parent, word)
            if below is None:
                raise click.UsageError(unknown_command(word, found.list_commands(parent)))
            found, parent = below, stack.enter_context(click.Context(below, info_name=word, parent=parent))
        click.echo(found.get_help(parent))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run charonctl; exit with 0, 1 for what failed, 2 for a wrong call."""
    sys.exit(run_command(cli, arguments, name="charonctl"))


def run_command(command: click.Command, arguments: Sequence[str] | None, name: str | None = None) -> int:
    """Run a command and return its exit status; errors become one line on stderr.

    Parameters
    ----------
    command, arguments
        What to run, on what; None takes the arguments of this process.
    name
        What help calls the program; None takes the name that it was started under.
    """
    try:
        given = None if arguments is None else list(arguments)
        result = command.main(args=given, prog_name=name, standalone_mode=False)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.Abort:
        return 130
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}", err=True)
        return error.exit_code
    except Exception as error:
        # Imported only now: the room of the frames brings NumPy, which would slow down every help text.
        from charon.errors import UnavailableError, UsageError

        if _of_stdout(error):
            _give_up_stdout()
            error = UnavailableError(f"the output cannot be written: {error}")
        if not isinstance(error, UsageError | UnavailableError):
            raise
        click.echo(f"error: {error}", err=True)
        return 2 if isinstance(error, UsageError) else 1
    return result if isinstance(result, int) else 0


def _of_stdout(error: Exception) -> bool:
    """Return whether a disk is full, or gone, behind what has no name: what is written to a file names it."""
    full = {errno.ENOSPC, errno.EDQUOT, errno.EIO}
    return type(error) is OSError and error.errno in full and error.filename is None


def _give_up_stdout() -> None:
    """Let go what is not written yet: Python would try again at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    main()
