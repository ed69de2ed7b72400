"""Driver for a shell on a pseudo-terminal."""

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
# prompt_toolkit enables bracketed paste before a new prompt, but not when it redraws a line.
READY = re.compile(rb"\x1b\[\?2004h.*?charon>[^\n]*?\x1b\[\?25h", re.DOTALL)
_ESCAPE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")


def plain(raw):
    """Return terminal output without control sequences."""
    return _ESCAPE.sub(b"", raw).decode(errors="replace")


class Terminal:
    """A shell on its own pseudo-terminal."""

    def __init__(self, environment, cwd, command=None, ready=READY):
        command = command or CHARONCTL
        self._ready = ready
        self.greeting = ""
        self.child = pexpect.spawn(
            command[0], command[1:], cwd=str(cwd), env=environment, timeout=30, dimensions=(40, 120)
        )
        self.child.delaybeforesend = 0.02

    @property
    def pid(self):
        """Process id of the shell."""
        return self.child.pid

    def prompt(self, timeout_s=30):
        """Wait for the prompt; return the output before it as plain text."""
        self.child.expect(self._ready, timeout=timeout_s)
        return plain(self.child.before)

    def send(self, keys):
        """Type keys."""
        self.child.send(keys)

    def wait_for(self, text, timeout_s=30):
        """Wait for a text and return the output up to its end."""
        self.child.expect(text.encode() if isinstance(text, str) else text, timeout=timeout_s)
        before, after = self.child.before, self.child.after
        assert isinstance(before, bytes)
        assert isinstance(after, bytes)
        return plain(before + after)

    def run(self, line, timeout_s=60):
        """Run a line; return the output of its command once the prompt is back."""
        self.send(line if isinstance(line, bytes) else line.encode())
        self.send(b"\r")
        self.child.expect(rb"\x1b\[\?2004l|charon>", timeout=timeout_s)
        return self.prompt(timeout_s)

    def tab(self, line, words, within_s=20.0):
        """Type a line, press Tab until all words are shown, discard the line and return the output."""
        self.send(line)
        shown, end = "", time.monotonic() + within_s
        while not all(word in shown for word in words) and time.monotonic() < end:
            self.send("\t")
            shown = self._read_until_quiet()
        self.send("\x03")
        self.prompt()
        return shown

    def _read_until_quiet(self, quiet_s=0.4):
        raw = b""
        while True:
            try:
                raw += self.child.read_nonblocking(65536, quiet_s)
            except pexpect.TIMEOUT:
                return plain(raw)

    def leave(self, keys="\x04"):
        """Leave with Ctrl-D; return the remaining output and the exit status."""
        self.send(keys)
        self.child.expect(pexpect.EOF)
        output = plain(self.child.before)
        self.child.close()
        return output, self.child.exitstatus

    def echoes(self):
        """Return whether the terminal echoes input, which it does unless a program reads single keys."""
        return bool(termios.tcgetattr(self.child.child_fd)[3] & termios.ECHO)

    def children(self):
        """Return the child processes of the shell, recursively."""
        return psutil.Process(self.pid).children(recursive=True)

    def close(self):
        """Kill the shell and its child processes."""
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
