"""A shell on a pseudo-terminal, and what is seen of it."""

from __future__ import annotations

import re
import sys
import termios
import time
from pathlib import Path

import pexpect
import psutil

ROOT = Path(__file__).resolve().parents[3]
CHARONCTL = [sys.executable, "-m", "charon.cli.main"]
# A prompt of prompt_toolkit begins by asking for pasted text to be marked; a redrawn line does not.
READY = re.compile(rb"\x1b\[\?2004h.*?charon>[^\n]*?\x1b\[\?25h", re.DOTALL)
_ESCAPE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")


def plain(raw):
    """Return what a terminal was sent without its control sequences."""
    return _ESCAPE.sub(b"", raw).decode(errors="replace")


class Terminal:
    """A shell on a pseudo-terminal of its own."""

    def __init__(self, environment, cwd, command=None, ready=READY):
        command = command or CHARONCTL
        self._ready = ready
        self.child = pexpect.spawn(
            command[0], command[1:], cwd=str(cwd), env=environment, timeout=30, dimensions=(40, 120)
        )
        self.child.delaybeforesend = 0.02

    @property
    def pid(self):
        """Process id of the shell."""
        return self.child.pid

    def prompt(self, timeout_s=30):
        """Wait for the prompt; return what came before it, plainly."""
        self.child.expect(self._ready, timeout=timeout_s)
        return plain(self.child.before)

    def send(self, keys):
        """Type keys."""
        self.child.send(keys)

    def wait_for(self, words, timeout_s=30):
        """Wait until words come, and return all up to their end."""
        self.child.expect(words.encode() if isinstance(words, str) else words, timeout=timeout_s)
        return plain(self.child.before + self.child.after)

    def run(self, line, timeout_s=60):
        """Type a line; return what its command wrote, once the prompt is there again."""
        self.send(line if isinstance(line, bytes) else line.encode())
        self.send(b"\r")
        self.child.expect(rb"\x1b\[\?2004l|charon>", timeout=timeout_s)
        return self.prompt(timeout_s)

    def tab(self, line, words, within_s=20.0):
        """Type a line and Tab, again until all words are shown; return what was shown, and take the line away."""
        self.send(line)
        shown, end = "", time.monotonic() + within_s
        while not all(word in shown for word in words) and time.monotonic() < end:
            self.send("\t")
            shown = self._quiet()
        self.send("\x03")
        self.prompt()
        return shown

    def _quiet(self, still_s=0.4):
        raw = b""
        while True:
            try:
                raw += self.child.read_nonblocking(65536, still_s)
            except pexpect.TIMEOUT:
                return plain(raw)

    def leave(self, keys="\x04"):
        """Leave with Ctrl-D; return what it still wrote and the exit status."""
        self.send(keys)
        self.child.expect(pexpect.EOF)
        said = plain(self.child.before)
        self.child.close()
        return said, self.child.exitstatus

    def echoes(self):
        """Return whether the terminal shows what is typed, as it does where no program reads single keys."""
        return bool(termios.tcgetattr(self.child.child_fd)[3] & termios.ECHO)

    def children(self):
        """Return the processes that the shell has started, and those that these have."""
        return psutil.Process(self.pid).children(recursive=True)

    def close(self):
        """End it, with all that it has started."""
        try:
            processes = [psutil.Process(self.pid), *self.children()]
        except psutil.NoSuchProcess:
            processes = []
        for process in processes:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self.child.close(force=True)
