"""Processes that the supervisor owns: started, watched, restarted with back-off, ended with it."""

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
EXIT_USAGE = 2
"""Exit status of a vertex that was called wrongly: starting it again would not help."""


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """Return what a child calls before it becomes another program, so that it cannot outlive its supervisor."""
    parent = os.getpid()

    def tie() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return tie


@dataclass(slots=True)
class Process:
    """One replica's process and its history.

    Parameters
    ----------
    name
        ``vertex.replica``.
    command, environment
        What is started and with which environment.
    log
        File that takes its output.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    restarts: int = 0
    wanted: bool = False
    ending: bool = False
    failure: str = ""
    _handle: subprocess.Popen[bytes] | None = None
    _deaths: deque[float] = field(default_factory=lambda: deque[float](maxlen=8))
    _again_at: float = 0.0

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._handle.pid if self._handle else None

    def start(self) -> None:
        """Start the process."""
        self.wanted = True
        with self.log.open("ab") as output:
            self._handle = subprocess.Popen(  # noqa: S603 - the program is this one, the arguments from the user's manifest
                list(self.command),
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - the child only ties its life to the supervisor's
            )

    def supervise(self, most_deaths: int = 6, within_s: float = 30.0) -> str | None:
        """Look after the process: start it again if it died; return what to tell of it, if anything.

        After `most_deaths` deaths within `within_s`, or a wrong call, it is given up and `failure` says why.
        """
        if self._handle is None:
            if self.wanted and not self.ending and not self.failure and time.monotonic() >= self._again_at:
                self.restarts += 1
                self.start()
            return None
        status = self._handle.poll()
        if status is None:
            return None
        self._handle = None
        if self.ending:
            return None
        now = time.monotonic()
        self._deaths.append(now)
        recent = sum(now - death < within_s for death in self._deaths)
        how = f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        if status == EXIT_USAGE or recent >= most_deaths:
            self.failure = f"{self.name} {how}: {self.last_log_line()}"
            return None
        pause = min(0.1 * 2 ** (recent - 1), 5.0)
        self._again_at = now + pause
        return f"{self.name} {how}; starting it again in {pause:.1f} s"

    def terminate(self) -> None:
        """Tell the process to finish what it has and end."""
        self.ending = True
        if self._handle is not None and self._handle.poll() is None:
            self._handle.terminate()

    async def ends_within(self, seconds: float) -> bool:
        """Wait for its end so long at most; return whether it has ended."""
        deadline = time.monotonic() + seconds
        while self._handle is not None and self._handle.poll() is None:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        self._handle = None
        return True

    def kill(self) -> None:
        """End the process at once."""
        self.ending = True
        if self._handle is not None:
            self._handle.kill()
            self._handle.wait()
            self._handle = None

    def last_log_line(self) -> str:
        """Return the last line that it wrote."""
        try:
            lines = self.log.read_bytes()[-4000:].decode(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else "it wrote nothing"
