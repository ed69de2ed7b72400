"""Runs one line of the shell: its own words here, commands in processes of their own."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Protocol

import click

from charon.cli.registry import COMMANDS, unknown_command
from charon.cli.shell.words import LineError, split, without_prompt

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAVING = ("exit", "quit")
KNOWN = (*COMMANDS, "help", *LEAVING)
_OF_THE_SHELL = """
In the shell:
  exit, quit  Leave; so does Ctrl-D. A number after it is the exit status.
  Ctrl-C      Stops the running command, and not the shell.
  Tab         Completes commands, options, files and names on the cluster.
"""


class Runs(Protocol):
    """What runs a command."""

    interrupted: bool

    def run(self, words: Sequence[str]) -> int:
        """Run a command and return its exit status."""
        ...


class LeaveError(Exception):
    """The shell is to be left.

    Parameters
    ----------
    status
        With this exit status; None where the line names none.
    """

    def __init__(self, status: int | None) -> None:
        super().__init__(status)
        self.status = status


class Lines:
    """Runs lines.

    Parameters
    ----------
    runner
        What runs the commands.
    """

    def __init__(self, runner: Runs) -> None:
        self._runner = runner

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C was pressed while the last command ran."""
        return self._runner.interrupted

    def run(self, line: str) -> int:
        """Run a line and return its exit status, 0 for a line without a command.

        Raises
        ------
        LeaveError
            If it says so.
        LineError
            If it is no command.
        """
        words = words_of(line)
        if not words:
            return 0
        if words[0] in LEAVING:
            raise LeaveError(_status(words))
        if words[0] == "help":
            return self._help(words)
        if not words[0].startswith("-") and words[0] not in KNOWN:
            raise LineError(unknown_command(words[0], KNOWN).replace("charonctl help", "help"))
        if not set(words) - {"-v", "--verbose"}:
            raise LineError(f"{words[0]} wants a command after it")
        return self._runner.run(words)

    def _help(self, words: list[str]) -> int:
        if words[1:] and words[1] in LEAVING:
            click.echo(f"{words[1]} [STATUS]: leave the shell, with this exit status")
            return 0
        status = self._runner.run(words)
        if len(words) == 1:
            click.echo(_OF_THE_SHELL, nl=False)
        return status


def words_of(line: str) -> list[str]:
    """Return the words of a command, without the prompt or the program's name before it.

    Raises
    ------
    LineError
        If the line is no command.
    """
    words = split(without_prompt(line))
    if words and PurePath(words[0]).name == "charonctl":
        if len(words) == 1:
            raise LineError("this is charonctl's shell already; help lists the commands")
        return words[1:]
    return words


def _status(words: list[str]) -> int | None:
    if len(words) == 1:
        return None
    if len(words) > 2 or not words[1].isdecimal() or int(words[1]) > 255:
        raise LineError(f"{words[0]} takes an exit status between 0 and 255, or nothing")
    return int(words[1])
