"""The shell of charonctl: a prompt on a terminal, and lines from a pipe."""

from __future__ import annotations

import os
import sys


def start(*, verbose: bool = False) -> int:
    """Read commands from standard input until it ends, and return the exit status.

    On a terminal there is a prompt, with a history and completion. Anything else is run line by line.

    Parameters
    ----------
    verbose
        Whether every command says more on stderr.
    """
    from charon.cli.shell.lines import Lines  # noqa: PLC0415 - other commands start faster without
    from charon.cli.shell.process import Runner  # noqa: PLC0415 - imports subprocess

    try:
        terminal = os.isatty(0)
    except OSError:
        terminal = False
    lines = Lines(Runner(verbose=verbose, terminal=terminal))
    if terminal:
        from charon.cli.shell.prompt import interact  # noqa: PLC0415 - imports prompt_toolkit

        return interact(lines)
    from charon.cli.shell.script import run_lines  # noqa: PLC0415 - not needed on a terminal

    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - it is None where descriptor 0 is closed
        return 0
    return run_lines(sys.stdin.buffer, lines)
