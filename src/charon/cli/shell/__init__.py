"""The shell of charonctl: an interactive prompt on a terminal, a script reader for piped input."""

from __future__ import annotations

import os
import sys


def start(*, verbose: bool = False) -> int:
    """Run commands from standard input until it ends, and return the exit status.

    A terminal gets a prompt with history and completion; any other input is run line by line.

    Parameters
    ----------
    verbose
        Whether every command runs with ``--verbose``.
    """
    # charonctl's main module imports this one, and no other command needs the rest of the shell.
    from charon.cli.shell.interpreter import Interpreter  # noqa: PLC0415 - for the shell only
    from charon.cli.shell.process import ProcessRunner  # noqa: PLC0415 - imports subprocess

    try:
        terminal = os.isatty(0)
    except OSError:
        terminal = False
    interpreter = Interpreter(ProcessRunner(verbose=verbose, terminal=terminal))
    if terminal:
        from charon.cli.shell.prompt import interact  # noqa: PLC0415 - imports prompt_toolkit

        return interact(interpreter)
    from charon.cli.shell.script import run_lines  # noqa: PLC0415 - not needed on a terminal

    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - it is None if descriptor 0 is closed
        return 0
    return run_lines(sys.stdin.buffer, interpreter)
