"""Run a command of the shell in a separate process.

The process is charonctl itself, as the system shell would start it, so that a command behaves the same in both. Its
logging, environment, signal handlers and pvAccess threads do not affect later commands, and a crash does not end the
shell. The cost is the start of Python, 0.05 s.
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
# -P: modules in the current folder must not shadow installed ones.
_CHARONCTL = (sys.executable, "-P", "-m", "charon.cli.main")


class ProcessRunner:
    """Runs commands, one at a time, on the shell's terminal.

    Commands and their child processes belong to the shell's process group: Ctrl-C on the terminal interrupts all of
    them, and the shell ignores it.

    Parameters
    ----------
    verbose
        Whether commands run with ``--verbose``.
    terminal
        Whether standard input is a terminal, which commands then share. Otherwise it contains the shell's own lines,
        and the standard input of commands is empty.
    """

    def __init__(self, *, verbose: bool, terminal: bool) -> None:
        self._program = (*_CHARONCTL, "-v") if verbose else _CHARONCTL
        self._terminal = terminal
        self._terminal_modes = termios.tcgetattr(0) if terminal else None
        self._process: subprocess.Popen[bytes] | None = None
        self._received_signal = 0
        self.interrupted = False

    def run(self, words: Sequence[str]) -> int:
        """Run a command and return its exit status; 128 + N if signal N terminated it.

        Raises
        ------
        SystemExit
            If the shell received SIGTERM or SIGHUP; the command received it too and has ended.
        """
        self.interrupted = False
        with self._signals():
            try:
                self._process = subprocess.Popen(  # noqa: S603 - charonctl with the user's arguments
                    [*self._program, *words], stdin=None if self._terminal else subprocess.DEVNULL
                )
            except OSError as error:
                click.echo(f"error: failed to start {words[0]}: {error.strerror}", err=True)
                return 1
            if self._received_signal:
                self._process.send_signal(self._received_signal)
            status = self._process.wait()
            self._process = None
            self._restore_terminal()
        if self._received_signal:
            sys.exit(128 + self._received_signal)
        if status >= 0:
            return status
        if status != -signal.SIGINT:
            click.echo(f"error: {words[0]} was terminated by {_signal_name(-status)}", err=True)
        return 128 - status

    @contextmanager
    def _signals(self) -> Generator[None]:
        # Not SIG_IGN, which the command would inherit.
        handlers = {
            signal.SIGINT: self._set_interrupted,
            signal.SIGQUIT: self._set_interrupted,
            signal.SIGTERM: self._forward,
            signal.SIGHUP: self._forward,
        }
        previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _set_interrupted(self, _number: int, _frame: object) -> None:
        self.interrupted = True

    def _forward(self, number: int, _frame: object) -> None:
        self._received_signal = number
        if self._process is not None:
            self._process.send_signal(number)

    def _restore_terminal(self) -> None:
        """Restore the terminal's modes, which a killed command leaves changed."""
        if self._terminal_modes is not None:
            with suppress(termios.error, OSError):
                if os.tcgetpgrp(0) == os.getpgrp():
                    termios.tcsetattr(0, termios.TCSADRAIN, self._terminal_modes)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
