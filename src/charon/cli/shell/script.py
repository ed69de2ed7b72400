"""Lines from a pipe or a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from charon.cli.shell.lines import LeaveError
from charon.cli.shell.process import INTERRUPTED
from charon.cli.shell.words import LineError, goes_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from charon.cli.shell.lines import Lines


def run_lines(source: BinaryIO, lines: Lines) -> int:
    """Run lines one by one, whatever becomes of each; return the exit status of the first that failed.

    Parameters
    ----------
    source
        Bytes in UTF-8; others come through as they are, as in file names. A line is run when it has come.
    lines
        What runs them.
    """
    first_failure = 0
    for number, line in _commands(source):
        try:
            status = lines.run(line)
        except LeaveError as leave:
            return first_failure if leave.status is None else leave.status
        except LineError as error:
            click.echo(f"error: line {number}: {error}", err=True)
            status = 2
        first_failure = first_failure or status
        if lines.interrupted and status == INTERRUPTED:
            return status
    return first_failure


def _commands(source: BinaryIO) -> Iterator[tuple[int, str]]:
    """Yield each command and the number of its first line; a backslash at a line's end joins it to the next."""
    begun, first = "", 1
    for number, raw in enumerate(iter(source.readline, b""), start=1):
        line = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
        first = first if begun else number
        if goes_on(begun + line):
            begun += line[:-1]
            continue
        yield first, begun + line
        begun = ""
    if begun:
        yield first, begun
