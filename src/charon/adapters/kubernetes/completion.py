"""What may come next in a line for kubectl, as kubectl itself and its cluster know it."""

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
# What kubectl's `__complete` says, in its last line, of the words that it lists: bits of a number.
_NO_SPACE, _NO_FILES, _SUFFIXES, _FOLDERS = 2, 4, 8, 16


@dataclass(frozen=True, slots=True)
class Completions:
    """What may come next.

    Parameters
    ----------
    words
        Each with what kubectl says of it.
    files
        Whether a file may.
    whole
        Whether such a word is at its end.
    """

    words: tuple[tuple[str, str], ...] = ()
    files: bool = False
    whole: bool = True


class KubectlCompleter:
    """Asks kubectl, for a short time only; whatever goes wrong, there is no answer."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def close(self) -> None:
        """End the processes that still ask."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            _kill(process)

    def after(self, words: Sequence[str], begun: str) -> Completions:
        """Return what may come next.

        Parameters
        ----------
        words
            What follows ``kubectl`` in the line.
        begun
            As much of the next word as decides what kind it is: a dash, or all up to ``/`` or ``=``.
        """
        try:
            place = find_kubectl(words)
        except UsageError:
            # Commands and options are known without a cluster.
            try:
                place = find_kubectl(("help",))
            except UsageError:
                return Completions(files=True)
        # A flag of kubectl's stands before its command as well as behind it.
        answer = self._ask(place, ["__complete", _REQUEST_TIMEOUT, *words, begun])
        return Completions(files=True) if answer is None else _read(answer)

    def pipelines(self) -> list[tuple[str, str]]:
        """Return namespace and name of the cluster's pipelines."""
        try:
            place = find_kubectl(("get",))
        except UsageError:
            return []
        columns = "custom-columns=:metadata.namespace,:metadata.name"
        kind = "pipelines.numaflow.numaproj.io"
        everywhere = ["get", kind, "--all-namespaces", "--no-headers", f"--output={columns}", _REQUEST_TIMEOUT]
        rows = [line.split() for line in (self._ask(place, everywhere) or "").splitlines()]
        return [(row[0], row[1]) for row in rows if len(row) == 2]

    def _ask(self, place: KubectlCommand, arguments: Sequence[str]) -> str | None:
        try:
            with self._lock:
                if self._closed:
                    return None
                process = subprocess.Popen(  # noqa: S603 - kubectl, which only reads here
                    [*place.program, *arguments],
                    env=place.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    errors="replace",
                    # The user's Ctrl-C is not for it, and a plug-in that asks for a password finds no terminal.
                    start_new_session=True,
                )
                self._running.add(process)
        except (OSError, ValueError):
            return None
        try:
            told = process.communicate(timeout=_TIMEOUT_S)[0]
        except subprocess.TimeoutExpired:
            _kill(process)
            process.communicate()
            return None
        finally:
            with self._lock:
                self._running.discard(process)
        return told if process.returncode == 0 else None


def _kill(process: subprocess.Popen[str]) -> None:
    """End a process and its plug-ins."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _read(answer: str) -> Completions:
    """Read kubectl's words: one a line, its description after a tab, and last ``:`` with how they are meant."""
    lines = answer.splitlines()
    directive = next((line for line in reversed(lines) if line.startswith(":")), ":0")
    bits = int(directive[1:]) if directive[1:].isdecimal() else 0
    if bits & (_SUFFIXES | _FOLDERS):
        return Completions(files=True)
    parted = (line.partition("\t") for line in lines if line and not line.startswith((":", "_activeHelp_")))
    words = tuple((word, about) for word, _, about in parted)
    return Completions(words, files=not words and not bits & _NO_FILES, whole=not bits & _NO_SPACE)
