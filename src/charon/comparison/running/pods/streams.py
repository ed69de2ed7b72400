"""Files in pods, copied to local files while they grow, with ``kubectl exec``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from charon.adapters.kubernetes import Kubectl

_RETRY_INTERVAL_S = 1.0
_EXIT_TIMEOUT_S = 5.0
# A file that does not exist yet ends the command, too: a consumer first loads its network.
_MAX_FAILURES = 30


class PodStream:
    """Output of a command in a pod, appended to a local file; the command is started again whenever it has ended.

    Parameters
    ----------
    kubectl
        Client of the cluster.
    pod
        Name of the pod; the command runs in its first container.
    command
        Returns the command for a number of bytes that the file already contains.
    path
        The local file.
    record_bytes
        Size of a record; an incomplete one at the end is removed before the command is started again.
    """

    def __init__(
        self, kubectl: Kubectl, pod: str, command: Callable[[int], Sequence[str]], path: Path, *, record_bytes: int = 1
    ) -> None:
        self._kubectl = kubectl
        self._pod = pod
        self._command = command
        self._path = path
        self._record_bytes = record_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = path.with_suffix(".err")
        self._started_s = float("-inf")
        self._failures = 0

    def ensure(self) -> None:
        """Start the command if it is not running."""
        is_running = self._process is not None and self._process.poll() is None
        if is_running or time.monotonic() < self._started_s + _RETRY_INTERVAL_S:
            return
        self._started_s = time.monotonic()
        with self._path.open("ab") as file, self._errors.open("wb") as errors:
            size = self._path.stat().st_size
            self._failures = 0 if size else self._failures + 1
            complete = size - size % self._record_bytes
            file.truncate(complete)
            command = ("exec", self._pod, "--", *self._command(complete))
            self._process = self._kubectl.stream(*command, output=file, errors=errors)

    def failure(self) -> str | None:
        """Return why the command has had no output after many attempts, or None."""
        if self._failures <= _MAX_FAILURES:
            return None
        lines = self._errors.read_text(errors="replace").splitlines()
        return f"kubectl exec in pod {self._pod} failed: {lines[-1] if lines else 'no message'}"

    def close(self) -> None:
        """End the command."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(_EXIT_TIMEOUT_S)
