"""Runs a command of the shell in a process of its own.

The process is charonctl itself, as the system shell would start it. So a command behaves alike in both; nothing that it
sets (logging, environment, signal handlers, pvAccess's threads) is there for the next one; and what kills it does not
kill the shell. It costs the start of Python, 0.05 s.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import termios
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

INTERRUPTED = 130
# -P: a file of the current folder is no module of ours.
_CHARONCTL = (sys.executable, "-P", "-m", "charon.cli.main")


class Runner:
    """Starts commands, one at a time, on the shell's terminal.

    A command belongs to the shell's process group, as do the processes that it starts: Ctrl-C on the terminal reaches
    all of them, and the shell takes no notice of it.

    Parameters
    ----------
    verbose
        Whether commands say more on stderr.
    terminal
        Whether standard input is a terminal; commands share it. Otherwise it holds the shell's own lines, and commands
        get nothing to read.
    """

    def __init__(self, *, verbose: bool, terminal: bool) -> None:
        self._program = (*_CHARONCTL, "-v") if verbose else _CHARONCTL
        self._terminal = terminal
        self._modes = termios.tcgetattr(0) if terminal else None
        self._process: subprocess.Popen[bytes] | None = None
        self._ended_by = 0
        self.interrupted = False

    def run(self, words: Sequence[str]) -> int:
        """Run a command and return its exit status; 128 + the signal where one ended it.

        Raises
        ------
        SystemExit
            If the shell was told to end meanwhile; the command was told too, and has ended.
        """
        self.interrupted = False
        with self._signals():
            try:
                self._process = subprocess.Popen(  # noqa: S603 - charonctl, with what the user typed
                    [*self._program, *words], stdin=None if self._terminal else subprocess.DEVNULL
                )
            except OSError as error:
                click.echo(f"error: {words[0]} cannot be started: {error.strerror}", err=True)
                return 1
            if self._ended_by:
                self._process.send_signal(self._ended_by)
            status = self._process.wait()
            self._process = None
            self._restore_terminal()
        if self._ended_by:
            sys.exit(128 + self._ended_by)
        if status >= 0:
            return status
        if status != -signal.SIGINT:
            click.echo(f"error: {words[0]} was ended by {_name(-status)}", err=True)
        return 128 - status

    @contextmanager
    def _signals(self) -> Generator[None]:
        # Handlers, not SIG_IGN: that the command would inherit.
        wanted = {
            signal.SIGINT: self._note,
            signal.SIGQUIT: self._note,
            signal.SIGTERM: self._pass_on,
            signal.SIGHUP: self._pass_on,
        }
        before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, _number: int, _frame: object) -> None:
        self.interrupted = True

    def _pass_on(self, number: int, _frame: object) -> None:
        self._ended_by = number
        if self._process is not None:
            self._process.send_signal(number)

    def _restore_terminal(self) -> None:
        """Give the terminal its modes back, which a command that was killed leaves as it had them."""
        if self._modes is not None:
            with suppress(termios.error, OSError):
                if os.tcgetpgrp(0) == os.getpgrp():
                    termios.tcsetattr(0, termios.TCSADRAIN, self._modes)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
