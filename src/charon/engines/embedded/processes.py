"""Supervised processes: started, watched, restarted with back-off, and killed with their supervisor."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_POLL_INTERVAL_S = 0.02
_LOG_TAIL_BYTES = 4000
_FIRST_RESTART_DELAY_S = 0.1
_MAX_RESTART_DELAY_S = 5.0
EXIT_USAGE = 2
"""Exit status of a vertex after a usage error: a restart would fail in the same way."""


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """Return a function that a child process calls before ``exec``, so that the kernel kills it with its parent."""
    parent = os.getpid()

    def request_death_signal() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return request_death_signal


def spawn(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a process that ends with this one and appends its output to a log.

    Parameters
    ----------
    command
        Program and arguments.
    log
        File for its output.
    environment
        Its environment variables; None inherits those of this process.
    """
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - the program is Charon's own
            list(command),
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - the child only requests a signal for the parent's death
        )


def last_log_line(log: Path) -> str:
    """Return the last line of a log, for messages about the process that wrote it."""
    try:
        lines = log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "no output"


@dataclass(slots=True)
class Process:
    """The supervised process of one replica.

    Parameters
    ----------
    name
        ``vertex.replica``.
    command, environment
        Program with arguments, and its environment variables.
    log
        File for its output.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    restarts: int = 0
    started: bool = False
    ending: bool = False
    failure: str = ""
    _handle: subprocess.Popen[bytes] | None = None
    _exits: deque[float] = field(default_factory=lambda: deque[float](maxlen=8))
    _restart_at: float = 0.0

    @property
    def pid(self) -> int | None:
        """Process id, or None if the process is not running."""
        return self._handle.pid if self._handle else None

    def start(self) -> None:
        """Start the process."""
        self.started = True
        self._handle = spawn(self.command, self.log, self.environment)

    def supervise(self, max_exits: int = 6, within_s: float = 30.0) -> str | None:
        """Restart the process if it has exited; return a message for the user, if any.

        After `max_exits` exits within `within_s`, or a usage error, it is not restarted, and `failure` states the
        reason.
        """
        if self._handle is None:
            if self.started and not self.ending and not self.failure and time.monotonic() >= self._restart_at:
                self.restarts += 1
                self.start()
            return None
        status = self._handle.poll()
        if status is None:
            return None
        self._handle = None
        if self.ending:
            return None
        return self._on_exit(status, max_exits, within_s)

    def _on_exit(self, status: int, max_exits: int, within_s: float) -> str | None:
        now = time.monotonic()
        self._exits.append(now)
        recent = sum(now - exit_time < within_s for exit_time in self._exits)
        outcome = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
        if status == EXIT_USAGE or recent >= max_exits:
            self.failure = f"{self.name} {outcome}: {self.last_log_line()}"
            return None
        delay_s = min(_FIRST_RESTART_DELAY_S * 2 ** (recent - 1), _MAX_RESTART_DELAY_S)
        self._restart_at = now + delay_s
        return f"{self.name} {outcome}; restarting in {delay_s:.1f} s"

    def terminate(self) -> None:
        """Send SIGTERM: the process drains and exits, and is not restarted."""
        self.ending = True
        if self._handle is not None and self._handle.poll() is None:
            self._handle.terminate()

    async def exits_within(self, timeout_s: float) -> bool:
        """Wait until the process has exited; return False after the timeout."""
        deadline = time.monotonic() + timeout_s
        while self._handle is not None and self._handle.poll() is None:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_POLL_INTERVAL_S)
        self._handle = None
        return True

    def kill(self) -> None:
        """Kill the process."""
        self.ending = True
        if self._handle is not None:
            self._handle.kill()
            self._handle.wait()
            self._handle = None

    def last_log_line(self) -> str:
        """Return the last line of its log."""
        return last_log_line(self.log)
