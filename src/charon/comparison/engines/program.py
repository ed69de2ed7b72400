"""A program of Charon in a process of its own, which ends with this process."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from charon.engines.embedded.processes import last_log_line, spawn
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_KILL_TIMEOUT_S = 10.0


class Program:
    """A ``charonctl`` command.

    Parameters
    ----------
    name
        Name for messages.
    arguments
        Arguments of ``charonctl``.
    environment
        Its environment variables.
    log
        File for its output.
    """

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "charon.cli.main", *arguments]
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, or None if the program has not started."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the program."""
        self._process = spawn(self._command, self._log, self._environment)

    def failure(self) -> str | None:
        """Return why the program has ended, or None while it runs."""
        if self._process is None:
            return f"{self.name} has not started"
        status = self._process.poll()
        if status is None:
            return None
        outcome = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
        return f"{self.name} {outcome}: {last_log_line(self._log).removeprefix('error: ')}"

    def terminate(self) -> None:
        """Send SIGTERM, after which the program ends in order."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def exits_within(self, timeout_s: float) -> bool:
        """Wait until the program has ended; return False after the timeout."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def drain(self, timeout_s: float) -> None:
        """Send SIGTERM, and wait until the program has ended in order.

        Raises
        ------
        UnavailableError
            If it has not ended after the timeout: then it is killed, and its account of frames is not final.
        """
        self.terminate()
        if not self.exits_within(timeout_s):
            self.kill()
            raise UnavailableError(
                f"{self.name} had not drained after {timeout_s:.0f} s; reduce the rate or the duration"
            )

    def kill(self) -> None:
        """Kill the program; the kernel ends the processes that it supervises."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(_KILL_TIMEOUT_S)


def children_of(pid: int) -> dict[int, str]:
    """Return the program names of the child processes of a process, by process id; empty if it has ended."""
    with suppress(psutil.Error):
        return {child.pid: child.name() for child in psutil.Process(pid).children()}
    return {}
