"""Complete kubectl command lines with kubectl's own ``__complete`` command."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from charon.adapters.kubernetes.kubeconfig import KubectlCommand, find_kubectl
from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_REQUEST_TIMEOUT = "--request-timeout=2s"
_TIMEOUT_S = 3.0
# Bits of the directive in the last line of `__complete` (github.com/spf13/cobra, ShellCompDirective).
_NO_SPACE, _NO_FILES, _FILTER_SUFFIXES, _FILTER_FOLDERS = 2, 4, 8, 16


@dataclass(frozen=True, slots=True)
class Completions:
    """Candidates for the next word of a command line.

    Parameters
    ----------
    words
        The candidates, each with its description.
    files
        Whether file names are candidates too.
    append_space
        Whether a space follows a completed word.
    """

    words: tuple[tuple[str, str], ...] = ()
    files: bool = False
    append_space: bool = True


class KubectlCompleter:
    """Queries kubectl for completions, with a short timeout; a failed query returns no candidates."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def close(self) -> None:
        """Kill the queries that are still running, and refuse further ones."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            _kill(process)

    def complete(self, words: Sequence[str], prefix: str) -> Completions:
        """Return the candidates for the word after `words`.

        Parameters
        ----------
        words
            The words between ``kubectl`` and the word to complete.
        prefix
            The part of that word that determines its kind: a dash, or everything up to ``/`` or ``=``.
        """
        try:
            kubectl = find_kubectl(words)
        except UsageError:
            # Commands and options can be completed without a cluster.
            try:
                kubectl = find_kubectl(("help",))
            except UsageError:
                return Completions(files=True)
        # kubectl accepts the flag before its command as well as after it.
        output = self._run(kubectl, ["__complete", _REQUEST_TIMEOUT, *words, prefix])
        return Completions(files=True) if output is None else _parse(output)

    def pipelines(self) -> list[tuple[str, str]]:
        """Return the namespace and name of each pipeline on the cluster."""
        try:
            kubectl = find_kubectl(("get",))
        except UsageError:
            return []
        columns = "custom-columns=:metadata.namespace,:metadata.name"
        kind = "pipelines.numaflow.numaproj.io"
        arguments = ["get", kind, "--all-namespaces", "--no-headers", f"--output={columns}", _REQUEST_TIMEOUT]
        rows = [line.split() for line in (self._run(kubectl, arguments) or "").splitlines()]
        return [(row[0], row[1]) for row in rows if len(row) == 2]

    def _run(self, kubectl: KubectlCommand, arguments: Sequence[str]) -> str | None:
        try:
            with self._lock:
                if self._closed:
                    return None
                process = subprocess.Popen(  # noqa: S603 - kubectl, with read-only commands
                    [*kubectl.program, *arguments],
                    env=kubectl.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    errors="replace",
                    # Shields kubectl from the user's Ctrl-C, and its plug-ins from the terminal for password prompts.
                    start_new_session=True,
                )
                self._running.add(process)
        except (OSError, ValueError):
            return None
        try:
            output = process.communicate(timeout=_TIMEOUT_S)[0]
        except subprocess.TimeoutExpired:
            _kill(process)
            process.communicate()
            return None
        finally:
            with self._lock:
                self._running.discard(process)
        return output if process.returncode == 0 else None


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a process and its plug-ins."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _parse(output: str) -> Completions:
    """Parse the output of ``__complete``: ``word<tab>description`` lines, then ``:`` and the directive's bits."""
    lines = output.splitlines()
    directive = next((line for line in reversed(lines) if line.startswith(":")), ":0")
    bits = int(directive[1:]) if directive[1:].isdecimal() else 0
    if bits & (_FILTER_SUFFIXES | _FILTER_FOLDERS):
        return Completions(files=True)
    rows = (line.partition("\t") for line in lines if line and not line.startswith((":", "_activeHelp_")))
    words = tuple((word, description) for word, _, description in rows)
    return Completions(words, files=not words and not bits & _NO_FILES, append_space=not bits & _NO_SPACE)
