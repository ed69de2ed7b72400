"""Run one line of the shell: built-in commands in this process, all others through a runner."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Protocol

import click

from charon.cli.registry import COMMANDS, unknown_command
from charon.cli.shell.tokenizer import LineError, split, strip_prompt

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_COMMANDS = ("exit", "quit")
SHELL_COMMANDS = (*COMMANDS, "help", *EXIT_COMMANDS)
_SHELL_HELP = """
In the shell:
  exit, quit  Leave the shell, optionally with an exit status. Ctrl-D does the same.
  Ctrl-C      Interrupt the running command. The shell continues.
  Tab         Complete commands, options, files and names on the cluster.
"""


class Runner(Protocol):
    """Runs charonctl commands."""

    interrupted: bool

    def run(self, words: Sequence[str]) -> int:
        """Run a command and return its exit status."""
        ...


class ShellExitError(Exception):
    """Request to exit the shell.

    Parameters
    ----------
    status
        The requested exit status, None if the line does not specify one.
    """

    def __init__(self, status: int | None) -> None:
        super().__init__(status)
        self.status = status


class Interpreter:
    """Runs lines of the shell.

    Parameters
    ----------
    runner
        Runs the commands that are not built in.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C was pressed while the last command ran."""
        return self._runner.interrupted

    def run(self, line: str) -> int:
        """Run a line and return its exit status, 0 for a line without a command.

        Raises
        ------
        ShellExitError
            If the line is ``exit`` or ``quit``.
        LineError
            If the line is not a valid command.
        """
        words = parse_command(line)
        if not words:
            return 0
        if words[0] in EXIT_COMMANDS:
            raise ShellExitError(_parse_exit_status(words))
        if words[0] == "help":
            return self._help(words)
        if not words[0].startswith("-") and words[0] not in SHELL_COMMANDS:
            raise LineError(unknown_command(words[0], SHELL_COMMANDS).replace("charonctl help", "help"))
        if not set(words) - {"-v", "--verbose"}:
            raise LineError(f"missing command after {words[0]}")
        return self._runner.run(words)

    def _help(self, words: list[str]) -> int:
        if words[1:] and words[1] in EXIT_COMMANDS:
            click.echo(f"{words[1]} [STATUS]: leave the shell with exit status STATUS")
            return 0
        status = self._runner.run(words)
        if len(words) == 1:
            click.echo(_SHELL_HELP, nl=False)
        return status


def parse_command(line: str) -> list[str]:
    """Return the words of a command, without a leading prompt or program name.

    Raises
    ------
    LineError
        If the line is not a valid command.
    """
    words = split(strip_prompt(line))
    if words and PurePath(words[0]).name == "charonctl":
        if len(words) == 1:
            raise LineError("already in the charonctl shell; type help for its commands")
        return words[1:]
    return words


def _parse_exit_status(words: list[str]) -> int | None:
    if len(words) == 1:
        return None
    if len(words) > 2 or not words[1].isdecimal() or int(words[1]) > 255:
        raise LineError(f"{words[0]}: the exit status must be a number from 0 to 255")
    return int(words[1])
