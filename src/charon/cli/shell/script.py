"""Run the shell's lines from a pipe or a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from charon.cli.shell.interpreter import ShellExitError
from charon.cli.shell.process import INTERRUPTED
from charon.cli.shell.tokenizer import LineError, is_continued

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from charon.cli.shell.interpreter import Interpreter


def run_lines(source: BinaryIO, interpreter: Interpreter) -> int:
    """Run all lines, even after a failure; return the exit status of the first line that failed.

    Parameters
    ----------
    source
        UTF-8; other bytes are passed on unchanged, as in file names. Each line is run as soon as it is received.
    interpreter
        Runs the lines.
    """
    first_failure = 0
    for number, line in _commands(source):
        try:
            status = interpreter.run(line)
        except ShellExitError as request:
            return first_failure if request.status is None else request.status
        except LineError as error:
            click.echo(f"error: line {number}: {error}", err=True)
            status = 2
        first_failure = first_failure or status
        if interpreter.interrupted and status == INTERRUPTED:
            return status
    return first_failure


def _commands(source: BinaryIO) -> Iterator[tuple[int, str]]:
    """Yield the number of each command's first line, and the command with its continuation lines joined."""
    pending, first = "", 1
    for number, raw in enumerate(iter(source.readline, b""), start=1):
        line = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
        first = first if pending else number
        if is_continued(pending + line):
            pending += line[:-1]
            continue
        yield first, pending + line
        pending = ""
    if pending:
        yield first, pending
